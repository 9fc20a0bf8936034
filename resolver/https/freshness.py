"""How long a cache of HTTP may keep an answer (RFC 8484 section 5.1). Pure."""

from struct import Struct
from typing import Final

from feeds.message.query import skip_name
from feeds.message.words import HEADER_BYTES, NOERROR, NXDOMAIN, SOA

_MAX_TTL: Final = 0x7FFF_FFFF
_counts = Struct("!4H").unpack_from
_fixed = Struct("!HHIH").unpack_from
_minimum = Struct("!I").unpack_from


def freshness(message: bytes) -> int:
    """Seconds: the least TTL of the answer; without answers, of the SOA and its MINIMUM (RFC 2308 section 5); or 0.

    `message` is one that this resolver has made, so it is whole.
    """
    if message[3] & 15 not in (NOERROR, NXDOMAIN):
        return 0
    questions, answers, authority, _additional = _counts(message, 4)
    pos = HEADER_BYTES
    for _question in range(questions):
        pos = skip_name(message, pos) + 4
    ttls: list[int] = []
    for place in range(answers + authority):
        if place == answers and ttls:
            break
        pos = skip_name(message, pos)
        rtype, _rclass, ttl, length = _fixed(message, pos)
        pos += 10 + length
        if place < answers:
            ttls.append(ttl)
        elif rtype == SOA:
            ttls += [ttl, _minimum(message, pos - 4)[0]]
            break
    # A TTL with its highest bit set is none (RFC 2181 section 8).
    return min((ttl if ttl <= _MAX_TTL else 0 for ttl in ttls), default=0)
