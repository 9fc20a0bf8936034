"""TSIG (RFC 8945) of requests and answers; the arithmetic is dnspython's, the reading of requests ours."""

from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Any

import dns.exception
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.tsig

from feeds.message.query import skip_name
from feeds.message.words import FORMERR, HEADER_BYTES, TSIG, Malformed

FUDGE_SECONDS = 300
BADSIG, BADKEY, BADTIME, BADTRUNC = 16, 17, 18, 22
MAC_BYTES = {"hmac-sha256": 32, "hmac-sha512": 64}
_header = Struct("!6H")
_fixed = Struct("!HHIH")
_time = Struct("!HIH")
_half = Struct("!H")
# dnspython leaves its signatures bare.
_Rdata: Any = dns.rdtypes.ANY.TSIG.TSIG
_sign: Any = dns.tsig.sign
_validate: Any = dns.tsig.validate


@dataclass(frozen=True, slots=True)
class Signed:
    """A request's TSIG record. `start` is where it begins."""

    key_name: dns.name.Name
    rdata: Any
    start: int


class BadSignature(Exception):
    """The request is not to be believed. `error` is TSIG's error code."""

    def __init__(self, error: int) -> None:
        super().__init__(dns.rcode.to_text(dns.rcode.Rcode(error)))
        self.error = error


def read_signature(data: bytes) -> Signed:
    """The TSIG record of a message that `feeds.message` has read and found signed. Raises Malformed only."""
    try:
        counts = _header.unpack_from(data)[2:]
        pos = skip_name(data, HEADER_BYTES) + 4
        for _n in range(sum(counts[1:]) - 1):
            pos = skip_name(data, pos)
            pos += 10 + _fixed.unpack_from(data, pos)[3]
        start = pos
        key_name, pos = _name(data, pos)
        rtype, rclass, ttl, length = _fixed.unpack_from(data, pos)
        pos += 10
        if rtype != TSIG or rclass != dns.rdataclass.ANY or ttl or pos + length != len(data):
            raise Malformed("not a TSIG record", FORMERR)
        algorithm, pos = _name(data, pos)
        high, low, fudge = _time.unpack_from(data, pos)
        (size,) = _half.unpack_from(data, pos + 8)
        mac = data[pos + 10 : pos + 10 + size]
        original, error, other_size = Struct("!3H").unpack_from(data, pos + 10 + size)
        pos += 16 + size
        other = data[pos : pos + other_size]
        if pos + other_size != len(data):
            raise Malformed("a TSIG record of the wrong length", FORMERR)
    except (IndexError, StructError, dns.exception.DNSException):
        raise Malformed("the TSIG record is cut off", FORMERR) from None
    rdata = _Rdata(
        dns.rdataclass.ANY, dns.rdatatype.TSIG, algorithm, high << 32 | low, fudge, mac, original, error, other
    )
    return Signed(key_name, rdata, start)


def verify(data: bytes, signed: Signed, key: dns.tsig.Key | None, now: int) -> None:
    """`now` in seconds since 1970. Raises BadSignature, or Malformed where the MAC is too short to be one."""
    if key is None or signed.rdata.algorithm != key.algorithm:
        raise BadSignature(BADKEY)
    whole = MAC_BYTES[key.algorithm.to_text(omit_final_dot=True)]
    size = len(signed.rdata.mac)
    if size > whole or size < max(10, whole // 2):
        raise Malformed("a TSIG whose MAC has an impossible length", FORMERR)
    if size < whole:
        raise BadSignature(BADTRUNC)
    try:
        _validate(data, key, signed.key_name, signed.rdata, now, b"", signed.start)
    except dns.tsig.BadTime:
        raise BadSignature(BADTIME) from None
    except dns.exception.DNSException:
        raise BadSignature(BADSIG) from None


class Signer:
    """Signs the messages of one answer in their order, each of them; or a request, where `request_mac` is empty."""

    def __init__(self, key: dns.tsig.Key, request_mac: bytes) -> None:
        self._key = key
        self._request_mac = request_mac
        self._context: Any = None

    def sign(self, wire: bytes, now: int, error: int = 0, other: bytes = b"", at: int | None = None) -> bytes:
        """`wire` with its TSIG record. `at` is the time to state, where it is not `now` (BADTIME)."""
        stated = now if at is None else at
        blank = _blank(self._key.algorithm, _half.unpack_from(wire)[0], stated, error, other)
        made, self._context = _sign(wire, self._key, blank, stated, self._request_mac, self._context, True)
        return _with_record(wire, self._key.name, made)


def unsigned_error(wire: bytes, signed: Signed, error: int, now: int) -> bytes:
    """`wire` with a TSIG record that states BADKEY, BADSIG or BADTRUNC and proves nothing (RFC 8945 section 5.3.2)."""
    blank = _blank(signed.rdata.algorithm, _half.unpack_from(wire)[0], now, error, b"")
    return _with_record(wire, signed.key_name, blank)


def _blank(algorithm: dns.name.Name, message_id: int, now: int, error: int, other: bytes) -> Any:
    return _Rdata(dns.rdataclass.ANY, dns.rdatatype.TSIG, algorithm, now, FUDGE_SECONDS, b"", message_id, error, other)


def _with_record(wire: bytes, owner: dns.name.Name, rdata: Any) -> bytes:
    data = rdata.to_wire()
    (additional,) = _half.unpack_from(wire, 10)
    head = owner.to_wire() or b""
    return b"".join(
        (
            wire[:10],
            _half.pack(additional + 1),
            wire[HEADER_BYTES:],
            head,
            _fixed.pack(TSIG, dns.rdataclass.ANY, 0, len(data)),
            data,
        )
    )


def _name(data: bytes, start: int) -> tuple[dns.name.Name, int]:
    """A name written without compression, in lower case, and where it ends."""
    end = skip_name(data, start)
    labels, pos = [], start
    while pos < end:
        length = data[pos]
        if length > 63:
            raise Malformed("a compressed name in a TSIG record", FORMERR)
        labels.append(data[pos + 1 : pos + 1 + length].lower())
        pos += length + 1
    return dns.name.Name(labels), end
