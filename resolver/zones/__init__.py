"""Foreign policy zones: another's RPZ zone, from a file or by transfer, as a layer beside or instead of the feed.

Such a zone is the operator's own choice. No decision stands behind its rules, so what they block is said to be
"Blocked" (RFC 8914 section 4.16) and not "Censored", and the floor of the feed does not apply.

    settings  which zones, from where, with which keys and what policy
    master    records of a zone file
    pulling   records of a primary: SOA, IXFR, AXFR, TSIG, TLS
    copies    what was transferred, kept on disk
    keeping   the processes that keep copies up to date
    notices   primaries that say there is something new (NOTIFY)
    meaning   records in, rules out; what means nothing is counted
    loading   a zone's image: as it was, as it is kept, or made anew
    metrics   what Prometheus is shown of it all
"""
