"""The processes that keep transferred zones up to date, one for each; only files tell others what they did.

They ask at the times that the zone's SOA names, within bounds of ours, and at once when the operator reloads. A primary
that hangs holds up nothing but its own zone.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Final

import structlog

from feeds import durable
from feeds.errors import Failure
from resolver.rights import call_process, end_with_parent, give_way
from resolver.zones.notices import Notices
from resolver.zones.pulling import Pulled, pull
from resolver.zones.settings import MAX_PROBLEM_CHARACTERS, Address, ForeignZone

LEAST_SECONDS: Final = 10
MOST_SECONDS: Final = 3600
FIRST_RETRY_SECONDS: Final = 10
RESTART_SECONDS: Final = 5.0  # at least, between two starts of one keeper
PAUSE_SECONDS: Final = 2.0  # at least, between two questions, however often others say to ask now


@dataclass(slots=True, eq=False)
class _Keeper:
    zone: ForeignZone
    process: int = 0
    pipe: int = -1
    due: float = 0.0


class Keepers:
    """All of them, as the control process sees them. `inherited`: its descriptor that is no business of theirs.

    `notify`: where primaries may say that a zone has changed.
    """

    def __init__(
        self, zones: tuple[ForeignZone, ...], folder: Path | None, inherited: int, notify: Address | None = None
    ) -> None:
        self._folder = folder
        self._inherited = [inherited]
        self._notices: Notices | None = None
        if notify is not None:
            try:
                self._notices = Notices(zones, notify)
                self._inherited.append(self._notices.fileno())
            except OSError as error:
                structlog.get_logger().msg("no_notify", why=error.strerror, address=notify[0], port=notify[1])
        self._keepers = [_Keeper(zone) for zone in zones if zone.primary is not None and folder is not None]

    def look_after(self) -> None:
        """Start those that do not run, though none twice in a short time."""
        for keeper in self._keepers:
            if keeper.pipe >= 0 and os.waitpid(keeper.process, os.WNOHANG)[0]:
                os.close(keeper.pipe)
                keeper.pipe = -1
            if keeper.pipe < 0 and time.monotonic() >= keeper.due:
                keeper.due = time.monotonic() + RESTART_SECONDS
                self._start(keeper)

    def hear(self) -> None:
        """Let those ask their primaries whose primaries say that there is something new."""
        if self._notices is not None:
            names = self._notices.heard()
            if names:
                self.wake(names)

    def wake(self, names: Container[str] | None = None) -> None:
        """Let these, or all, ask their primaries now."""
        for keeper in self._keepers:
            with suppress(OSError):
                if keeper.pipe >= 0 and (names is None or keeper.zone.name in names):
                    os.write(keeper.pipe, b"!")

    def _start(self, keeper: _Keeper) -> None:
        reading, writing = os.pipe()
        keeper.process = os.fork()
        if keeper.process == 0:
            status = 1
            try:
                end_with_parent(signal.SIGKILL)
                call_process("blocker-zone")
                for descriptor in (*self._inherited, writing, *(one.pipe for one in self._keepers if one.pipe >= 0)):
                    os.close(descriptor)
                keep_zone(keeper.zone, self._folder or Path(), reading, structlog.get_logger().msg)
                status = 0
            finally:
                os._exit(status)
        os.close(reading)
        keeper.pipe = writing


def keep_zone(zone: ForeignZone, folder: Path, wake: int, log: Callable[..., object]) -> None:
    """Until the other end of the pipe `wake` is closed; an octet in it means: ask now."""
    give_way()
    random = SystemRandom()
    retry, told = FIRST_RETRY_SECONDS, ""
    while True:
        problem, pulled = _pulled(zone, folder)
        asked_at = time.monotonic()
        if pulled is not None:
            retry = pulled.retry
            if pulled.changed:
                log("zone_transferred", zone=zone.name, serial=pulled.serial)
        if problem != told:
            told = problem
            log("zone_not_transferred" if problem else "zone_transferred_again", zone=zone.name, why=problem)
        wait = min(max(pulled.refresh if pulled is not None else retry, LEAST_SECONDS), MOST_SECONDS)
        # Up to a tenth sooner, so that not all resolvers ask at once (RFC 1035 has them all start together).
        if select.select([wake], [], [], wait * random.uniform(0.9, 1.0))[0]:
            time.sleep(max(0.0, asked_at + PAUSE_SECONDS - time.monotonic()))
            if not os.read(wake, 4096):
                return


def _pulled(zone: ForeignZone, folder: Path) -> tuple[str, Pulled | None]:
    """Why there is nothing new, if so, and what there is; both noted where others look."""
    source, checked = zone.source(folder), zone.checked(folder)
    if source is None or checked is None:
        raise ValueError(zone.name)
    pulled, problem = None, ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pulled = pull(zone, source)
    except Failure as failure:
        problem = failure.what
    except OSError as error:
        problem = f"{error.filename or folder}: {error.strerror or error}"
    try:
        if not checked.exists() or zone.problem(folder) != problem[:MAX_PROBLEM_CHARACTERS]:
            heard = checked.stat().st_mtime if checked.exists() else 0.0
            durable.write(checked, problem[:MAX_PROBLEM_CHARACTERS].encode())
            os.utime(checked, (heard, heard))
        if pulled is not None:
            os.utime(checked)
    except OSError as error:
        problem = problem or f"{checked}: {error.strerror or error}"
    return problem, pulled
