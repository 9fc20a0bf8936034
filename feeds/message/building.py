"""Building answers: pure functions on bytes."""

from collections.abc import Iterable

from feeds.message.words import Query


def encode_name(text: str) -> bytes:
    """Wire form of dotted text (a final dot is allowed, `""` and `"."` are the root). Raises ValueError."""
    raise NotImplementedError


def name_text(wire: bytes) -> str:
    """Presentation form with `\\DDD` escapes (RFC 1035 section 5.1), without the final dot; the root is `.`."""
    raise NotImplementedError


def encode_question(name: bytes, qtype: int, qclass: int = 1) -> bytes:
    """The question section of a query."""
    raise NotImplementedError


def encode_record(owner: bytes, rtype: int, ttl: int, rdata: bytes, rclass: int = 1) -> bytes:
    """One record; `owner` is a wire name or a pointer such as b"\\xc0\\x0c" (the question's name)."""
    raise NotImplementedError


def address_record(owner: bytes, ttl: int, address: bytes) -> bytes:
    """A (4 octets) or AAAA (16 octets)."""
    raise NotImplementedError


def soa_rdata(mname: bytes, rname: bytes, serial: int, refresh: int, retry: int, expire: int, minimum: int) -> bytes:
    raise NotImplementedError


def mailbox_name(email: str) -> bytes:
    """RNAME of an e-mail address: the local part is one label, its dots within (RFC 1035 section 8)."""
    raise NotImplementedError


def encode_option(code: int, data: bytes) -> bytes:
    raise NotImplementedError


def encode_ede(code: int, text: str = "") -> bytes:
    """An Extended DNS Error option (RFC 8914 section 2)."""
    raise NotImplementedError


def encode_opt(udp_size: int = 1232, *, do: bool = False, options: bytes = b"", rcode: int = 0) -> bytes:
    """An OPT record; `rcode` is the whole 12-bit RCODE, whose upper 8 bits stand here."""
    raise NotImplementedError


def encode_query(
    message_id: int, question: bytes, *, rd: bool = True, cd: bool = False, ad: bool = False, opt: bytes = b""
) -> bytes:
    """A query to an upstream. `opt` from `encode_opt`, b"" for none."""
    raise NotImplementedError


def reply(
    query: Query, rcode: int, *, sections: bytes = b"", an: int = 0, ns: int = 0, ar: int = 0, flags: int = 0
) -> bytes:
    """A reply: QR and RA set, RD and CD as the query had them, `flags` added, the question echoed, then `sections`."""
    raise NotImplementedError


def replayed(message: bytes, query: Query, *, flags: int) -> bytes:
    """A stored answer (`Response.message`) for this query: its id, RD and CD, QR and RA, the client's spelling.

    `flags` are the further bits to set (AA, AD, TC) with the RCODE in the lowest four; the stored flags are not used.
    """
    raise NotImplementedError


def aged(message: bytes, ttls: Iterable[tuple[int, int]], age: int, *, most: int = 0x7FFFFFFF, least: int = 0) -> bytes:
    """The message with `age` seconds taken from every TTL, kept within `least` and `most`."""
    raise NotImplementedError


def finish(message: bytes, query: Query, limit: int, opt: bytes = b"") -> bytes:
    """Append OPT and see to it that the whole fits `limit` octets: else TC, the question and OPT only."""
    raise NotImplementedError


def error_reply(data: bytes, rcode: int) -> bytes:
    """The answer to bytes that `read_query` refused with this rcode: the id, opcode and RD, and the question if whole.

    BADVERS comes with an OPT. `data` has at least 12 octets.
    """
    raise NotImplementedError
