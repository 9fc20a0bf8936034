"""Applies to targets behind a file, killed at a hundred random points: the old set or the new one, and nothing else.

Where only changes are said, prefix by prefix as BGP does, each prefix is as before or as after.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from feeds.ipfilter.carried.target import FileTarget, target_of
from feeds.ipfilter.carried.ways import WAYS, way_of
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.intervals import intersect, merged, subtract
from feeds.ipfilter.kernel import run

KILLS = 20
SIZE = 3000


def wish(turn: int) -> Filter:
    """Half of it changes each time; what is even stays."""
    spans = [(n << 8, n << 8) for n in range(1 << 16, (1 << 16) + SIZE) if n % 2 == 0 or (n + turn) % 4 == 1]
    return Filter(merged(spans))


def apply(target: FileTarget, turn: int) -> None:
    made = wish(turn)
    lasting = ((86400, made),) if target.way.in_parts else ()
    target.apply(target.plan(turn, made, (), run, 86400 if lasting else None, lasting), (), ["hanoi"], run)


@contextmanager
def child(target: FileTarget, turn: int) -> Iterator[int]:
    """An apply in a process group of its own, so that what it runs dies with it."""
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        try:
            apply(target, turn)
        finally:
            os._exit(0)
    try:
        yield process
    finally:
        os.waitpid(process, 0)


# The program that is told keeps a copy, line by line, as a BGP speaker would.
TOLD = {"frr": "cat {changes} > /dev/null", "plain": "cat {file} > /dev/null"}


@pytest.mark.parametrize("name", ["plain", "routeros", "exabgp", "frr", "ios"])
def test_a_killed_apply_leaves_the_old_set_or_the_new_one(name: str, tmp_path: Path) -> None:
    chance = random.Random(name)
    command = ("sh", "-c", TOLD[name]) if name in TOLD else ()
    base = target_of(name, way_of(name, False), tmp_path / "told", command, {4: "192.0.2.1"})

    def target(turn: int) -> FileTarget:
        return target_of(name, base.way, base.file, command, base.hops, now_seconds=1.8e9 + turn)

    began = time.monotonic()
    with child(target(0), 0):
        pass
    longest = time.monotonic() - began
    outcomes = {"old": 0, "new": 0}
    for turn in range(1, KILLS + 1):
        before = target(turn).read(run).filter
        with child(target(turn), turn) as process:
            time.sleep(chance.uniform(0, 1.2) * longest)
            try:
                os.killpg(process, signal.SIGKILL)
            except ProcessLookupError:
                # Not yet a group of its own, or over.
                os.kill(process, signal.SIGKILL)
        after, new = target(turn).read(run).filter, wish(turn)
        if WAYS[name].by_changes:
            assert subtract(after.blocked4, merged([*before.blocked4, *new.blocked4])) == (), f"kill {turn}"
            assert subtract(intersect(before.blocked4, new.blocked4), after.blocked4) == (), f"kill {turn}"
        else:
            assert after in (before, new), f"kill {turn}"
        outcomes["new" if after == new else "old"] += 1
        if chance.random() < 0.5:
            # What a kill left is no obstacle to the next apply.
            apply(target(turn), turn)
            assert target(turn).plan(turn, new, (), run).held.filter == new
    assert min(outcomes.values()) > 0, outcomes
