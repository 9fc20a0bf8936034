"""`blocker ip apply` killed at a hundred random points: the kernel holds the old filter or the new one, whole."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feeds.ipfilter import nftables
from feeds.ipfilter.kernel import InKernel, Run
from feeds.ipfilter.plan import Plan
from feeds.ipfilter.target import TARGETS
from feeds.ipfilter.wanted import wanted
from feeds.rule import Rule, hours
from tests.golden.sample import rule
from tests.golden.state import state

pytestmark = [pytest.mark.root, pytest.mark.slow]

LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))
KILLS = 34
SIZE = 2000


def release(start: int) -> list[Rule]:
    six = [rule(f"2001:db8::{2 * n + start:x}/128", number=n, expires=LATER) for n in range(1, SIZE)]
    return [rule(f"192.0.2.{start}/32", number=SIZE, expires=LATER), *six]


@pytest.fixture
def namespace(need_root: None, need_program: Callable[[str, str], str]) -> Iterator[str]:
    for program, package in (("nft", "nftables"), ("ipset", "ipset"), ("iptables", "iptables"), ("ip", "iproute2")):
        need_program(program, package)
    name = f"blkkill{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=30)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=False, timeout=30)


def inside(namespace: str) -> Run:
    def run(command: object, stdin: str) -> str:
        words = ["ip", "netns", "exec", namespace, *command]  # type: ignore[misc]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def held(name: str, run: Run) -> InKernel:
    """What the tool says; the quick way would ask the kernel about this process's own namespace."""
    return nftables.read(run, lambda: None) if name == "nftables" else TARGETS[name].read(run)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_killed_apply_leaves_the_old_filter_or_the_new_one(name: str, namespace: str, tmp_path: Path) -> None:
    chance, target, run = random.Random(3), TARGETS[name], inside(namespace)
    program = shutil.which("blocker", path=str(Path(sys.executable).parent)) or "blocker"
    kept, longest = tmp_path / "state", 0.0
    outcomes = {"old": 0, "new": 0}
    for turn in range(KILLS + 1):
        rules = release(1 + turn % 2)
        state(kept, rules, serial=turn + 1)
        wish = target.sayable(wanted(rules).filter)
        before = held(name, run)
        plan = Plan(name, turn + 1, before, wish, target.uses(("forward",)))
        words = [program, "ip", "apply", name, "--state", str(kept), "--checksum", plan.checksum]
        began = time.monotonic()
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *words],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if turn == 0:
            assert process.wait(60) == 0
            longest = time.monotonic() - began
            continue
        time.sleep(chance.uniform(0, 1.1) * longest)
        # Its tool dies with it.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        # A transaction that the kernel had begun ends after the death of whoever asked for it.
        time.sleep(0.05)
        after = held(name, run).filter
        parts = [
            (after.blocked4, before.filter.blocked4, wish.blocked4),
            (after.blocked6, before.filter.blocked6, wish.blocked6),
        ]
        assert all(held in (old, new) for held, old, new in parts), f"kill {turn}"
        if name == "nftables":
            assert after in (before.filter, wish), f"kill {turn}"
        outcomes["new" if after == wish else "old"] += 1
    assert min(outcomes.values()) > 0, outcomes
