"""Foreign policy zones: another's RPZ zone, from a file or by transfer, as a layer beside or instead of the feed.

Such a zone is the operator's own choice. No decision stands behind its rules, so what they block is said to be
"Blocked" (RFC 8914 section 4.16) and not "Censored", and the floor of the feed does not apply.

    meaning   records in, rules out; what means nothing is counted
    master    records of a zone file
"""
