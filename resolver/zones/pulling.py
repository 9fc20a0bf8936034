"""Transferring a zone from its primary: SOA, then IXFR (RFC 1995) or AXFR (RFC 5936), with TSIG or over TLS.

The state machine and TSIG are dnspython's. Whatever is wrong with an answer, a wrong class or a stream without an end,
the old copy stays; a new one takes its place only when the closing SOA is there.
"""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.serial
import dns.xfr

from feeds.errors import Failure, Unavailable, Untrusted
from feeds.language import _
from feeds.message.words import SOA, Record
from feeds.transfer.settings import pin
from resolver.zones.copies import Writing, read_copy, serial_of
from resolver.zones.settings import Address, ForeignZone, Primary

IDLE_SECONDS: Final = 20.0
LIFETIME_SECONDS: Final = 900.0
MAX_DELTA_RECORDS: Final = 500_000


@dataclass(frozen=True, slots=True)
class Pulled:
    """The zone as its primary has it. `changed`: it is another than before. Times in seconds, as the SOA says."""

    serial: int
    changed: bool
    refresh: int
    retry: int


def pull(zone: ForeignZone, path: Path) -> Pulled:
    """Bring the copy at `path` up to date, from the first primary that serves; raises a Failure with all reasons."""
    primary = zone.primary
    if primary is None:
        raise ValueError(zone.name)
    reasons: list[str] = []
    for address in primary.addresses:
        try:
            return _pull(zone, path, primary, address)
        except Failure as failure:
            reasons.append(f"{address[0]}: {failure.what}")
        except Exception as error:
            # dnspython raises whatever the parser of a record type meets; the primary is who must act.
            reasons.append(f"{address[0]}: {type(error).__name__}: {error}")
    raise Unavailable("; ".join(reasons), kept=_("the zone stays as it was"), then=_("see what its primary sends"))


def _pull(zone: ForeignZone, path: Path, primary: Primary, address: Address) -> Pulled:
    origin, _size = dns.name.from_wire(zone.wire, 0)
    soa = _soa(origin, primary, address)
    have = serial_of(path)
    changed = have != soa.serial
    if have is not None and changed:
        if dns.serial.Serial(soa.serial) < dns.serial.Serial(have):
            raise Untrusted(_("its serial went back from {old} to {new}").format(old=have, new=soa.serial))
        try:
            _transfer(origin, path, primary, address, have)
        except (Failure, dns.exception.DNSException):
            # A primary need not have the way from that serial, nor IXFR at all.
            _transfer(origin, path, primary, address, None)
    elif changed:
        _transfer(origin, path, primary, address, None)
    return Pulled(serial_of(path) or soa.serial, changed, soa.refresh, soa.retry)


def _soa(origin: dns.name.Name, primary: Primary, address: Address) -> Any:
    query = dns.message.make_query(origin, dns.rdatatype.SOA, flags=0)
    with _Stream(primary, address) as stream:
        stream.ask(query)
        reply = dns.message.from_wire(stream.read(), keyring=query.keyring, request_mac=query.mac)
    if not query.is_response(reply) or (primary.key is not None and not reply.had_tsig):
        raise Untrusted(_("it answered something else than it was asked"))
    if reply.rcode() != dns.rcode.NOERROR:
        raise Unavailable(_("it answered {rcode}").format(rcode=dns.rcode.to_text(reply.rcode())))
    found = reply.get_rrset(dns.message.ANSWER, origin, dns.rdataclass.IN, dns.rdatatype.SOA)
    if not found:
        raise Unavailable(_("it does not serve the zone"))
    return found[0]


def _transfer(origin: dns.name.Name, path: Path, primary: Primary, address: Address, have: int | None) -> None:
    """Put a new copy in the place of the old one; `have`: its serial, for the difference alone."""
    kind = dns.rdatatype.AXFR if have is None else dns.rdatatype.IXFR
    query = dns.message.make_query(origin, kind, flags=0)
    if have is not None:
        text = f". . {have} 0 0 0 0"
        query.authority.append(dns.rrset.from_text(origin, 0, dns.rdataclass.IN, dns.rdatatype.SOA, text))
    copy = _Copy(origin, path)
    try:
        _receive(query, copy, primary, address, have)
        copy.finish()
    finally:
        copy.rollback()


def _receive(
    query: dns.message.QueryMessage, copy: "_Copy", primary: Primary, address: Address, have: int | None
) -> None:
    inbound: Any = dns.xfr.Inbound(copy, query.question[0].rdtype, have)  # type: ignore[arg-type]
    with _Stream(primary, address) as stream:
        stream.ask(query)
        context, first, done = None, True, False
        while not done:
            reply = dns.message.from_wire(
                stream.read(), keyring=query.keyring, request_mac=query.mac, xfr=True, tsig_ctx=context, multi=True,
                one_rr_per_rrset=True,
            )  # fmt: skip
            if not query.is_response(reply, xfr_continuation=not first):
                raise Untrusted(_("it answered something else than it was asked"))
            done = inbound.process_message(reply)
            context, first = reply.tsig_ctx, False


class _Copy:
    """Where `dns.xfr.Inbound` writes to, as it writes to a zone and its transactions.

    A whole zone goes to the file as it comes. Of a difference what went and what came is gathered, and applied to the
    old copy at its end.
    """

    def __init__(self, origin: dns.name.Name, path: Path) -> None:
        self._origin = origin
        self._path = path
        self._writing: Writing | None = None
        self._gone: set[tuple[bytes, int, bytes]] = set()
        self._come: dict[tuple[bytes, int, bytes], Record] = {}
        self._soa: Record | None = None

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        return self._origin, False, self._origin

    def writer(self, replacement: bool) -> "_Copy":
        self._writing = Writing(self._path) if replacement else None
        return self

    def add(self, name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> None:
        for record in _records(name, rdataset):
            if self._writing is not None:
                self._writing.add(record)
            else:
                self._come[_key(record)] = record
        self._bounded()

    def delete_exact(self, name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> None:
        for record in _records(name, rdataset):
            if self._come.pop(_key(record), None) is None:
                self._gone.add(_key(record))
        self._bounded()

    def replace(self, name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> None:
        [self._soa] = _records(name, rdataset)

    def commit(self) -> None:
        """Nothing yet: what comes behind the closing SOA in its message would be noticed only afterwards."""

    def finish(self) -> None:
        """Put it in the place of the old one."""
        soa = self._soa
        if soa is None:
            raise Untrusted(_("the transfer has no SOA record"))
        writing = self._writing = self._writing or self._applied()
        writing.add(soa)
        writing.finish(int.from_bytes(soa.rdata[-20:-16]))
        self._writing = None

    def rollback(self) -> None:
        """Leave the old one; nothing after `finish`."""
        if self._writing is not None:
            self._writing.discard()
            self._writing = None

    def _applied(self) -> Writing:
        """The old copy with the difference; raises Untrusted where it is a difference to something else."""
        writing, gone = Writing(self._path), set(self._gone)
        try:
            with self._path.open("rb") as file:
                for record in read_copy(file):
                    if record.rtype == SOA:
                        continue
                    if _key(record) in gone:
                        gone.remove(_key(record))
                    elif _key(record) not in self._come:
                        writing.add(record)
            if gone:
                raise Untrusted(_("the difference does not fit what was transferred before"))
            for record in self._come.values():
                writing.add(record)
        except BaseException:
            writing.discard()
            raise
        return writing

    def _bounded(self) -> None:
        if len(self._gone) + len(self._come) > MAX_DELTA_RECORDS:
            raise Untrusted(_("the difference has more than {n} records").format(n=MAX_DELTA_RECORDS))


def _records(name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> list[Record]:
    if rdataset.rdclass != dns.rdataclass.IN:
        raise Untrusted(_("it sends records of another class than IN"))
    owner = (name.to_wire() or b"").lower()
    return [Record(owner, int(rdataset.rdtype), 1, rdataset.ttl, rdata.to_wire() or b"") for rdata in rdataset]


def _key(record: Record) -> tuple[bytes, int, bytes]:
    return record.owner, record.rtype, record.rdata


class _Stream:
    """A connection to a primary, which ends after LIFETIME_SECONDS or when nothing comes for IDLE_SECONDS."""

    def __init__(self, primary: Primary, address: Address, clock: Callable[[], float] = monotonic) -> None:
        self._primary = primary
        self._clock = clock
        self._until = clock() + LIFETIME_SECONDS
        try:
            plain = socket.create_connection(address, IDLE_SECONDS)
            self._socket = plain if primary.certificate is None else self._secured(plain)
        except OSError as error:
            raise Unavailable(_("it cannot be reached: {why}").format(why=error.strerror or error)) from None

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def ask(self, query: dns.message.Message) -> None:
        """Send it, signed where there is a key."""
        if self._primary.key is not None:
            query.use_tsig(self._primary.key)
        wire = query.to_wire()
        self._timed(partial(self._socket.sendall, len(wire).to_bytes(2) + wire))

    def read(self) -> bytes:
        """The next message; raises Unavailable where none comes."""
        return self._exactly(int.from_bytes(self._exactly(2)))

    def _exactly(self, size: int) -> bytes:
        held = bytearray()
        while len(held) < size:
            data = self._timed(partial(self._socket.recv, size - len(held)))
            if not data:
                raise Unavailable(_("it closed the connection before the end"))
            held += data
        return bytes(held)

    def _timed(self, act: Callable[[], Any]) -> Any:
        left = min(IDLE_SECONDS, self._until - self._clock())
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            return act()
        except TimeoutError:
            raise Unavailable(_("it is too slow")) from None
        except OSError as error:
            raise Unavailable(_("the connection broke: {why}").format(why=error.strerror or error)) from None

    def _secured(self, plain: socket.socket) -> socket.socket:
        """TLS 1.3 (RFC 9103). The primary's public key is who it is; no authority of certificates is believed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["dot"])
        try:
            secured = context.wrap_socket(plain)
        except BaseException:
            plain.close()
            raise
        shown = secured.getpeercert(binary_form=True)
        if shown is None or pin(shown) != self._primary.certificate:
            secured.close()
            raise Untrusted(_("its certificate has another key than the settings say"))
        return secured
