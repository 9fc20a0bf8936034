"""Reading queries: one pass, no objects per label, nothing followed and nothing counted from the message unchecked."""

from struct import Struct
from struct import error as StructError
from typing import Final

from feeds.message.words import (
    BADVERS,
    FORMERR,
    HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_NAME_BYTES,
    NOTIMP,
    OPT,
    PLAIN_UDP_BYTES,
    QR,
    SIG,
    TSIG,
    Malformed,
    Query,
)

# A client sends cookie, padding, subnet, keepalive and the like; nobody sends more than a handful.
MAX_OPTIONS: Final = 32
_HEAD_BYTES = HEADER_BYTES + MAX_NAME_BYTES + 1
_DO = 0x8000

_header = Struct("!6H").unpack_from
_question_end = Struct("!HH").unpack_from
_opt = Struct("!HBBHH").unpack_from
_fixed = Struct("!HHIH").unpack_from
_pair = Struct("!HH").unpack_from


def read_query(data: bytes) -> Query:
    """QR=0, opcode QUERY, one question, AN=NS=0, AR<=2: OPT, then TSIG or SIG(0) last. Raises Malformed only.

    The class and type are whatever the client asked (ANY, AXFR, CH ...): the session decides about those.
    """
    size = len(data)
    if size < HEADER_BYTES:
        raise Malformed("shorter than a header")
    message_id, flags, questions, answers, authority, additional = _header(data)
    if flags & 0xF800:
        if flags & QR:
            raise Malformed("an answer, not a query")
        raise Malformed("an opcode other than QUERY", NOTIMP)
    if questions != 1 or answers or authority or additional > 2 or size > MAX_MESSAGE_BYTES:
        raise Malformed("not exactly one question and at most two additional records", FORMERR)
    # A name that does not end within this window is too long, so a large message costs no more than a small one.
    head = data if size <= _HEAD_BYTES else data[:_HEAD_BYTES]
    pos = HEADER_BYTES
    try:
        length = head[pos]
        while length:
            # A pointer in the first name of a message has nowhere to point (RFC 1035 section 4.1.4).
            if length > 63:
                raise Malformed("a label longer than 63 octets or a pointer", FORMERR)
            pos += length + 1
            length = head[pos]
        pos += 1
        qtype, qclass = _question_end(data, pos)
    except (IndexError, StructError):
        raise Malformed("the question is cut off or its name too long", FORMERR) from None
    if pos > HEADER_BYTES + MAX_NAME_BYTES:
        raise Malformed("a name longer than 255 octets", FORMERR)
    end = pos + 4
    name = data[HEADER_BYTES:pos]
    udp_size, do, options, signed = 0, False, b"", False
    if additional:
        if additional == 1 and data[end : end + 3] == b"\0\0\x29":
            udp_size, do, options, end = _read_opt(data, end + 3)
        else:
            udp_size, do, options, signed, end = _read_additional(data, end, additional)
    if end != size:
        raise Malformed("octets after the end of the message", FORMERR)
    return Query(
        message_id,
        flags,
        name,
        name.lower(),
        qtype,
        qclass,
        data[HEADER_BYTES : pos + 4],
        udp_size,
        do,
        options,
        signed,
    )


def option(options: bytes, code: int) -> bytes | None:
    """The data of the first option of that code in a Query's `options`."""
    pos = 0
    while pos < len(options):
        found, length = _pair(options, pos)
        if found == code:
            return options[pos + 4 : pos + 4 + length]
        pos += 4 + length
    return None


def _read_opt(data: bytes, pos: int) -> tuple[int, bool, bytes, int]:
    """(UDP size, DO, options, end) of an OPT record whose class stands at `pos` (RFC 6891 section 6.1.2)."""
    try:
        udp_size, _rcode, version, flags, length = _opt(data, pos)
    except StructError:
        raise Malformed("the OPT record is cut off", FORMERR) from None
    start = pos + 8
    end = start + length
    if end > len(data):
        raise Malformed("the OPT record is cut off", FORMERR)
    if version:
        raise Malformed("an EDNS version other than 0", BADVERS)
    options = b""
    if length:
        options = data[start:end]
        check_options(options)
    # Values below 512 mean 512 (RFC 6891 section 6.2.3).
    return max(udp_size, PLAIN_UDP_BYTES), bool(flags & _DO), options, end


def check_options(options: bytes) -> None:
    """OPT's RDATA must be whole options, not too many; raises Malformed."""
    pos = count = 0
    size = len(options)
    while pos < size:
        count += 1
        if count > MAX_OPTIONS or pos + 4 > size:
            raise Malformed("EDNS options are cut off or too many", FORMERR)
        pos += 4 + _pair(options, pos)[1]
    if pos != size:
        raise Malformed("an EDNS option is cut off", FORMERR)


def _read_additional(data: bytes, pos: int, count: int) -> tuple[int, bool, bytes, bool, int]:
    udp_size, do, options, signed = 0, False, b"", False
    for place in range(count):
        start = pos
        pos = skip_name(data, pos)
        try:
            rtype, _rclass, _ttl, length = _fixed(data, pos)
        except StructError:
            raise Malformed("a record is cut off", FORMERR) from None
        if rtype == OPT and not udp_size and pos == start + 1:
            udp_size, do, options, pos = _read_opt(data, pos + 2)
        elif rtype in (TSIG, SIG) and place == count - 1:
            # TSIG must be the last record (RFC 8945 section 5.1), and so must SIG(0) (RFC 2931 section 3.1).
            signed = True
            pos += 10 + length
        else:
            raise Malformed("an additional record other than OPT, TSIG and SIG(0), or out of place", FORMERR)
    return udp_size, do, options, signed, pos


def skip_name(data: bytes, start: int) -> int:
    """Where the name ends. A pointer ends it and is not followed."""
    pos = start
    try:
        length = data[pos]
        while 0 < length < 64:
            pos += length + 1
            if pos - start >= MAX_NAME_BYTES:
                raise Malformed("a name longer than 255 octets", FORMERR)
            length = data[pos]
    except IndexError:
        raise Malformed("a name is cut off", FORMERR) from None
    if length == 0:
        return pos + 1
    if length < 192:
        raise Malformed("a label of an unknown kind", FORMERR)
    return pos + 2
