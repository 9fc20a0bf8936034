"""The process that looks after the others: it starts them, hands each release on to all lanes, and counts for all.

No query ever passes it and it holds none of the sockets that queries come to, so that it harms nobody when it hangs.
What it forks it forks between two turns of its loop, from pages that all share.
"""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic, sleep
from typing import Any

from feeds.errors import Failure, Unavailable
from feeds.language import _
from feeds.systemd import Notifier
from resolver.control import RELOAD, watch
from resolver.endpoint import MetricsPort
from resolver.processes.channel import (
    ANSWERS,
    CANNOT,
    ENFORCES,
    FIGURES,
    REFUSES,
    RENEW,
    kind_of,
    packed,
    unpacked,
)
from resolver.processes.children import HEARD, LONGEST_WAIT, QUICK_SECONDS, Child, Place, ended, fork, live
from resolver.processes.counting import Counting
from resolver.processes.enforcement import Enforcement
from resolver.processes.lane import DRAIN_SECONDS, run_lane
from resolver.processes.settings import Settings
from resolver.processes.succession import Inheritance, store, under_systemd, wait_for_the_part
from resolver.rights import call_process, give_up_binding
from resolver.server import tcp_socket

MOST_LOSSES = 3  # of one process before anything was answered; after that it is no use to go on
SILENT_SECONDS = 5.0  # a lane that says nothing for so long is ended
STALL_SECONDS = 2.0  # between two turns of our own loop: then the machine stood still, and not a lane
METRICS_SECONDS = 0.5  # between attempts to show figures
LANE, CONTROL, STANDBY = "lane", "control", "standby"


class Supervisor:
    """One generation of processes. `metrics`: the socket to show figures at, if any."""

    def __init__(
        self,
        settings: Settings,
        inheritance: Inheritance,
        metrics: socket.socket | None,
        notifier: Notifier,
        log: Callable[..., None],
    ) -> None:
        self._settings = settings
        self._inheritance = inheritance
        self._notifier = notifier
        self._log = log
        self._selector = DefaultSelector()
        self._lanes = [Place(LANE, number) for number in range(settings.lanes)]
        self._control = Place(CONTROL)
        self._standby = Place(STANDBY)
        self._enforcement = Enforcement(settings, inheritance.load, notifier, log)
        self._standing = self._enforcement.standing
        self._counting = Counting(self._living, self._enforcement.page)
        self._metrics: MetricsPort | None = None
        if metrics is not None:
            self._show(metrics)
        self._metrics_at = 0.0
        self._ready = False
        self._ending_at: float | None = None
        self._failure: Failure | None = None
        self._watchdog_at = 0.0
        self._born = self._turned_at = monotonic()
        self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._signals, self._waker = socket.socketpair()
        self._signals.setblocking(False)
        self._waker.setblocking(False)

    def run(self) -> Inheritance | None:
        """Until told to stop; raises the Failure that stopped it.

        What is returned in another process, a standby that is to take over, is what it takes over.
        """
        born = self._inheritance.born
        if born is not None:
            call_process("blocker")
            self._log("took_over", process=os.getpid())
            self._renew()
            if self._born - born < QUICK_SECONDS:
                sleep(QUICK_SECONDS)
        for number in HEARD:
            signal.signal(number, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._signals, EVENT_READ, self._signalled)
        if under_systemd(os.environ):
            store(self._pipe[1], self._notifier)
        while self._ending_at is None or any(place.child for place in self._places()):
            for place in self._places():
                if self._is_missing(place) and monotonic() >= place.due:
                    heritage = self._start(place)
                    if heritage is not None:
                        return heritage
            self._look_for_room()
            for key, events in self._selector.select(max(0.0, self._next_at() - monotonic())):
                key.data(events)
            self._turn(monotonic())
        self._close()
        if self._failure is not None:
            raise self._failure
        return None

    # Processes: started, heard, lost, ended.

    def _places(self) -> Iterator[Place]:
        yield from self._lanes
        yield self._control
        yield self._standby

    def _living(self) -> list[Child]:
        return [place.child for place in self._lanes if place.child is not None]

    def _is_missing(self, place: Place) -> bool:
        if place.child is not None or self._ending_at is not None:
            return False
        # One who has taken over may be killed, too, before its own lanes answer.
        begun = self._ready or self._inheritance.load is not None
        return place.role != STANDBY or (begun and not under_systemd(os.environ))

    def _start(self, place: Place) -> Inheritance | None:
        """Fork it. Only a standby whose time has come returns something, in its own process."""
        try:
            pid, channel = fork(self._leave)
        except OSError as error:
            self._log("cannot_fork", why=error.strerror, process=place.role)
            place.due = monotonic() + LONGEST_WAIT
            return None
        if pid == 0:
            if place.role == STANDBY:
                os.close(self._pipe[0])
                pipes = (self._pipe[1], *self._inheritance.pipes)
                return Inheritance(pipes, wait_for_the_part(channel), self._born)
            for pipe in (self._pipe[1], *self._inheritance.pipes):
                os.close(pipe)
            if place.role == CONTROL:
                os.close(self._pipe[0])
                live("blocker-control", partial(self._live_as_control, channel.plain()), self._log)
            life = partial(run_lane, self._settings.for_one_lane(), channel, self._pipe[0], self._log)
            live(f"blocker-lane-{place.number}", life, self._log)
        place.child = child = Child(pid, channel, monotonic())
        if place.losses:
            self._standing.restarts[place.role] += 1
        self._selector.register(channel, EVENT_READ, partial(self._heard, place))
        if place.role == LANE:
            self._enforcement.greet(child)
        elif place.role == CONTROL:
            self._standing.control = True
        elif self._enforcement.load is not None:
            child.hand(self._enforcement.load)
        return None

    def _live_as_control(self, pair: socket.socket) -> None:
        give_up_binding()
        watch(self._settings.origin, pair)

    def _leave(self) -> None:
        """In a child: close what is the parent's alone."""
        self._selector.close()
        for place in self._places():
            if place.child is not None:
                place.child.channel.close()
        for sock in (self._signals, self._waker):
            sock.close()
        if self._metrics is not None:
            self._metrics.leave()
        self._enforcement.leave()

    def _heard(self, place: Place, events: int) -> None:
        child = place.child
        if child is None:
            return
        try:
            if events & EVENT_WRITE:
                child.channel.flush()
            if events & EVENT_READ:
                self._take(place, child)
        except (EOFError, OSError):
            if child.channel.fileno() < 0:
                # What it said made us end, and hang up on it: it ends by itself.
                return
            self._selector.unregister(child.channel)
            child.end(signal.SIGKILL)

    def _take(self, place: Place, child: Child) -> None:
        for data, descriptor in child.channel.receive():
            if place.role == LANE:
                self._lane_said(place, child, data)
            elif place.role == CONTROL:
                self._control_said(data, descriptor)

    def _reap(self) -> None:
        for place in self._places():
            child = place.child
            if child is None:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._lost(place, child, ended(status))

    def _lost(self, place: Place, child: Child, how: str) -> None:
        if place.role == LANE:
            # What it said last may still be in the channel.
            with suppress(EOFError, OSError):
                self._take(place, child)
            self._counting.lost(child)
        place.child = None
        self._hang_up(child)
        if self._ending_at is not None:
            return
        now = monotonic()
        place.losses += 1
        place.due = now + place.patience.after(now - child.since)
        self._log(f"{place.role}_lost", why=how, process=child.pid, kept=f"serial {self._standing.serial}")
        if place.role == CONTROL:
            self._enforcement.control_lost()
        if not self._ready and self._inheritance.load is None and place.losses >= MOST_LOSSES:
            what = (
                _("the control process ended before it had loaded anything")
                if place.role == CONTROL
                else _("the processes that answer end before they have answered anything")
            )
            self._end(Unavailable(what, then=how))

    # What they say.

    def _control_said(self, data: bytes, descriptor: int | None) -> None:
        failure = self._enforcement.take(data, descriptor, self._living(), self._standby.child)
        if failure is None:
            return
        if self._ready:
            self._notifier.send("READY=1")
        elif self._enforcement.load is None and not self._settings.open:
            told = Failure(failure.what, kept=failure.kept, then=failure.then)
            told.exit_code = failure.exit_code  # type: ignore[misc]
            self._end(told)

    def _lane_said(self, place: Place, lane: Child, data: bytes) -> None:
        kind = kind_of(data)
        if kind == FIGURES:
            self._counting.told(lane, *unpacked(data))
        elif kind == ANSWERS:
            lane.answering = True
        elif kind in (ENFORCES, REFUSES):
            lane.enforces = lane.sent.popleft()
            if kind == REFUSES:
                self._enforcement.refused(lane, place.number, unpacked(data))
        elif kind == CANNOT:
            what, kept, then = unpacked(data)
            self._log("lane_cannot_start", what=what, kept=kept, then=then, lane=place.number)
            if not self._ready and not self._inheritance.pipes:
                self._end(Unavailable(what, kept=kept, then=then))

    # What follows.

    def _turn(self, now: float) -> None:
        self._reap()
        self._settle()
        self._counting.turn(now)
        self._end_silent(now)
        if self._metrics is not None:
            self._metrics.turn(now)
        elif self._settings.metrics is not None and now >= self._metrics_at:
            # The process before us may not be gone for good, or whoever has the port may leave it.
            self._metrics_at = now + METRICS_SECONDS
            with suppress(OSError):
                self._show(tcp_socket(*self._settings.metrics))
        if self._ending_at is not None and now > self._ending_at:
            self._ending_at = now + 1
            for place in self._places():
                if place.child is not None:
                    place.child.end(signal.SIGKILL)
        pulse = self._notifier.watchdog_seconds
        if pulse and now >= self._watchdog_at:
            self._watchdog_at = now + pulse
            if any(now - (lane.silent_since or now) < SILENT_SECONDS / 2 for lane in self._living()):
                self._notifier.send("WATCHDOG=1")

    def _end_silent(self, now: float) -> None:
        stood_still, self._turned_at = now - self._turned_at > STALL_SECONDS, now
        for lane in self._living():
            if lane.silent_since is None:
                continue
            if stood_still:
                lane.silent_since = now
            elif now - lane.silent_since > SILENT_SECONDS:
                self._log("lane_silent", process=lane.pid)
                lane.end(signal.SIGKILL)

    def _settle(self) -> None:
        """Say what every lane enforces; be ready once every lane answers."""
        living = self._living()
        self._standing.lanes = sum(lane.answering for lane in living)
        if not self._ready and self._standing.lanes < len(self._lanes):
            return
        self._enforcement.settle(living)
        if not self._ready:
            self._ready = True
            if self._enforcement.load is None:
                self._log("open", warning="nothing is enforced until a release comes")
            self._relieve()
            self._notifier.send("READY=1")

    def _relieve(self) -> None:
        """Lanes left behind, if there are any, may end."""
        self._inheritance.relieve()
        self._inheritance = replace(self._inheritance, pipes=())

    def _show(self, metrics: socket.socket) -> None:
        self._metrics = MetricsPort(metrics, self._selector, self._counting.wanted)

    def _signalled(self, _events: int) -> None:
        numbers = set(self._signals.recv(4096))
        if signal.SIGHUP in numbers:
            self._reload()
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            self._end()

    def _reload(self) -> None:
        """Read everything again: the certificate here, for lanes to come, and in the lanes; the rest by control."""
        self._renew()
        for lane in self._living():
            lane.say(packed(RENEW))
        # One that is just being started again reads everything anyway.
        if self._control.child is not None:
            self._notifier.reloading()
            self._control.child.say(RELOAD)

    def _renew(self) -> None:
        if self._settings.credentials is not None:
            self._settings.credentials.renew(self._log)

    def _end(self, failure: Failure | None = None) -> None:
        """Let every process end, lanes after they have answered what waits."""
        if self._ending_at is not None:
            return
        self._failure = failure
        self._ending_at = monotonic() + DRAIN_SECONDS + 2
        self._notifier.send("STOPPING=1")
        self._log("stopping")
        if self._standby.child is not None:
            self._standby.child.end(signal.SIGKILL)
        for lane in self._living():
            lane.end(signal.SIGTERM)
        if self._control.child is not None:
            # It ends when it sees that, once what it is keeping is on the disk.
            self._hang_up(self._control.child)

    def _hang_up(self, child: Child) -> None:
        # One that has ended by itself may have been taken out already.
        with suppress(KeyError, ValueError):
            self._selector.unregister(child.channel)
        child.channel.close()

    def _look_for_room(self) -> None:
        """Be woken where something waits to be sent."""
        for place in self._places():
            if place.child is not None and place.child.channel.fileno() >= 0:
                key: Any = self._selector.get_map().get(place.child.channel)
                events = EVENT_READ | (EVENT_WRITE if place.child.channel.waiting else 0)
                if key is not None and key.events != events:
                    self._selector.modify(key.fileobj, events, key.data)

    def _next_at(self) -> float:
        moments = [self._counting.due]
        moments += [place.due for place in self._places() if self._is_missing(place)]
        if self._metrics is None and self._settings.metrics is not None:
            moments.append(self._metrics_at)
        if self._notifier.watchdog_seconds:
            moments.append(self._watchdog_at)
        if self._ending_at is not None:
            moments.append(self._ending_at)
        return min(moments)

    def _close(self) -> None:
        self._relieve()
        if self._metrics is not None:
            self._metrics.close()
        self._selector.close()
        signal.set_wakeup_fd(-1)
