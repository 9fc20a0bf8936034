"""What a primary answers: bytes and now in, messages out; no socket, no clock.

Only feeds.message reads what comes in. Whoever may not transfer learns nothing: REFUSED, without data.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import Struct

import dns.tsig

from feeds.message import Malformed, Query, read_query
from feeds.message.building import encode_question, error_reply
from feeds.message.transfer import read_ixfr
from feeds.message.words import (
    AA,
    AXFR,
    FORMERR,
    HEADER_BYTES,
    IN,
    IXFR,
    NOTAUTH,
    OPCODE_NOTIFY,
    OPCODE_SHIFT,
    QR,
    REFUSED,
    SERVFAIL,
    SOA,
    UDP_BYTES,
)
from feeds.transfer.line import Line
from feeds.transfer.packing import Part, pack
from feeds.transfer.settings import Secondary
from feeds.transfer.signing import (
    BADKEY,
    BADSIG,
    BADTIME,
    BADTRUNC,
    BadSignature,
    Signed,
    Signer,
    read_signature,
    unsigned_error,
    verify,
)

# Whoever may not have it, or no such zone; not a question for us; nothing to show yet; TSIG's errors.
NOT_ALLOWED, MALFORMED, NO_CONTENT = "not_allowed", "malformed", "no_content"
_BAD = {BADKEY: "badkey", BADSIG: "badsig", BADTIME: "badtime", BADTRUNC: "badtrunc"}
REFUSALS = (NOT_ALLOWED, MALFORMED, NO_CONTENT, *_BAD.values())
_REASONS = {REFUSED: NOT_ALLOWED, FORMERR: MALFORMED, SERVFAIL: NO_CONTENT}
_header = Struct("!6H")
# A TSIG record with a long key name and hmac-sha512.
_SIGNATURE_BYTES = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """`messages` are made as they are taken. `what` is `soa`, `axfr`, `ixfr` or one of REFUSALS; `serial` the one sent.

    `secondary` is the configured name, empty for whoever gets nothing.
    """

    messages: Iterator[bytes]
    what: str
    secondary: str = ""
    zone: bytes = b""
    serial: int = 0


class Primary:
    """Zones by their wire name in lower case, and who may have them."""

    def __init__(self, zones: Mapping[bytes, Line], secondaries: tuple[Secondary, ...]) -> None:
        self._zones = zones
        # Whoever proves himself with a certificate is that one, from whatever address.
        self._keyless = sorted((one for one in secondaries if not one.key), key=lambda one: one.certificate is None)
        self._by_key = {one.key.name: one for one in secondaries if one.key}

    def asked(
        self, data: bytes, address: str, stream: bool, now: int, certificate: bytes | None = None
    ) -> Answer | None:
        """Answer a message from `address`, over a stream or by datagram; None: say nothing. `now`: since 1970.

        `certificate` is the pin of the certificate with which the other side has proven itself (RFC 9103, 9.3.2).
        """
        try:
            query, serial = _read(data)
            return self._answer(data, query, serial, (address, certificate), stream, now)
        except Malformed as error:
            return None if error.rcode is None else _refusal(error_reply(data, error.rcode), MALFORMED)

    def _answer(
        self, data: bytes, query: Query, serial: int | None, peer: tuple[str, bytes | None], stream: bool, now: int
    ) -> Answer:
        signed = read_signature(data) if query.signed else None
        secondary = self._who(signed, *peer)
        signer = None
        if signed is not None:
            key = secondary.key if secondary else None
            try:
                verify(data, signed, key, now)
            except BadSignature as error:
                return _refusal(_tsig_error(query, signed, key, error.error, now), _BAD[error.error])
            assert key is not None  # noqa: S101 - `verify` has refused a request without one
            signer = Signer(key, signed.rdata.mac)
        line = self._zones.get(query.key)
        rcode = 0
        if secondary is None or line is None or query.qclass != IN or query.qtype not in (SOA, AXFR, IXFR):
            rcode = REFUSED
        elif query.qtype == AXFR and not stream:
            # RFC 5936 section 4.2: there is no AXFR over UDP.
            rcode = FORMERR
        elif line.present is None:
            rcode = SERVFAIL
        if rcode or secondary is None or line is None or line.present is None:
            return _refusal(_signed(_message(query, Part(0, b""), rcode), signer, now), _REASONS[rcode])
        present = line.present
        alone = next(pack(present.zone, (present.soa,)))
        what = {SOA: "soa", AXFR: "axfr", IXFR: "ixfr"}[query.qtype]
        if query.qtype == AXFR:
            parts = line.whole()
        elif query.qtype == SOA:
            parts = iter((alone,))
        else:
            parts = line.since(serial or 0)
            if not stream:
                found = _one(query, parts)
                parts, what = iter((found or alone,)), "ixfr" if found else "soa"
        messages = (_signed(_message(query, part), signer, now) for part in parts)
        return Answer(messages, what, secondary.name, query.key, present.serial)

    def _who(self, signed: Signed | None, address: str, certificate: bytes | None) -> Secondary | None:
        if signed is not None:
            found = self._by_key.get(signed.key_name)
            return found if found is not None and found.admits(address, certificate) else None
        return next((one for one in self._keyless if one.admits(address, certificate)), None)


def notify_message(line: Line, message_id: int, key: dns.tsig.Key | None, now: int) -> bytes:
    """A NOTIFY with the new SOA (RFC 1996 section 3.7), signed where there is a key."""
    present = line.present
    assert present is not None  # noqa: S101 - nobody is told of a zone without content
    part = next(pack(present.zone, (present.soa,)))
    head = _header.pack(message_id, OPCODE_NOTIFY << OPCODE_SHIFT | AA, 1, part.records, 0, 0)
    wire = head + encode_question(present.zone, SOA) + part.data
    return Signer(key, b"").sign(wire, now) if key else wire


def is_acknowledged(data: bytes, message_id: int) -> bool:
    """Is this the answer to that NOTIFY? It ends the retries and means nothing else."""
    if len(data) < HEADER_BYTES:
        return False
    found, flags = _header.unpack_from(data)[:2]
    return found == message_id and bool(flags & QR) and flags >> OPCODE_SHIFT & 15 == OPCODE_NOTIFY


def _read(data: bytes) -> tuple[Query, int | None]:
    """A plain query, or an IXFR query with its serial: told apart by the one record in the authority section."""
    if len(data) >= HEADER_BYTES and _header.unpack_from(data)[4] == 1:
        return read_ixfr(data)
    query = read_query(data)
    if query.qtype == IXFR:
        raise Malformed("an IXFR query without an SOA", FORMERR)
    return query, None


def _message(query: Query, part: Part, rcode: int = 0) -> bytes:
    # A refusal speaks with no authority.
    bits = QR | (0 if rcode else AA) | rcode
    return _header.pack(query.id, bits, 1, part.records, 0, 0) + query.question + part.data


def _one(query: Query, parts: Iterator[Part]) -> Part | None:
    """The only part, if there is one only and it fits a datagram; else the client must come by TCP (RFC 1995, 2)."""
    first = next(parts)
    signature = _SIGNATURE_BYTES if query.signed else 0
    fits = HEADER_BYTES + len(query.question) + len(first.data) + signature <= min(UDP_BYTES, query.udp_limit)
    return first if fits and next(parts, None) is None else None


def _signed(wire: bytes, signer: Signer | None, now: int) -> bytes:
    return signer.sign(wire, now) if signer else wire


def _refusal(wire: bytes, reason: str) -> Answer:
    return Answer(iter((wire,)), reason)


def _tsig_error(query: Query, signed: Signed, key: dns.tsig.Key | None, error: int, now: int) -> bytes:
    """NOTAUTH with the error (RFC 8945 section 5.2); BADTIME alone is signed, and tells our time."""
    wire = _message(query, Part(0, b""), NOTAUTH)
    if error == BADTIME and key is not None:
        other = now.to_bytes(6, "big")
        return Signer(key, signed.rdata.mac).sign(wire, now, error, other, at=signed.rdata.time_signed)
    return unsigned_error(wire, signed, error, now)
