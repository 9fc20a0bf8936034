"""Twisted moves the bytes: UDP, TCP, and NOTIFYs. No address of anybody is written anywhere."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any

import dns.tsig
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from zope.interface import implementer

from feeds.errors import Rejected
from feeds.language import _
from feeds.transfer.line import Line
from feeds.transfer.primary import Answer, Primary, is_acknowledged, notify_message
from feeds.transfer.settings import Secondary

NOTIFY_RETRY_SECONDS = (2.0, 4.0, 8.0, 16.0, 32.0)
_PEM_START = b"-----BEGIN CERTIFICATE-----"
_length = Struct("!H").pack


@dataclass(frozen=True, slots=True)
class Quota:
    """`idle_seconds`: longest wait for the other side to take or send anything; `total_seconds`: for a connection."""

    transfers: int = 40
    transfers_each: int = 4
    connections: int = 200
    connections_each: int = 10
    idle_seconds: float = 30.0
    total_seconds: float = 900.0
    request_bytes: int = 4096
    bytes_per_second: int = 4096


@dataclass
class Serving:
    """What all sockets share. `seen` is told of each answer that has been sent whole."""

    primary: Primary
    reactor: Any
    seen: Callable[[Answer], None]
    quota: Quota = Quota()
    transfers: Counter[str] = field(default_factory=Counter)
    connections: Counter[str] = field(default_factory=Counter)


def tls_context(certificate: Path, private_key: Path) -> Any:
    """TLS 1.3 alone (RFC 9103 section 7.1). ALPN `dot` is offered, not required: Unbound sends none.

    Raises Rejected where the files do not hold a certificate chain and its key.
    """
    from OpenSSL import SSL, crypto
    from twisted.internet.ssl import CertificateOptions, TLSVersion

    try:
        chain = [
            crypto.load_certificate(crypto.FILETYPE_PEM, _PEM_START + part)
            for part in certificate.read_bytes().split(_PEM_START)[1:]
        ]
        key = crypto.load_privatekey(crypto.FILETYPE_PEM, private_key.read_bytes())
        options = CertificateOptions(
            privateKey=key,
            certificate=chain[0],
            extraCertChain=chain[1:],
            insecurelyLowerMinimumTo=TLSVersion.TLSv1_3,
            acceptableProtocols=[b"dot"],
        )
        options.getContext()
    except (OSError, IndexError, ValueError, crypto.Error, SSL.Error):
        raise Rejected(
            _("{certificate} and {key} are not a certificate and its private key in PEM").format(
                certificate=certificate, key=private_key
            ),
            rule="zone.certificate",
            kept=_("nothing is served"),
        ) from None
    return options


class Datagrams(DatagramProtocol):
    """UDP: SOA, small IXFR, and the answers to our NOTIFYs."""

    transport: Any

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._open: dict[tuple[str, int, int], Any] = {}

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        key = (addr[0], addr[1], int.from_bytes(datagram[:2]))
        if key in self._open and is_acknowledged(datagram, key[2]):
            self._open.pop(key).cancel()
            return
        answer = self._serving.primary.asked(datagram, addr[0], False, int(time.time()))
        if answer is not None:
            for message in answer.messages:
                self.transport.write(message, addr)
            self._serving.seen(answer)

    def tell(self, secondary: Secondary, line: Line, message_id: int) -> None:
        """NOTIFY all of its addresses until each has answered, or the tries are used up."""
        for host, port in secondary.notify:
            self._try(line, (host, port, message_id), secondary.key, 0)

    def _try(self, line: Line, key: tuple[str, int, int], tsig: dns.tsig.Key | None, tries: int) -> None:
        self._open.pop(key, None)
        if tries == len(NOTIFY_RETRY_SECONDS):
            return
        self.transport.write(notify_message(line, key[2], tsig, int(time.time())), key[:2])
        pause = NOTIFY_RETRY_SECONDS[tries]
        self._open[key] = self._serving.reactor.callLater(pause, self._try, line, key, tsig, tries + 1)


class Streams(Factory):
    """TCP connections, bounded in all and for each address."""

    noisy = False

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    def buildProtocol(self, addr: Any) -> "Stream | None":
        open_, quota = self.serving.connections, self.serving.quota
        if open_.total() >= quota.connections or open_[addr.host] >= quota.connections_each:
            return None
        return Stream(self.serving, addr.host)


@implementer(IPullProducer)
class Stream(Protocol):
    """One connection: one request after the other, each message made when the one before it has left."""

    transport: Any

    def __init__(self, serving: Serving, host: str) -> None:
        self._serving = serving
        self._host = host
        self._buffer = bytearray()
        self._answer: Answer | None = None
        self._began = self._sent = 0.0
        self._idle: Any = None
        self._total: Any = None

    def connectionMade(self) -> None:
        serving = self._serving
        serving.connections[self._host] += 1
        self._idle = serving.reactor.callLater(serving.quota.idle_seconds, self._end)
        self._total = serving.reactor.callLater(serving.quota.total_seconds, self._end)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > 4 * self._serving.quota.request_bytes:
            self._end()
        elif self._answer is None:
            self._next()

    def _next(self) -> None:
        while self._answer is None and len(self._buffer) >= 2:
            size = int.from_bytes(self._buffer[:2])
            if size > self._serving.quota.request_bytes:
                self._end()
                return
            if len(self._buffer) < 2 + size:
                return
            request = bytes(self._buffer[2 : 2 + size])
            del self._buffer[: 2 + size]
            self._idle.reset(self._serving.quota.idle_seconds)
            answer = self._serving.primary.asked(request, self._host, True, int(time.time()))
            if answer is None or not self._room(answer):
                self._end()
                return
            self._answer, self._sent, self._began = answer, 0.0, self._serving.reactor.seconds()
            self.transport.registerProducer(self, False)

    def _room(self, answer: Answer) -> bool:
        """May this one begin? A secondary over its quota comes again, as after any broken transfer."""
        transfers, quota = self._serving.transfers, self._serving.quota
        if answer.what in ("axfr", "ixfr"):
            name = answer.secondary
            if transfers.total() >= quota.transfers or transfers[name] >= quota.transfers_each:
                return False
            transfers[name] += 1
        return True

    def resumeProducing(self) -> None:
        """The kernel has taken all that was written."""
        answer, quota = self._answer, self._serving.quota
        if answer is None:
            return
        waited = self._serving.reactor.seconds() - self._began
        if waited > quota.idle_seconds and self._sent < waited * quota.bytes_per_second:
            self._end()
            return
        self._idle.reset(quota.idle_seconds)
        message = next(answer.messages, None)
        if message is not None:
            self._sent += len(message)
            self.transport.write(_length(len(message)) + message)
            return
        self._done()
        self.transport.unregisterProducer()
        self._serving.seen(answer)
        self._next()

    def stopProducing(self) -> None:
        """The connection has gone."""

    def _done(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and answer.what in ("axfr", "ixfr"):
            self._serving.transfers[answer.secondary] -= 1

    def _end(self) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self._done()
        counts = self._serving.connections
        counts[self._host] -= 1
        if not counts[self._host]:
            del counts[self._host]
        for call in (self._idle, self._total):
            if call is not None and call.active():
                call.cancel()
