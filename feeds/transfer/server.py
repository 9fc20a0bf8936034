"""Twisted moves the bytes: UDP, TCP, and NOTIFYs. No address of anybody is written anywhere."""

import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from typing import Any

from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from zope.interface import implementer

from feeds.message.building import name_text
from feeds.transfer.metrics import FORMS, Counts
from feeds.transfer.notifying import Notifying
from feeds.transfer.primary import MALFORMED, REFUSALS, Answer, Primary
from feeds.transfer.tls import peer_pin

_MAPPED = "::ffff:"
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


DEFAULT_QUOTA = Quota()
# What the kernel holds of a connection, about. By itself it takes megabytes: a slow secondary would look done.
SEND_BUFFER_BYTES = 1 << 17


class Serving:
    """What all sockets share. `seen` is told of each answer that has been sent whole; `now` is since 1970."""

    def __init__(
        self,
        primary: Primary,
        reactor: Any,
        seen: Callable[[Answer], None],
        quota: Quota = DEFAULT_QUOTA,
        now: Callable[[], int] = lambda: int(time.time()),
        new_id: Callable[[], int] = lambda: secrets.randbelow(1 << 16),
    ) -> None:
        self.primary, self.reactor, self.quota, self.now = primary, reactor, quota, now
        self.counts = Counts()
        self.transfers: Counter[str] = Counter()
        self.connections: Counter[str] = Counter()
        self.datagrams: list[Datagrams] = []
        self.notifying = Notifying(reactor, self._everywhere, self.counts, now, new_id)
        self._seen = seen

    def sent(self, answer: Answer) -> None:
        """It has been sent whole."""
        if answer.what in FORMS:
            self.counts.transfers[answer.secondary, name_text(answer.zone), answer.what] += 1
        self._seen(answer)

    def count_refusal(self, answer: Answer | None) -> None:
        """What says nothing is malformed, too."""
        what = MALFORMED if answer is None else answer.what
        if what in REFUSALS:
            self.counts.refused[what] += 1

    def _everywhere(self, message: bytes, endpoint: tuple[str, int]) -> None:
        """Once from each address at which we listen: a secondary believes those that it knows as its primaries."""
        for datagrams in {one.transport.getHost().host: one for one in reversed(self.datagrams)}.values():
            datagrams.send(message, endpoint)


def plain_address(host: str) -> str:
    """192.0.2.1 where a socket for both families says ::ffff:192.0.2.1."""
    return host.removeprefix(_MAPPED) if "." in host else host


class Datagrams(DatagramProtocol):
    """UDP: SOA, small IXFR, and the answers to our NOTIFYs."""

    transport: Any

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def startProtocol(self) -> None:
        self._serving.datagrams.append(self)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        serving, host = self._serving, plain_address(addr[0])
        if serving.notifying.answered(datagram, (host, addr[1])):
            return
        answer = serving.primary.asked(datagram, host, False, serving.now())
        serving.count_refusal(answer)
        if answer is not None:
            for message in answer.messages:
                self.send(message, addr)
            serving.sent(answer)

    def send(self, message: bytes, addr: tuple[str, int]) -> None:
        """Nobody waits here for what cannot be sent; the other side asks again."""
        host, port = addr
        if "." in host and ":" not in host and ":" in self.transport.getHost().host:
            # `[::]` serves both families.
            host = f"{_MAPPED}{host}"
        with suppress(OSError, InvalidAddressError, MessageLengthError):
            self.transport.write(message, (host, port))


class Streams(Factory):
    """TCP and TLS connections, bounded in all and for each address."""

    noisy = False

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    def buildProtocol(self, addr: Any) -> "Stream | None":
        host, open_, quota = plain_address(addr.host), self.serving.connections, self.serving.quota
        if open_.total() >= quota.connections or open_[host] >= quota.connections_each:
            self.serving.counts.over_quota["connections"] += 1
            return None
        return Stream(self.serving, host)


def bound_buffers(listening: Any) -> None:
    """Let the connections of a listening TCP port inherit SEND_BUFFER_BYTES."""
    listening.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


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
        self._idle = serving.reactor.callLater(serving.quota.idle_seconds, self._late)
        self._total = serving.reactor.callLater(serving.quota.total_seconds, self._late)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > 4 * self._serving.quota.request_bytes:
            self._end("request")
        elif self._answer is None:
            self._next()

    def _next(self) -> None:
        """Answer the next request if it is there whole. The others wait in the buffer."""
        serving, quota = self._serving, self._serving.quota
        if len(self._buffer) < 2:
            return
        size = int.from_bytes(self._buffer[:2])
        if size > quota.request_bytes:
            self._end("request")
            return
        if len(self._buffer) < 2 + size:
            return
        request = bytes(self._buffer[2 : 2 + size])
        del self._buffer[: 2 + size]
        self._idle.reset(quota.idle_seconds)
        answer = serving.primary.asked(request, self._host, True, serving.now(), peer_pin(self.transport))
        serving.count_refusal(answer)
        if answer is None:
            self._end()
        elif not self._room(answer):
            self._end("transfers")
        else:
            self._answer, self._sent, self._began = answer, 0.0, serving.reactor.seconds()
            self.transport.registerProducer(self, False)

    def _room(self, answer: Answer) -> bool:
        """May this one begin? A secondary over its quota comes again, as after any broken transfer."""
        transfers, quota = self._serving.transfers, self._serving.quota
        if answer.what in FORMS:
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
            self._late()
            return
        self._idle.reset(quota.idle_seconds)
        message = next(answer.messages, None)
        if message is not None:
            self._sent += len(message)
            self.transport.write(_length(len(message)) + message)
            return
        self._done()
        self.transport.unregisterProducer()
        self._serving.sent(answer)
        self._next()

    def stopProducing(self) -> None:
        """The connection has gone."""

    def _done(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and answer.what in FORMS:
            self._serving.transfers[answer.secondary] -= 1

    def _late(self) -> None:
        """A connection without a transfer may simply have nothing to ask."""
        self._end("slow" if self._answer else "")

    def _end(self, quota: str = "") -> None:
        if quota:
            self._serving.counts.over_quota[quota] += 1
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
