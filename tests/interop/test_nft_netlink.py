"""Single elements through netlink: what the kernel holds then is what nft says it holds, or nothing has changed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.ipfilter import netlink
from feeds.ipfilter.intervals import merged

pytestmark = [pytest.mark.interop, pytest.mark.root]

# The code runs as a process of its own, inside a namespace that ends with it.
_TURNS = """
import math, random
from feeds.ipfilter import nftables
from feeds.ipfilter.intervals import merged
from feeds.ipfilter.kernel import run
from feeds.ipfilter.target import TARGETS
from feeds.ipfilter.wanted import Filter

chance, target = random.Random(5), TARGETS["nftables"]

def some(bits):
    top = (1 << bits) - 1
    low = chance.choice((0, 100, top - 60))
    pairs = [(low + n, min(top, low + n + chance.randrange(4))) for n in chance.sample(range(60), 9)]
    return merged(pairs)

run(["nft", "-f", "-"], nftables.script(Filter(some(32), some(128)), ["forward"]))
short = 0
for turn in range(40):
    lives = 7200 if turn // 10 % 2 else None
    wish = Filter(some(32), some(128))
    lasting = ((3600, Filter(wish.blocked4)), (7200, Filter((), wish.blocked6))) if lives else ()
    plan = target.plan(turn, wish, ("forward",), run, lives, lasting)
    if nftables.change(plan):
        short += 1
    else:
        target.apply(plan, ("forward",), [], run)
    after = nftables.read(run)
    assert (after.filter, after.left_seconds == math.inf) == (wish, lives is None), turn
print(short)
"""

_REFUSED = """
from feeds.errors import Unavailable
from feeds.ipfilter import netlink, nftables
from feeds.ipfilter.intervals import merged
from feeds.ipfilter.kernel import run
from feeds.ipfilter.target import TARGETS
from feeds.ipfilter.wanted import Filter

held, wish = Filter(merged([(5, 9), (20, 29)])), Filter(merged([(5, 9), (40, 41)]))
target = TARGETS["nftables"]
run(["nft", "-f", "-"], nftables.script(held, ["forward"]))
plan = target.plan(1, wish, ("forward",), run)

# An element that is not there: nothing of the batch is done.
for removed in ((21, 29), (20, 28), (90, 91)):
    edit = netlink.Edit("blocked4", merged([(5, 9), removed]), merged([(50, 51)]), [None])
    try:
        netlink.send(nftables.TABLE, [edit], netlink.generation())
        raise SystemExit(f"taken: {removed}")
    except Unavailable:
        assert nftables.read(run).filter == held, removed

# Somebody else was quicker: the number of the rule set has risen, and the whole is loaded instead.
run(["nft", "add", "table", "inet", "other"], "")
try:
    nftables.change(plan)
    raise SystemExit("a stale plan was carried out")
except Unavailable:
    assert nftables.read(run).filter == held
assert target.apply(plan, ("forward",), [], run).filter == wish

# Two elements that touch are read as one interval, and must not be taken out as one.
run(["nft", "-f", "-"], "add element inet blocker blocked4 { 0.0.0.42-0.0.0.49 }")
plan = target.plan(2, held, ("forward",), run)
assert plan.held.filter == Filter(merged([(5, 9), (40, 49)]))
assert not nftables.change(plan)
assert target.apply(plan, ("forward",), [], run).filter == held
"""

_LARGE = """
import random, sys, time
from feeds.ipfilter import nftables
from feeds.ipfilter.bulk import intervals_of
from feeds.ipfilter.intervals import merged, subtract
from feeds.ipfilter.kernel import run
from feeds.ipfilter.target import TARGETS
from feeds.ipfilter.wanted import Filter

lines = sys.stdin.read().split()
held = intervals_of(lines, 32)
chance = random.Random(7)
gone = merged(chance.sample(held, 50))
new = merged((n, n) for n in (chance.randrange(224 << 24, 240 << 24) for _n in range(50)))
wish = Filter(merged([*subtract(held, gone), *new]))
run(["nft", "-f", "-"], nftables.script(Filter(held), ["forward"]))
plan = TARGETS["nftables"].plan(1, wish, ("forward",), run)
begun = time.process_time()
assert nftables.change(plan)
print(time.process_time() - begun)
assert nftables.read(run).filter == wish
"""


def inside(code: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", code],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def nft(need_root: None, need_program: Callable[[str, str], str]) -> None:
    need_program("nft", "nftables")


def test_edits_at_both_ends_of_both_families_leave_what_nft_reads_as_wanted(nft: None) -> None:
    assert int(inside(_TURNS)) >= 30, "the short way is taken wherever the entries do not age"


def test_an_edit_that_does_not_fit_changes_nothing_and_the_long_way_is_taken(nft: None) -> None:
    inside(_REFUSED)


@pytest.mark.data
@pytest.mark.slow
def test_a_hundred_changes_in_a_set_of_168_000_take_under_100_ms(
    nft: None, real_list: Callable[[str], list[str]]
) -> None:
    lines = [line for line in real_list("malware.ipv4.txt.gz") if not line.startswith("#")]
    assert float(inside(_LARGE, "\n".join(lines))) < 0.1


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 99)), max_size=1200),
    st.sampled_from([None, 3600]),
)
def test_every_message_of_a_batch_is_as_long_as_it_says(pairs: list[tuple[int, int]], seconds: int | None) -> None:

    added = merged((first, min(first + more, 2**32 - 1)) for first, more in pairs)
    made = netlink.batch("blocker", [netlink.Edit("blocked4", (), added, [seconds] * len(added))], 7)
    place, kinds = 0, []
    while place < len(made):
        size = int.from_bytes(made[place : place + 4], sys.byteorder)
        kinds.append(int.from_bytes(made[place + 4 : place + 6], sys.byteorder))
        assert size % 4 == 0
        assert size >= 16
        place += size
    assert place == len(made)
    assert kinds[0] == 16
    assert kinds[-1] == 17
    assert len(kinds) == 2 + -(-len(added) // 500)
