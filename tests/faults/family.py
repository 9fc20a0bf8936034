"""The processes of a resolver, by what they are; a loop that asks it and never blocks for long."""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.resolver.live import PATIENCE, LiveResolver


def family(parent: int) -> dict[str, list[int]]:
    """`lane`, `control`, `standby` -> the children of `parent` that are so called."""
    found: dict[str, list[int]] = defaultdict(list)
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(OSError):
            # One that was forked just now bears its parent's name.
            _blocker, _dash, role = Path(f"/proc/{child}/comm").read_text().strip().partition("-")
            if role and lives(int(child)):
                found[role.partition("-")[0]].append(int(child))
    return found


def lives(pid: int) -> bool:
    """Is it there and no zombie? While other threads of a zombie are still ending, its sockets are open yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def until(what: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Seconds until it was so."""
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        if what():
            return time.monotonic() - start
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


@contextmanager
def ended_at_last(live: LiveResolver) -> Iterator[None]:
    """Whoever has taken over is told to end, too."""
    try:
        yield
    finally:
        for line in live.log():
            if line["event"] == "took_over" and lives(line["process"]):
                os.kill(line["process"], signal.SIGTERM)
                until(lambda pid=line["process"]: not lives(pid))  # type: ignore[misc]
