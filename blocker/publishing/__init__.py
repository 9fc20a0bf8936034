"""register -> Release -> signed feed: a TUF repository of static files.

layout       where each file stands; writing so that a crash at any instant leaves a whole file or none
sign         the feed's keys, expiries and the making of signed metadata
create       a new feed: root keys, trust anchor, empty first metadata
standing     what the repository now says, read back and verified
release_of   what the register holds -> Release and Manifest; pure
difference   the delta between two canonical byte streams, without holding two releases in memory
bulk         the statement by which two officers let a large change pass the ISPs' brake
recover      the register and the repository compared at each start
publish      the order of a publication
renew        the next root: a fresh expiry, other online keys
clean        which old files may go
"""
