"""What is left when the process that looks after the others is killed: lanes that answer, and one who takes over.

Without systemd that is the standby: forked from the same warm process, it hears every load as a lane does and
otherwise only waits. When its parent is gone it plays its part: new lanes, a new control process, and, when all of
them answer, one octet into the pipe that the lanes left behind look at; they drain and end. It needs no file and no
rights that are gone by then. With systemd the service is started again, and systemd itself keeps that pipe for the
next process (FDSTORE, sd_pid_notify_with_fds(3)).

Nobody reads the octet, so every lane sees it; the end of the pipe without it says only that there is no successor.
"""

import os
import select
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from feeds.systemd import Notifier
from resolver.processes.channel import Channel
from resolver.processes.loads import Gathering, Load
from resolver.rights import call_process

STORED_NAME: Final = "blocker-lanes"
_FIRST_PASSED = 3  # sd_listen_fds(3)


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a process takes over: pipes to lanes left behind, and the load in force. `born`: when its forerunner was."""

    pipes: tuple[int, ...] = ()
    load: Load | None = None
    born: float | None = None

    def relieve(self) -> None:
        """Tell the lanes left behind that others answer now."""
        for pipe in self.pipes:
            with suppress(OSError):
                os.write(pipe, b"!")
            os.close(pipe)


def stored(environ: MutableMapping[str, str]) -> tuple[int, ...]:
    """The pipes that systemd kept for us; the environment is cleared of them."""
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    count, meant = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    if meant != str(os.getpid()) or not count.isdigit():
        return ()
    passed = range(_FIRST_PASSED, _FIRST_PASSED + int(count))
    for descriptor in passed:
        os.set_inheritable(descriptor, False)
    return tuple(one for one, name in zip(passed, names, strict=False) if name == STORED_NAME)


def store(pipe: int, notifier: Notifier) -> None:
    """Give systemd a pipe to keep for the process after us."""
    notifier.send("FDSTORE=1", f"FDNAME={STORED_NAME}", descriptors=(pipe,))


def under_systemd(environ: Mapping[str, str]) -> bool:
    """Does systemd start us again when we are killed?"""
    return bool(environ.get("NOTIFY_SOCKET"))


def wait_for_the_part(channel: Channel) -> Load | None:
    """The standby's life: until the other end is gone; then what is in force."""
    call_process("blocker-standby")
    gathering = Gathering()
    held: Load | None = None
    with suppress(EOFError, OSError):
        while select.select([channel], [], []):
            for data, descriptor in channel.receive():
                try:
                    load = gathering.take(data, descriptor)
                except OSError:
                    # Out of files or memory, and not the other end: that one lives, and starts a standby again.
                    os._exit(1)
                if isinstance(load, Load):
                    if held is not None:
                        held.close()
                    held = load
    gathering.drop()
    channel.close()
    return held
