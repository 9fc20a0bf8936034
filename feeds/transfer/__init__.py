"""The RPZ zone by AXFR (RFC 5936), IXFR (RFC 1995) and NOTIFY (RFC 1996), signed with TSIG (RFC 8945).

content      a release at an hour as the records of a zone, in wire form; their difference
packing      records into messages, with compression
kept         a zone on disk: records, packed messages, steps; memory-mapped
line         one zone over time: its present content and the steps that lead to it
watching     the state directory as zones; what each secondary has fetched
signing      TSIG of requests and answers
settings     zones and secondaries, from a file
primary      bytes and now in, messages out; no socket, no clock
server       Twisted; it moves bytes
"""
