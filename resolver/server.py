"""Clients' sockets, and the edge that carries the session's effects out. Nothing here reads a message.

UDP bypasses Twisted's datagram classes: at the plain lane's rates an object per packet would cost more than the
answer. The socket is still a descriptor of Twisted's loop; on each readiness a bounded number of packets is read.
Client addresses live in a socket call, in the handle of a waiting query and as a number of open connections; none is
logged, counted by, or kept longer.
"""

import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from socket import MSG_DONTWAIT
from struct import pack
from time import monotonic
from typing import Any, NamedTuple

from twisted.internet.interfaces import IPushProducer, IReadDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure as TwistedFailure
from zope.interface import implementer

from resolver.effects import Ask, Effect, Forget, Note, Reply
from resolver.limiting import network
from resolver.session import Session
from resolver.upstream import Upstreams

PACKETS_PER_TURN = 64
MAX_QUERY_BYTES = 4096  # over UDP; a longer one is cut off by the kernel and then malformed
RECEIVE_BUFFER = 4 << 20
_SO_RCVBUFFORCE = 33
_IP_MTU_DISCOVER, _IP_PMTUDISC_OMIT = 10, 5
_IP_PKTINFO = 8

Log = Callable[..., None]


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds for clients' TCP and TLS connections together. Times in seconds; `per_address`: see `subscriber`."""

    connections: int = 1000
    per_address: int = 20
    idle: float = 10.0
    total: float = 120.0
    pending: int = 32


class Edge:
    """Carries out effects, and wakes the session when it wants to be woken."""

    def __init__(self, session: Session, upstreams: Upstreams, reactor: Any, log: Log) -> None:
        self.session = session
        self.upstreams = upstreams
        self._reactor = reactor
        self._log = log
        self._faults: set[str] = set()
        self._timer: Any = None
        self._timer_at = 0.0
        upstreams.ears = self

    def perform(self, effects: Iterable[Effect]) -> None:
        """Do all of it, in order."""
        for effect in effects:
            if isinstance(effect, Reply):
                effect.client.send(effect.data)  # type: ignore[attr-defined]
            elif isinstance(effect, Ask):
                self.upstreams.ask(effect)
            elif isinstance(effect, Forget):
                self.upstreams.forget(effect.token)
            elif isinstance(effect, Note):
                self._log(effect.event, about=effect.about)
        self.rearm()

    def heard(self, token: int, data: bytes) -> None:
        """From `Upstreams`: an upstream said this."""
        try:
            self.perform(self.session.received(token, data, monotonic()))
        except Exception as error:
            self.fault(error)

    def gone(self, token: int) -> None:
        """From `Upstreams`: that socket will bring nothing more."""
        try:
            self.perform(self.session.unreachable(token, monotonic()))
        except Exception as error:
            self.fault(error)

    def rearm(self) -> None:
        """See to it that the session is woken when it wants to be."""
        wake = self.session.wake_at
        if wake is None or (self._timer is not None and self._timer_at <= wake):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = wake
        self._timer = self._reactor.callLater(max(0.0, wake - monotonic()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        try:
            effects: Iterable[Effect] = self.session.due(monotonic())
        except Exception as error:
            self.fault(error)
            effects = ()
        self.perform(effects)

    def fault(self, error: Exception) -> None:
        """A bug met while serving: counted, logged once per place without any data of the query; serving goes on."""
        self.session.counters.faults += 1
        key = place_of(error)
        if key not in self._faults and len(self._faults) < 100:
            self._faults.add(key)
            self._log("fault", fault=key)


class DatagramClient(NamedTuple):
    """Whoever sent a datagram. `route`: from which of our addresses to answer, as the kernel gave it."""

    sock: socket.socket
    address: Any
    route: Any = None

    def send(self, data: bytes) -> None:
        try:
            if self.route is None:
                self.sock.sendto(data, MSG_DONTWAIT, self.address)
            else:
                self.sock.sendmsg((data,), self.route, MSG_DONTWAIT, self.address)
        except OSError:
            # A full send buffer or a client that is gone: a datagram may be lost, the client asks again.
            return


@implementer(IReadDescriptor)
class DatagramListener:
    """One UDP socket."""

    def __init__(self, sock: socket.socket, edge: Edge) -> None:
        self._sock = sock
        self._edge = edge
        self._local = is_local(sock)

    def fileno(self) -> int:
        return self._sock.fileno()

    def logPrefix(self) -> str:
        return "udp"

    def connectionLost(self, reason: TwistedFailure) -> None:
        self._sock.close()

    def doRead(self) -> None:
        edge, local, following = self._edge, self._local, self.following
        query, took = edge.session.query, edge.session.counters.took
        before = monotonic()
        for _packet in range(PACKETS_PER_TURN):
            try:
                data, client = following()
            except OSError:
                return
            except Exception as error:
                # Raised on, it would make the loop close this socket, and nobody would be answered any more.
                edge.fault(error)
                continue
            try:
                effects = query(data, client, False, before, local, client.address[0])
                if len(effects) == 1 and type(effects[0]) is Reply:
                    client.send(effects[0].data)
                    after = monotonic()
                    took(after - before)
                    before = after
                elif effects:
                    edge.perform(effects)
                    before = monotonic()
            except Exception as error:
                edge.fault(error)

    def following(self) -> tuple[bytes, DatagramClient]:
        """The next packet; raises OSError when there is none."""
        data, address = self._sock.recvfrom(MAX_QUERY_BYTES)
        return data, DatagramClient(self._sock, address)


class WildcardListener(DatagramListener):
    """A UDP socket bound to all addresses: the answer must leave from the one that was asked."""

    def following(self) -> tuple[bytes, DatagramClient]:
        data, ancillary, _flags, address = self._sock.recvmsg(MAX_QUERY_BYTES, 128)
        route = None
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
                # Our address stands second and third (ip(7)); the way back is the routing table's choice.
                route = [(level, kind, bytes(4) + value[4:])]
            elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                route = [(level, kind, value)]
        return data, DatagramClient(self._sock, address, route)


def datagram_listener(sock: socket.socket, edge: Edge) -> DatagramListener:
    """The listener that fits what the socket is bound to."""
    wildcard = ip_address(sock.getsockname()[0]).is_unspecified
    return (WildcardListener if wildcard else DatagramListener)(sock, edge)


class StreamListener(Factory):
    """Clients' TCP connections to one address, within the limits of the whole process."""

    noisy = False

    def __init__(
        self, edge: Edge, limits: StreamLimits, open_by_address: Counter[str], reactor: Any, local: bool = False
    ) -> None:
        self.edge = edge
        self.local = local
        self.secure = False
        self.limits = limits
        self.open_by_address = open_by_address
        self.reactor = reactor

    def buildProtocol(self, addr: Any) -> "BoundedConnection | None":
        # None makes Twisted close the connection at once.
        return StreamConnection(self, addr.host) if self.has_room(addr) else None

    def has_room(self, addr: Any) -> bool:
        """May one more connection from there be opened?"""
        counts = self.open_by_address
        return counts.total() < self.limits.connections and counts[subscriber(addr.host)] < self.limits.per_address


class StreamClient(NamedTuple):
    """Whoever asked over that connection; a reply to a connection that has gone is lost."""

    connection: "StreamConnection"

    def send(self, data: bytes) -> None:
        self.connection.reply(data)


class BoundedConnection(Protocol):
    """A connection that is counted while it is open, and ends in time.

    Only a whole exchange earns more time (`_earn_time`): single octets, sent slowly, do not.
    """

    transport: Any

    def __init__(self, listener: StreamListener, host: str) -> None:
        self._listener = listener
        self._host = host
        self._closed = False
        self._idle: Any = None
        self._total: Any = None
        self._subscriber = subscriber(host)
        listener.open_by_address[self._subscriber] += 1

    def connectionMade(self) -> None:
        limits, reactor = self._listener.limits, self._listener.reactor
        self._idle = reactor.callLater(limits.idle, self._expire)
        self._total = reactor.callLater(limits.total, self._expire)
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)

    def connectionLost(self, reason: TwistedFailure = None) -> None:  # type: ignore[assignment]
        self._closed = True
        counts = self._listener.open_by_address
        counts[self._subscriber] -= 1
        if counts[self._subscriber] <= 0:
            del counts[self._subscriber]
        for timer in (self._idle, self._total):
            if timer is not None and timer.active():
                timer.cancel()

    def _earn_time(self) -> None:
        if self._idle.active():
            self._idle.reset(self._listener.limits.idle)

    def _expire(self) -> None:
        if not self._closed:
            self.transport.abortConnection()


@implementer(IPushProducer)
class StreamConnection(BoundedConnection):
    """Messages with two octets of length before each (RFC 1035 section 4.2.2), as many at once as the limits allow.

    As a producer it stops reading while the client does not take its answers.
    """

    def __init__(self, listener: StreamListener, host: str) -> None:
        super().__init__(listener, host)
        self._buffer = bytearray()
        self._pending = 0
        self._full = False
        self._stalled = False

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        self._read()

    def reply(self, data: bytes) -> None:
        """Send one answer."""
        self._pending -= 1
        if self._closed:
            return
        self.transport.write(pack("!H", len(data)) + data)
        self._earn_time()
        if self._full and self._pending < self._listener.limits.pending:
            self._full = False
            self._listener.reactor.callLater(0, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self._read()
            if not self._full and not self._stalled and not self._closed:
                self.transport.resumeProducing()

    def _read(self) -> None:
        edge, buffer = self._listener.edge, self._buffer
        # While the client does not take its answers nothing more is asked for it: what has been read already could
        # hold two thousand questions, each with an answer of 64 KB.
        while not self._closed and not self._stalled and len(buffer) >= 2:
            if self._pending >= self._listener.limits.pending:
                self._full = True
                self.transport.pauseProducing()
                return
            size = int.from_bytes(buffer[:2], "big")
            if len(buffer) < 2 + size:
                return
            message = bytes(buffer[2 : 2 + size])
            del buffer[: 2 + size]
            before = monotonic()
            self._pending += 1
            try:
                effects = edge.session.query(
                    message, StreamClient(self), True, before, self._listener.local, self._host, self._listener.secure
                )
            except Exception as error:
                edge.fault(error)
                effects = ()
            if not effects:
                # Nothing will be said to this one: an answer sent as a query, or a rule that drops.
                self._expire()
                return
            edge.perform(effects)
            if len(effects) == 1 and type(effects[0]) is Reply:
                edge.session.counters.took(monotonic() - before)

    def pauseProducing(self) -> None:
        """From the transport: the client does not read; take no more from it."""
        self._stalled = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """From the transport: it reads again."""
        self._stalled = False
        self._listener.reactor.callLater(0, self._resume)

    def stopProducing(self) -> None:
        """From the transport: the connection is lost."""


def place_of(error: Exception) -> str:
    """What kind of fault it was, and where: all that may be said of it without saying whose query it was."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "?"
    return f"{type(error).__name__} at {place}"


def subscriber(host: str) -> str:
    """Whose connections are counted together: an IPv4 address, an IPv6 /56, since a household has all of it."""
    return str(network(host)) if ":" in host else host


def is_local(sock: socket.socket) -> bool:
    """Is it bound to an address that only this machine can reach?"""
    return ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


def udp_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bound, non-blocking, with room for a burst. `shared`: with others of the same user. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, int(ip_address(host).is_unspecified))
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, int(ip_address(host).is_unspecified))
            # A forged ICMP message must not make the kernel cut our answers into fragments (RFC 9715 appendix A).
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_OMIT)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def tcp_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bound and listening, non-blocking. `shared`: with others of the same user. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(256)
    except OSError:
        sock.close()
        raise
    return sock
