"""Sockets towards the upstreams. Each attempt has its own, connected: the kernel lets only that upstream's packets in.

A UDP socket is bound to a port drawn at random from all unprivileged ones (RFC 5452 section 9.2), since the kernel's
own choice comes from half of them. This file moves bytes; what they mean is the session's affair.
"""

import socket
from random import Random
from struct import pack
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ClientFactory
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.python.failure import Failure as TwistedFailure
from zope.interface import implementer

from resolver.effects import Ask

Address = tuple[str, int]
PORT_TRIES = 8
TCP_CONNECT_SECONDS = 2
MAX_PACKETS = 16  # per readiness, so that a flood at one socket cannot hold the loop


class Ears(Protocol):
    """What the sockets report to."""

    def heard(self, token: int, data: bytes) -> None: ...

    def gone(self, token: int) -> None: ...


class Upstreams:
    """Opens a socket per attempt and closes it when the session forgets the attempt."""

    def __init__(self, reactor: Any, addresses: tuple[Address, ...], rng: Random) -> None:
        self._reactor = reactor
        self._addresses = addresses
        self._rng = rng
        self._open: dict[int, _Datagrams | _Stream] = {}
        self.ears: Ears | None = None

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, effect: Ask) -> None:
        """Send it. What goes wrong at once is reported as gone in the next turn of the loop."""
        host, port = self._addresses[effect.upstream]
        if effect.tcp:
            stream = _Stream(self, effect.token, effect.data)
            self._open[effect.token] = stream
            stream.connector = self._reactor.connectTCP(host, port, stream, timeout=TCP_CONNECT_SECONDS)
            return
        try:
            sock = _bound(host, self._rng)
        except OSError:
            self._reactor.callLater(0, self.gone, effect.token)
            return
        datagrams = _Datagrams(self, effect.token, sock)
        self._open[effect.token] = datagrams
        try:
            sock.connect((host, port))
            sock.send(effect.data)
        except OSError:
            self._reactor.callLater(0, self.gone, effect.token)
        self._reactor.addReader(datagrams)

    def forget(self, token: int) -> None:
        """Close that attempt's socket."""
        attempt = self._open.pop(token, None)
        if attempt is not None:
            attempt.close(self._reactor)

    def close(self) -> None:
        """Close all."""
        for token in list(self._open):
            self.forget(token)

    def heard(self, token: int, data: bytes) -> None:
        if self.ears is not None and token in self._open:
            self.ears.heard(token, data)

    def gone(self, token: int) -> None:
        self.forget(token)
        if self.ears is not None:
            self.ears.gone(token)

    def is_open(self, token: int) -> bool:
        """Is anything still wanted from that attempt?"""
        return token in self._open


def _bound(host: str, rng: Random) -> socket.socket:
    """A UDP socket at a random port; at one of the kernel's choice when eight draws were taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    for _try in range(PORT_TRIES):
        try:
            sock.bind(("", rng.randrange(1024, 65536)))
            break
        except OSError:
            continue
    return sock


@implementer(IReadDescriptor)
class _Datagrams:
    def __init__(self, upstreams: Upstreams, token: int, sock: socket.socket) -> None:
        self._upstreams = upstreams
        self._token = token
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def logPrefix(self) -> str:
        return "upstream"

    def connectionLost(self, reason: TwistedFailure) -> None:
        """Twisted calls this on a socket error (an ICMP message: nobody listens there), and when the loop goes down."""
        self._upstreams.gone(self._token)

    def doRead(self) -> None:
        for _packet in range(MAX_PACKETS):
            try:
                data = self._sock.recv(65_535)
            except BlockingIOError:
                return
            except OSError:
                self._upstreams.gone(self._token)
                return
            self._upstreams.heard(self._token, data)
            if not self._upstreams.is_open(self._token):
                return

    def close(self, reactor: Any) -> None:
        reactor.removeReader(self)
        self._sock.close()


class _Stream(ClientFactory):
    """One question over TCP (RFC 7766): two octets of length before each message."""

    noisy = False

    def __init__(self, upstreams: Upstreams, token: int, data: bytes) -> None:
        self.upstreams = upstreams
        self.token = token
        self.message = pack("!H", len(data)) + data
        self.connector: Any = None
        self._closed = False

    def buildProtocol(self, addr: object) -> "_StreamProtocol":
        return _StreamProtocol(self)

    def clientConnectionFailed(self, connector: object, reason: TwistedFailure) -> None:
        if not self._closed:
            self.upstreams.gone(self.token)

    def clientConnectionLost(self, connector: object, reason: TwistedFailure) -> None:
        if not self._closed:
            self.upstreams.gone(self.token)

    def close(self, reactor: Any) -> None:
        self._closed = True
        self.connector.disconnect()


class _StreamProtocol(StreamProtocol):
    transport: Any

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def connectionMade(self) -> None:
        self.transport.write(self._stream.message)

    def dataReceived(self, data: bytes) -> None:
        # One answer is expected, so a stream can hold no more than one message and a little.
        self._buffer += data
        while len(self._buffer) >= 2:
            size = int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < 2 + size:
                return
            message = bytes(self._buffer[2 : 2 + size])
            del self._buffer[: 2 + size]
            self._stream.upstreams.heard(self._stream.token, message)
            if not self._stream.upstreams.is_open(self._stream.token):
                return
