"""Records into the answer sections of messages.

Each message repeats the question, so the zone's name stands at octet 12 and every owner ends in a pointer to it; a
wildcard points at the name just before it. So what is packed fits any transfer of the zone, whoever asks.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from feeds.message.words import HEADER_BYTES, IN
from feeds.render.rpz import TTL_SECONDS

# A compression pointer has 14 bits; room for a TSIG record (RFC 8945) is left below that.
MAX_PART_BYTES = 16_384 - 600
_ZONE = b"\xc0\x0c"
_head = Struct("!HIH").pack
_pointer = Struct("!H").pack


class Part(NamedTuple):
    """An answer section: how many records, and their bytes."""

    records: int
    data: bytes


def pack(zone: bytes, records: Iterable[bytes]) -> Iterator[Part]:
    """`zone` is the zone's name as in the question; `records` as in `feeds.transfer.content`."""
    start = HEADER_BYTES + len(zone) + 4
    made = bytearray()
    count, last_owner, last_place = 0, b"", 0
    for record in records:
        # No octet of a relative owner is zero: labels are not empty, and hold no zero octet.
        end = record.index(0)
        owner = record[:end]
        if start + len(made) + len(record) + 12 > MAX_PART_BYTES:
            yield Part(count, bytes(made))
            made.clear()
            count, last_owner = 0, b""
        place = start + len(made)
        if last_owner and owner == last_owner:
            made += _pointer(0xC000 | last_place)
        elif last_owner and owner[:2] == b"\x01*" and owner[2:] == last_owner:
            made += b"\x01*" + _pointer(0xC000 | last_place)
        else:
            made += owner + _ZONE
        last_owner, last_place = owner, place
        rdata = record[end + 3 :]
        made += record[end + 1 : end + 3] + _head(IN, TTL_SECONDS, len(rdata)) + rdata
        count += 1
    if count:
        yield Part(count, bytes(made))
