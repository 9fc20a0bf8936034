"""One process that answers: its sockets, its session, and the channel to the process that started it.

wait for a policy -> bind -> give up the right to bind -> answer -> told to stop: take no more, answer what waits, end
"""

import gc
import os
import select
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from random import SystemRandom
from time import monotonic
from typing import Any

from twisted.internet import epollreactor, task
from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

from feeds.errors import Failure
from feeds.rule import hours
from resolver.frames import Assembler, Hour, LoadFailure, NewPolicy
from resolver.lane import new_lane
from resolver.metrics import Counters, Figures
from resolver.policy import EMPTY
from resolver.processes.channel import (
    ANSWERS,
    CANNOT,
    COUNT,
    ENFORCES,
    FIGURES,
    OPEN,
    REFUSES,
    RENEW,
    Channel,
    kind_of,
    packed,
    unpacked,
)
from resolver.processes.settings import Settings
from resolver.processes.sockets import Sockets, listen_streams
from resolver.rights import binding
from resolver.server import Edge
from resolver.session import Session
from resolver.upstream import Upstreams

TURN_SECONDS = 1.0
SECRET_BYTES = 16
DRAIN_SECONDS = 2.0
FIRST_WORD_SECONDS = 0.3
ORPHAN_LOOK_SECONDS = 0.1
# So long a lane answers that nobody looks after; who watches over the whole has had time to start another.
ORPHAN_SECONDS = 600.0


def run_lane(settings: Settings, channel: Channel, successor: int, log: Callable[..., None]) -> None:
    """Answer until told to stop. `successor`: readable once others answer instead of us. The child's whole life."""
    # Made here, since a reactor's file descriptors are for one process alone.
    epollreactor.install()  # type: ignore[no-untyped-call]
    from twisted.internet import reactor

    Lane(settings, channel, successor, reactor, log).run()


class Lane:
    """Everything that lives in the loop."""

    def __init__(
        self, settings: Settings, channel: Channel, successor: int, reactor: Any, log: Callable[..., None]
    ) -> None:
        self._settings = settings
        self._successor = successor
        self._reactor = reactor
        self._log = log
        self.counters = Counters()
        rng = SystemRandom()
        self._hour = hours(datetime.now(UTC))
        self.lane = new_lane(settings.lane, settings.config, rng.randbytes(SECRET_BYTES), settings.upstreams)
        self.session = Session(EMPTY, self._hour, settings.config, rng, self.counters, self.lane.kept, self.lane.limits)
        self.upstreams = Upstreams(reactor, settings.upstreams, rng)
        self.edge = Edge(self.session, self.upstreams, reactor, log)
        self._connections: Counter[str] = Counter()
        self._parent = _Parent(channel, self, reactor)
        self._assembler = Assembler()
        self._enders: list[Callable[[], object]] = []
        self._answering = False
        self._ending = False

    def run(self) -> None:
        """Until told to stop, or left behind."""
        reactor = self._reactor
        reactor.addReader(self._parent)
        reactor.addSystemEventTrigger("before", "shutdown", self._drain)
        self._every(TURN_SECONDS, self._turn)
        gc.set_threshold(20_000, 50, 1000)
        # Twisted's own way takes a second signal, sent while we drain, for a fault.
        signal.signal(signal.SIGTERM, lambda _number, _frame: reactor.callFromThread(self.stop))
        reactor.run(installSignalHandlers=False)

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
        self.lane.turn(self.session)

    def told(self, data: bytes, descriptor: int | None) -> None:
        """A frame came from the parent."""
        kind = kind_of(data)
        if kind == COUNT:
            self._parent.say(FIGURES, (unpacked(data), self._figures()))
        elif kind == OPEN:
            self._answer()
        elif kind == RENEW:
            if self._settings.credentials is not None:
                # What comes of it the parent has said already.
                self._settings.credentials.renew(lambda _event, **_more: None)
        else:
            self._assemble(data, () if descriptor is None else (descriptor,))

    def _assemble(self, data: bytes, descriptors: Iterable[int]) -> None:
        try:
            events = list(self._assembler.feed(data, descriptors))
        except Exception as error:
            # What is in force stays; the assembler passes over the rest of that load.
            self._parent.say(REFUSES, f"{type(error).__name__}: {error}")
            if not self._answering:
                self.stop()
            return
        for event in events:
            self._took(event)

    def _took(self, event: NewPolicy | LoadFailure | Hour) -> None:
        if isinstance(event, Hour):
            self._hour = max(self._hour, event.hour)
            self._turn()
        elif isinstance(event, NewPolicy):
            self.session.swap(event.policy)
            self.lane.enforce(event.policy)
            self._answer()
            self._parent.say(ENFORCES)

    def _answer(self) -> None:
        """Begin to take queries."""
        if self._answering:
            return
        settings = self._settings
        try:
            with binding():
                sockets = Sockets.bound(settings)
        except Failure as failure:
            self._parent.say(CANNOT, (failure.what, failure.kept, failure.then))
            self.stop()
            return
        self._answering = True
        self._enders.append(self.lane.listen(sockets.datagrams, self.edge, self._reactor))
        self._enders.append(listen_streams(sockets, settings, self.edge, self._connections, self._reactor))
        self._parent.say(ANSWERS)

    def _figures(self) -> Figures:
        cache = self.session.cache
        counters = Counters()
        counters.add(self.counters)
        self.lane.add_to(counters)
        return Figures(
            counters,
            tuple(upstream.up for upstream in self.session.health.upstreams),
            cache.bytes,
            len(cache),
            cache.evicted,
            sum(self._connections.values()),
        )

    def left_behind(self) -> None:
        """The parent is gone: go on until another's lanes answer, or until it is clear that there will be none."""
        if self._ending or not self._answering:
            self.stop()
            return
        self._log("left_behind", process=os.getpid(), kept="what is enforced")
        until = monotonic() + ORPHAN_SECONDS
        poll = select.poll()
        poll.register(self._successor, select.POLLIN)

        def look() -> None:
            # The end of the pipe alone (POLLHUP) says only that no successor of ours is alive.
            if any(found & select.POLLIN for _file, found in poll.poll(0)) or monotonic() > until:
                self.stop()

        self._every(ORPHAN_LOOK_SECONDS, look)

    def stop(self) -> None:
        """Drain and end."""
        if not self._ending:
            self._ending = True
            self._reactor.callWhenRunning(self._reactor.stop)

    def _drain(self) -> Any:
        """Take no more, answer what waits, for at most two seconds."""
        self._ending = True
        for end in self._enders:
            end()
        start = monotonic()

        def waited() -> Any:
            took = monotonic() - start
            # Who connected just now has not said yet what for.
            expected = self._connections.total() and took < FIRST_WORD_SECONDS
            awaited = len(self.session.asking) or self.lane.waiting or expected
            if not awaited or took > DRAIN_SECONDS:
                self.upstreams.close()
                return None
            return task.deferLater(self._reactor, 0.05, waited)

        return waited()


@implementer(IReadDescriptor)
class _Parent:
    """The process that started us, as the loop sees it."""

    def __init__(self, channel: Channel, lane: Lane, reactor: Any) -> None:
        self._channel = channel
        self._lane = lane
        self._reactor = reactor
        self._gone = False

    def fileno(self) -> int:
        return self._channel.fileno()

    def logPrefix(self) -> str:
        return "parent"

    def connectionLost(self, reason: object) -> None:
        self._lose()

    def doRead(self) -> None:
        try:
            for data, descriptor in self._channel.receive():
                self._lane.told(data, descriptor)
        except (EOFError, OSError, ValueError):
            self._lose()

    def say(self, kind: bytes, value: object = None) -> None:
        """Tell the parent; it reads all the time, so what cannot be sent at once goes with the next."""
        try:
            if not self._gone:
                self._channel.send(packed(kind, value))
        except OSError:
            self._lose()

    def _lose(self) -> None:
        if not self._gone:
            self._gone = True
            self._reactor.removeReader(self)
            self._lane.left_behind()
