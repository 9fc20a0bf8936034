"""Building answers: pure functions on bytes."""

from collections.abc import Iterable
from struct import Struct, pack

from feeds.message.words import (
    AAAA,
    BADVERS,
    CD,
    HEADER_BYTES,
    IN,
    MAX_NAME_BYTES,
    OPT,
    OPTION_EDE,
    QR,
    RA,
    RD,
    TC,
    UDP_BYTES,
    A,
    Query,
)

_OPCODE = 0x7800
_AD = 0x0020
_start = Struct("!HH").pack
_header = Struct("!6H")
_record = Struct("!HHIH").pack
_pack_ttl = Struct("!I").pack_into
_PLAIN_LABEL = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*/")


def encode_name(text: str) -> bytes:
    """Wire form of dotted ASCII text (a final dot is allowed, `""` and `"."` are the root). Raises ValueError."""
    text = text.removesuffix(".")
    if not text:
        return b"\0"
    labels = text.encode("ascii").split(b".")
    if any(not 0 < len(label) < 64 for label in labels):
        raise ValueError(f"not a domain name: {text!r}")
    wire = b"".join([bytes((len(label),)) + label for label in labels]) + b"\0"
    if len(wire) > MAX_NAME_BYTES:
        raise ValueError(f"not a domain name: {text!r}")
    return wire


def name_text(wire: bytes) -> str:
    """Presentation form with `\\DDD` escapes (RFC 1035 section 5.1), without the final dot; the root is `.`.

    `wire` is a name that has been read: whole and without pointers.
    """
    labels: list[str] = []
    pos = 0
    while wire[pos]:
        label = wire[pos + 1 : pos + 1 + wire[pos]]
        labels.append("".join(chr(octet) if octet in _PLAIN_LABEL else f"\\{octet:03d}" for octet in label))
        pos += wire[pos] + 1
    return ".".join(labels) or "."


def encode_question(name: bytes, qtype: int, qclass: int = IN) -> bytes:
    """The question section of a query."""
    return name + _start(qtype, qclass)


def encode_record(owner: bytes, rtype: int, ttl: int, rdata: bytes, rclass: int = IN) -> bytes:
    """One record; `owner` is a wire name or a pointer such as b"\\xc0\\x0c" (the question's name)."""
    return owner + _record(rtype, rclass, ttl, len(rdata)) + rdata


def address_record(owner: bytes, ttl: int, address: bytes) -> bytes:
    """A (4 octets) or AAAA (16 octets)."""
    return encode_record(owner, A if len(address) == 4 else AAAA, ttl, address)


def soa_rdata(mname: bytes, rname: bytes, serial: int, refresh: int, retry: int, expire: int, minimum: int) -> bytes:
    """RDATA of an SOA (RFC 1035 section 3.3.13); the last four in seconds."""
    return mname + rname + pack("!5I", serial & 0xFFFFFFFF, refresh, retry, expire, minimum)


def mailbox_name(email: str) -> bytes:
    """RNAME of an e-mail address: the local part is one label, its dots within (RFC 1035 section 8).

    Raises ValueError where it cannot be one.
    """
    local, at, domain = email.rpartition("@")
    label = local.encode("ascii")
    if not at or not 0 < len(label) < 64:
        raise ValueError(f"not an e-mail address: {email!r}")
    wire = bytes((len(label),)) + label + encode_name(domain)
    if len(wire) > MAX_NAME_BYTES:
        raise ValueError(f"not an e-mail address: {email!r}")
    return wire


def encode_option(code: int, data: bytes) -> bytes:
    """An EDNS option (RFC 6891 section 6.1.2)."""
    return _start(code, len(data)) + data


def encode_ede(code: int, text: str = "") -> bytes:
    """An Extended DNS Error option (RFC 8914 section 2)."""
    return encode_option(OPTION_EDE, pack("!H", code) + text.encode())


def encode_opt(udp_size: int = UDP_BYTES, *, do: bool = False, options: bytes = b"", rcode: int = 0) -> bytes:
    """An OPT record; `rcode` is the whole 12-bit RCODE, whose upper 8 bits stand here."""
    return b"\0" + _record(OPT, udp_size, rcode >> 4 << 24 | do << 15, len(options)) + options


def encode_query(
    message_id: int, question: bytes, *, rd: bool = True, cd: bool = False, ad: bool = False, opt: bytes = b""
) -> bytes:
    """A query to an upstream. `opt` from `encode_opt`, b"" for none."""
    flags = rd * RD | cd * CD | ad * _AD
    return _header.pack(message_id, flags, 1, 0, 0, bool(opt)) + question + opt


def reply(
    query: Query, rcode: int, *, sections: bytes = b"", an: int = 0, ns: int = 0, ar: int = 0, flags: int = 0
) -> bytes:
    """A reply: QR and RA set, RD and CD as the query had them, `flags` added, the question echoed, then `sections`.

    `rcode` is the lower four bits; the upper ones stand in OPT.
    """
    bits = QR | RA | query.flags & (RD | CD) | flags | rcode & 15
    return _header.pack(query.id, bits, 1, an, ns, ar) + query.question + sections


def replayed(message: bytes, query: Query, *, flags: int) -> bytes:
    """A stored answer (`Response.message`) for this query: its id, RD and CD, QR and RA, the client's spelling.

    `flags` are the further bits to set (AA, AD, TC) with the RCODE in the lowest four; the stored flags are not used.
    """
    bits = QR | RA | query.flags & (RD | CD) | flags
    question = query.question
    start = _start(query.id, bits)
    return start + message[4:HEADER_BYTES] + question + message[HEADER_BYTES + len(question) :]


def aged(message: bytes, ttls: Iterable[tuple[int, int]], age: int, *, most: int = 0x7FFFFFFF, least: int = 0) -> bytes:
    """The message with `age` seconds taken from every TTL, kept within `least` and `most`."""
    out = bytearray(message)
    for offset, ttl in ttls:
        left = ttl - age
        _pack_ttl(out, offset, least if left < least else most if left > most else left)
    return bytes(out)


def finish(message: bytes, query: Query, limit: int, opt: bytes = b"") -> bytes:
    """Append OPT and see to it that the whole fits `limit` octets: else TC, the question and OPT only."""
    message_id, flags, _qd, an, ns, ar = _header.unpack_from(message)
    if len(message) + len(opt) <= limit:
        if not opt:
            return message
        return _header.pack(message_id, flags, 1, an, ns, ar + 1) + message[HEADER_BYTES:] + opt
    question = query.question
    if HEADER_BYTES + len(question) + len(opt) > limit:
        opt = opt[:9] + b"\0\0" if opt else b""
    return _header.pack(message_id, flags | TC, 1, 0, 0, bool(opt)) + question + opt


def error_reply(data: bytes, rcode: int) -> bytes:
    """The answer to bytes that `read_query` refused with this rcode: the id, opcode and RD, and the question if whole.

    BADVERS comes with an OPT. `data` has at least 12 octets. Never longer than `data` by more than an OPT's 11 octets.
    """
    message_id, flags, questions, _an, _ns, _ar = _header.unpack_from(data)
    question = _first_question(data) if questions == 1 else b""
    bits = QR | RA | flags & (_OPCODE | RD | CD) | rcode & 15
    opt = encode_opt(rcode=rcode) if rcode >= BADVERS else b""
    return _header.pack(message_id, bits, bool(question), 0, 0, bool(opt)) + question + opt


def _first_question(data: bytes) -> bytes:
    head = data[HEADER_BYTES : HEADER_BYTES + MAX_NAME_BYTES + 4]
    pos = 0
    while pos < len(head) and 0 < head[pos] < 64:
        pos += head[pos] + 1
    return head[: pos + 5] if pos + 5 <= len(head) and head[pos] == 0 else b""
