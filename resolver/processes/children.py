"""Processes forked from a warm one: what they do first, and when one that ended is started again."""

import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NoReturn

from resolver.metrics import Figures
from resolver.processes.channel import Channel
from resolver.processes.loads import Load
from resolver.rights import call_process
from resolver.server import place_of

HEARD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
QUICK_SECONDS: Final = 1.0
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 1.0


class Patience:
    """How long to wait before a process is started again: not at all, unless it keeps ending within a second."""

    def __init__(self) -> None:
        self._wait = 0.0

    def after(self, lived: float) -> float:
        """Seconds to wait for one that lived so long."""
        wait = self._wait if lived < QUICK_SECONDS else 0.0
        self._wait = min(max(2 * wait, FIRST_WAIT), LONGEST_WAIT)
        return wait


@dataclass(slots=True, eq=False)
class Child:
    """A process that lives. `since`: when it was started, by a clock that never jumps."""

    pid: int
    channel: Channel
    since: float
    answering: bool = False
    # Numbers of the loads it was sent and has not spoken of, and of the last it has spoken of.
    sent: deque[int] = field(default_factory=deque)
    enforces: int = 0
    figures: Figures = field(default_factory=Figures)
    # Questions for figures: how many are open, the number of the last that was answered, since when it says nothing.
    open: int = 0
    told: int = 0
    silent_since: float | None = None

    def say(self, data: bytes) -> None:
        """Send it a frame; that it has ended is learnt in another way."""
        with suppress(OSError):
            self.channel.send(data)

    def hand(self, load: Load) -> None:
        """Send it what is to be enforced."""
        self.sent.append(load.number)
        with suppress(OSError):
            load.send(self.channel)

    def end(self, how: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, how)


@dataclass(slots=True, eq=False)
class Place:
    """Where a process of one role is, or will be `due` to be."""

    role: str
    number: int = 0
    child: Child | None = None
    due: float = 0.0
    patience: Patience = field(default_factory=Patience)
    losses: int = 0


def fork(leave: Callable[[], None]) -> tuple[int, Channel]:
    """As os.fork, with each side's end of a channel. `leave` closes in the child what is its parent's.

    Raises OSError.
    """
    ours, theirs = Channel.pair()
    # A signal that comes before the child has its own ways would be taken in its parent's.
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        ours.close()
        theirs.close()
        raise
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        theirs.close()
        return pid, ours
    try:
        signal.set_wakeup_fd(-1)
        for number in HEARD:
            # A terminal sends these two to all of its processes; they are for the parent to act on.
            ignored = number in (signal.SIGINT, signal.SIGHUP)
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        ours.close()
        leave()
    except BaseException:
        # Nothing of the parent's may run on in a child.
        os._exit(1)
    return 0, theirs


def live(name: str, life: Callable[[], None], log: Callable[..., None]) -> NoReturn:
    """A child's whole life. `name`: what `ps` shows it as."""
    status = 1
    try:
        call_process(name)
        life()
        status = 0
    except Exception as error:
        log("fault", fault=place_of(error))
    finally:
        os._exit(status)


def ended(status: int) -> str:
    """How a process ended, from what os.waitpid says."""
    code = os.waitstatus_to_exitcode(status)
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name
