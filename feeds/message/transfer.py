"""Reading what secondaries and primaries say about zones: IXFR queries (RFC 1995) and NOTIFY (RFC 1996)."""

from struct import Struct
from struct import error as StructError
from typing import Final

from feeds.message.query import read_query, skip_name
from feeds.message.response import RecordReader
from feeds.message.words import (
    FORMERR,
    HEADER_BYTES,
    IXFR,
    MAX_MESSAGE_BYTES,
    NOTIMP,
    OPCODE_NOTIFY,
    OPCODE_SHIFT,
    QR,
    SOA,
    Malformed,
    Query,
)

_OPCODE: Final = 15 << OPCODE_SHIFT
_header = Struct("!6H")
# The serial is the first of the five numbers that end an SOA's RDATA (RFC 1035 section 3.3.13).
_SERIAL = slice(-20, -16)


def read_ixfr(data: bytes) -> tuple[Query, int]:
    """An IXFR query and the serial that the secondary has: one question, that SOA in the authority section.

    Raises Malformed only, as `read_query` does. (An AXFR query is a plain query.)
    """
    query, serial = _read(data, 0, answers=(0, 0), authority=(1, 1))
    if query.qtype != IXFR or serial is None:
        raise Malformed("not an IXFR query", FORMERR)
    return query, serial


def read_notify(data: bytes) -> tuple[Query, int | None]:
    """A NOTIFY for the SOA of a zone, and the new serial where the primary says it. It is a hint, never a proof.

    Raises Malformed only.
    """
    query, serial = _read(data, OPCODE_NOTIFY, answers=(0, 1), authority=(0, 0))
    if query.qtype != SOA:
        raise Malformed("a NOTIFY for something other than an SOA", FORMERR)
    return query, serial


def _read(data: bytes, opcode: int, answers: tuple[int, int], authority: tuple[int, int]) -> tuple[Query, int | None]:
    """`answers` and `authority` are how many records, at least and at most, may stand there."""
    if len(data) < HEADER_BYTES:
        raise Malformed("shorter than a header")
    message_id, flags, questions, an, ns, ar = _header.unpack_from(data)
    if flags & QR:
        raise Malformed("an answer, not a query")
    if flags & _OPCODE != opcode << OPCODE_SHIFT:
        raise Malformed("an opcode other than expected", NOTIMP)
    good = answers[0] <= an <= answers[1] and authority[0] <= ns <= authority[1]
    if questions != 1 or not good or len(data) > MAX_MESSAGE_BYTES:
        raise Malformed("not the records that belong there", FORMERR)
    end = skip_name(data, HEADER_BYTES) + 4
    # The same message without the SOA is a plain query, and all that holds for one holds here.
    plain = _header.pack(message_id, flags & ~_OPCODE, 1, 0, 0, ar) + data[HEADER_BYTES:end]
    if not an + ns:
        return read_query(plain + data[end:]), None
    reader = RecordReader(data, end, data[HEADER_BYTES : end - 4])
    try:
        records = reader.section(1)
    except (Malformed, IndexError, StructError):
        raise Malformed("the SOA record is malformed", FORMERR) from None
    query = read_query(plain + data[reader.pos :])
    if len(records) != 1 or records[0].rtype != SOA or records[0].owner != query.key:
        raise Malformed("not the SOA of the zone", FORMERR)
    return query, int.from_bytes(records[0].rdata[_SERIAL])
