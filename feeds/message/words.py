"""What a DNS message is made of once it has been read: plain tuples, names as wire bytes, no text.

Lower-casing a whole wire name with `bytes.lower()` is safe: a length octet is at most 63 and letters start at 65.
"""

from typing import Final, NamedTuple

# Types (IANA "Resource Record (RR) TYPEs").
A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
MX: Final = 15
TXT: Final = 16
SIG: Final = 24
AAAA: Final = 28
SRV: Final = 33
DNAME: Final = 39
OPT: Final = 41
SVCB: Final = 64
HTTPS: Final = 65
TSIG: Final = 250
IXFR: Final = 251
AXFR: Final = 252
ANY: Final = 255
IN: Final = 1

# Flags of the header (RFC 1035 section 4.1.1, RFC 4035 section 3.1.6).
QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
AD: Final = 0x0020
CD: Final = 0x0010
OPCODE_SHIFT: Final = 11
OPCODE_NOTIFY: Final = 4

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
NOTAUTH: Final = 9
BADVERS: Final = 16

OPTION_EDE: Final = 15

HEADER_BYTES: Final = 12
MAX_MESSAGE_BYTES: Final = 65_535
MAX_NAME_BYTES: Final = 255
UDP_BYTES: Final = 1232
PLAIN_UDP_BYTES: Final = 512


class Malformed(Exception):
    """The one error of reading. `rcode` None: say nothing (an answer sent to us, or no whole header)."""

    def __init__(self, reason: str, rcode: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.rcode = rcode


class Query(NamedTuple):
    """A question that may be answered.

    `name` is the name as the client wrote it, `key` the same in lower case, `question` the whole question section
    as sent (echo it). `udp_size` is 0 without OPT; `options` is the OPT's RDATA, checked to be well-formed.
    `signed`: a TSIG or SIG(0) record stood last; nobody has verified it.
    """

    id: int
    flags: int
    name: bytes
    key: bytes
    qtype: int
    qclass: int
    question: bytes
    udp_size: int
    do: bool
    options: bytes
    signed: bool

    @property
    def edns(self) -> bool:
        """Did the query carry OPT?"""
        return self.udp_size > 0

    @property
    def udp_limit(self) -> int:
        """Octets that a UDP answer may have: what the client said, within 512 and 1232."""
        return min(max(self.udp_size, PLAIN_UDP_BYTES), UDP_BYTES)


class Record(NamedTuple):
    """One record. `owner` in lower case; `ttl` in seconds; names inside `rdata` decompressed, their case kept."""

    owner: bytes
    rtype: int
    rclass: int
    ttl: int
    rdata: bytes


class Edns(NamedTuple):
    """The OPT record of a message (RFC 6891). `options` are (code, data) pairs."""

    udp_size: int
    version: int
    do: bool
    options: tuple[tuple[int, bytes], ...]


class ServiceBinding(NamedTuple):
    """SVCB or HTTPS RDATA (RFC 9460). `target` in lower case, the owner where it was `.`; hints as integers."""

    priority: int
    target: bytes
    ipv4: tuple[int, ...]
    ipv6: tuple[int, ...]


class Response(NamedTuple):
    """An upstream's answer, read as a whole; every name and length in it has been checked.

    `rcode` has 12 bits (with OPT's upper 8). `answers`, `authority` and `additional` are without OPT and TSIG.
    `message` is the answer as bytes, without OPT and TSIG, its counts set to match; `ttls` are pairs
    (offset in `message`, TTL) for `building.aged`. `min_ttl` is the least TTL of all records, 0 if there is none.
    `bindings` are the parsed SVCB and HTTPS records of the answer section.
    """

    id: int
    flags: int
    rcode: int
    name: bytes
    key: bytes
    qtype: int
    qclass: int
    answers: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]
    edns: Edns | None
    message: bytes
    ttls: tuple[tuple[int, int], ...]
    bindings: tuple[ServiceBinding, ...]

    @property
    def min_ttl(self) -> int:
        return min((ttl for _offset, ttl in self.ttls), default=0)

    @property
    def truncated(self) -> bool:
        return bool(self.flags & TC)

    def soa(self) -> Record | None:
        """The SOA of the authority section: what a negative answer's lifetime comes from (RFC 2308 section 5)."""
        return next((record for record in self.authority if record.rtype == SOA), None)
