"""The resolver's process: sockets, control process, rights, loop, and their order.

bind (root, perhaps) -> fork control -> give up rights -> wait for the first policy -> answer -> SIGTERM
"""

import gc
import os
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import SystemRandom
from time import monotonic
from typing import Any

import structlog
from twisted.internet import task
from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

from feeds.errors import Failure, Unavailable
from feeds.floor import is_icann_suffix
from feeds.language import _
from feeds.rule import hours
from feeds.systemd import Notifier
from resolver.control import RELOAD, Origin, start
from resolver.endpoint import serve_metrics
from resolver.frames import Assembler, Hour, LoadFailure, NewPolicy
from resolver.metrics import Counters, ResolverCollector, Standing
from resolver.policy import EMPTY
from resolver.rights import Rights
from resolver.server import (
    DatagramListener,
    Edge,
    StreamLimits,
    StreamListener,
    datagram_listener,
    is_local,
    tcp_socket,
    udp_socket,
)
from resolver.session import Config, Session
from resolver.upstream import Address, Upstreams

TURN_SECONDS = 1.0
DRAIN_SECONDS = 2.0
SLICE_BYTES = 1 << 16
OPEN_FILES = 65_536
MAX_DESCRIPTORS = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """What `blocker dns serve` was told."""

    origin: Origin
    listen: tuple[Address, ...]
    upstreams: tuple[Address, ...]
    config: Config
    metrics: Address | None = None
    metrics_must: bool = False
    user: str | None = None
    open: bool = False
    tls: tuple[Address, ...] = ()
    https: tuple[Address, ...] = ()
    # A `resolver.secure.Credentials`; comes from outside, so that a resolver without TLS does not load it.
    credentials: Any = None
    streams: StreamLimits = field(default_factory=StreamLimits)
    version: str = ""


def serve(settings: Settings) -> None:
    """Answer until SIGTERM or SIGINT; raises a Failure for what keeps it from starting."""
    rights = Rights.of(settings.user)
    log = structlog.get_logger().msg
    datagrams, streams, secure, metrics = _bound(settings, log)
    inherited = [*datagrams, *streams, *secure, *([metrics] if metrics else [])]

    def before() -> None:
        for sock in inherited:
            sock.close()
        if rights is not None:
            rights.drop()

    _warm_up()
    gc.collect()
    gc.freeze()
    pair = start(settings.origin, before)
    # Imported here, since the reactor's file descriptors are no business of the control process.
    from twisted.internet import reactor

    if rights is not None:
        rights.drop()
    resolver = Resolver(settings, pair, datagrams, streams, secure, metrics, reactor, log)
    resolver.run()


class Resolver:
    """Everything that lives in the loop."""

    def __init__(
        self,
        settings: Settings,
        pair: socket.socket,
        datagrams: list[socket.socket],
        streams: list[socket.socket],
        secure: list[socket.socket],
        metrics: socket.socket | None,
        reactor: Any,
        log: Callable[..., None],
    ) -> None:
        self._settings = settings
        self._datagrams, self._streams, self._secure, self._metrics = datagrams, streams, secure, metrics
        self._reactor = reactor
        self._log = log
        self.counters = Counters()
        self.standing = Standing(trial=settings.origin.plain is not None, open=True)
        rng = SystemRandom()
        self.session = Session(EMPTY, hours(datetime.now(UTC)), settings.config, rng, self.counters)
        self.upstreams = Upstreams(reactor, settings.upstreams, rng)
        self.edge = Edge(self.session, self.upstreams, reactor, log)
        self._connections: Counter[str] = Counter()
        self._pair = ControlPair(pair, self, reactor)
        self._notifier = Notifier(os.environ)
        self._answering = False
        self._failure: Failure | None = None
        self._hour = 0

    def run(self) -> None:
        """Until told to stop; raises the Failure that stopped it."""
        reactor = self._reactor
        reactor.addReader(self._pair)
        reactor.addSystemEventTrigger("before", "shutdown", self._drain)
        reactor.callWhenRunning(signal.signal, signal.SIGHUP, self._hang_up)
        if self._settings.open:
            reactor.callWhenRunning(self._answer)
        self._every(TURN_SECONDS, self._turn)
        if self._notifier.watchdog_seconds:
            self._every(self._notifier.watchdog_seconds, lambda: self._notifier.send("WATCHDOG=1"))
        gc.set_threshold(20_000, 50, 1000)
        reactor.run()
        self._pair.close()
        if self._failure is not None:
            raise self._failure

    def _every(self, seconds: float, what: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                what()
            except Exception as error:
                # A LoopingCall that raises never calls again.
                self.edge.fault(error)

        task.LoopingCall(guarded).start(seconds, now=True)

    def _turn(self) -> None:
        self._hour = max(self._hour, hours(datetime.now(UTC)))
        self.session.turn(self._hour, time.time())

    def took(self, event: NewPolicy | LoadFailure | Hour) -> None:
        """Something came from the control process."""
        if isinstance(event, Hour):
            self._hour = max(self._hour, event.hour)
            self._turn()
        elif isinstance(event, NewPolicy):
            self._swap(event)
        else:
            self._load_failed(event)

    def _swap(self, new: NewPolicy) -> None:
        loaded, standing = new.loaded, self.standing
        self.session.swap(new.policy)
        standing.serial, standing.rules, standing.refused = loaded.serial, loaded.rules, loaded.refused
        standing.open, standing.swapped_at = False, time.time()
        self.counters.swaps += 1
        self._log(
            "enforcing", serial=loaded.serial, rules=loaded.rules, refused=loaded.refused, source=loaded.authority
        )
        if loaded.damage:
            self._log("release_damaged", why=loaded.damage, kept=f"serial {loaded.serial}")
        if standing.trial:
            self._log("trial_list", warning="a plain list is enforced; no decision stands behind its entries")
        self._answer()
        self._notifier.send("READY=1", f"STATUS=enforcing serial {loaded.serial}, {loaded.rules} rules")

    def _load_failed(self, failure: LoadFailure) -> None:
        self.counters.swap_failures += 1
        self._log("load_failed", what=failure.what, kept=failure.kept, then=failure.then)
        self._notifier.send("READY=1")
        if not self._answering:
            told = Failure(failure.what, kept=failure.kept, then=failure.then)
            told.exit_code = failure.exit_code  # type: ignore[misc]
            self._stop(told)

    def control_lost(self, why: str) -> None:
        """The control process has ended: what is enforced stays, nothing new will come."""
        self.standing.control = False
        self._log("control_lost", why=why, kept=f"serial {self.standing.serial}")
        if not self._answering:
            self._stop(Unavailable(_("the control process ended before it had loaded anything"), then=why))

    def _stop(self, failure: Failure) -> None:
        self._failure = failure
        if self._reactor.running:
            self._reactor.stop()

    def _answer(self) -> None:
        """Begin to take queries."""
        if self._answering:
            return
        self._answering = True
        if self.standing.open:
            self._log("open", warning="nothing is enforced until a release comes")
        for sock in self._datagrams:
            self._reactor.addReader(datagram_listener(sock, self.edge))
        for sock in (*self._streams, *self._secure):
            listener = StreamListener(
                self.edge, self._settings.streams, self._connections, self._reactor, is_local(sock)
            )
            factory: Any = listener
            if sock in self._secure:
                credentials, https = self._settings.credentials, sock.getsockname()[:2] in self._settings.https
                factory = credentials.over_https(listener) if https else credentials.over_tls(listener)
            self._reactor.adoptStreamPort(sock.fileno(), sock.family, factory)
        if self._metrics is not None:
            serve_metrics(self._reactor, self._metrics, self._collector())
        self._notifier.send("READY=1")

    def _collector(self) -> ResolverCollector:
        cache, connections = self.session.cache, self._connections
        return ResolverCollector(
            self.counters,
            self.standing,
            self.session.health.upstreams,
            lambda: (cache.bytes, len(cache), cache.evicted),
            lambda: sum(connections.values()),
            self._settings.version,
        )

    def _hang_up(self, _signal: int, _frame: object) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        self._notifier.reloading()
        if self._settings.credentials is not None:
            self._settings.credentials.renew(self._log)
        self._pair.reload()

    def _drain(self) -> Any:
        """SIGTERM: take no more, answer what waits, for at most two seconds."""
        self._notifier.send("STOPPING=1")
        self._log("stopping")
        for reader in list(self._reactor.getReaders()):
            if isinstance(reader, DatagramListener):
                self._reactor.removeReader(reader)
        until = monotonic() + DRAIN_SECONDS

        def waited() -> Any:
            if not len(self.session.asking) or monotonic() > until:
                self.upstreams.close()
                return None
            return task.deferLater(self._reactor, 0.05, waited)

        return waited()


@implementer(IReadDescriptor)
class ControlPair:
    """Our end of the pair of sockets to the control process."""

    def __init__(self, sock: socket.socket, resolver: Resolver, reactor: Any) -> None:
        self._sock = sock
        self._resolver = resolver
        self._reactor = reactor
        self._assembler = Assembler()

    def fileno(self) -> int:
        return self._sock.fileno()

    def logPrefix(self) -> str:
        return "control"

    def connectionLost(self, reason: object) -> None:
        """The loop ends."""

    def doRead(self) -> None:
        try:
            data, descriptors, _flags, _from = socket.recv_fds(
                self._sock, SLICE_BYTES, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
            if not data:
                raise ConnectionResetError("it ended")
            for event in self._assembler.feed(data, descriptors):
                self._resolver.took(event)
        except BlockingIOError:
            return
        except Exception as error:
            self._reactor.removeReader(self)
            self._resolver.control_lost(f"{type(error).__name__}: {error}")

    def reload(self) -> None:
        """Ask for everything to be read again."""
        try:
            self._sock.send(RELOAD)
        except OSError as error:
            self._resolver.control_lost(str(error.strerror))

    def close(self) -> None:
        """The control process ends when it sees this."""
        self._sock.close()


def _bound(
    settings: Settings, log: Callable[..., None]
) -> tuple[list[socket.socket], list[socket.socket], list[socket.socket], socket.socket | None]:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    datagrams, streams, secure, metrics = [], [], [], None
    encrypted = (*settings.tls, *settings.https)
    for host, port in (*settings.listen, *encrypted):
        try:
            if (host, port) in encrypted:
                secure.append(tcp_socket(host, port))
                continue
            datagrams.append(udp_socket(host, port))
            streams.append(tcp_socket(host, datagrams[-1].getsockname()[1]))
        except OSError as error:
            raise Unavailable(
                _("cannot listen on {address} port {port}: {why}").format(address=host, port=port, why=error.strerror),
                then=_("stop what listens there, or give another --listen; ports below 1024 need root"),
            ) from None
    if settings.metrics is not None:
        host, port = settings.metrics
        try:
            metrics = tcp_socket(host, port)
        except OSError as error:
            if settings.metrics_must:
                raise Unavailable(
                    _("cannot serve metrics on {address} port {port}: {why}").format(
                        address=host, port=port, why=error.strerror
                    ),
                    then=_("give another --metrics ADDRESS:PORT, or --metrics off"),
                ) from None
            log("no_metrics", why=error.strerror, address=host, port=port)
    return datagrams, streams, secure, metrics


def _warm_up() -> None:
    """Load what Python loads only when first needed: once the rights are gone, its files may be out of reach."""
    import twisted.internet.tcp
    import twisted.web.server  # noqa: F401

    "warm".encode("idna")
    is_icann_suffix("com.vn")
