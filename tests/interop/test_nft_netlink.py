"""Single elements through netlink: what the kernel holds then is what nft says it holds, or nothing has changed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.ipfilter.intervals import merged
from feeds.ipfilter.nft.changes import Edit, Element, batch

pytestmark = [pytest.mark.interop, pytest.mark.root]

# The code runs as a process of its own, inside a namespace that ends with it.
_TURNS = """
import math, random
from dataclasses import replace
from feeds.ipfilter import nftables
from feeds.ipfilter.filter import Box, Filter
from feeds.ipfilter.intervals import merged, subtract
from feeds.ipfilter.kernel import run
from feeds.ipfilter.nft import dump
from feeds.ipfilter.target import TARGETS

chance, target = random.Random(5), TARGETS["nftables"]

def some(bits):
    top = (1 << bits) - 1
    low = chance.choice((0, 100, top - 60))
    pairs = [(low + n, min(top, low + n + chance.randrange(4))) for n in chance.sample(range(60), 9)]
    return merged(pairs)

def made():
    # Two categories that touch and interleave, both families, something with ports, and what crosses from map to map.
    four, six, kept = some(32), some(128), some(32)
    if chance.random() < 0.5:
        four = merged([*four, ((1 << 31) - chance.randrange(1, 9), (1 << 31) + chance.randrange(1, 9))])
        six = merged([*six, ((0x2a << 120) - 4, (0x2a << 120) + 4)])
    ports = Filter(tcp4=(Box(5, 9, 80, 90),), udp6=(Box(1, 1, 53, 53),))
    return Filter.of_parts([
        ("malware", Filter(four, six)),
        ("phishing", Filter(subtract(kept, four), (), ports.tcp4, (), (), ports.udp6)),
    ])

run(["nft", "-f", "-"], nftables.script(made(), ["forward"]))
short = 0
for turn in range(40):
    lives = 7200 if turn // 10 % 2 else None
    wish = made()
    boxes = Filter(tcp4=wish.tcp4, udp6=wish.udp6)
    lasting = ((3600, Filter(wish.blocked4)), (7200, replace(boxes, blocked6=wish.blocked6))) if lives else ()
    plan = target.plan(turn, wish, ("forward",), run, lives, lasting)
    if nftables.change(plan):
        short += 1
    else:
        target.apply(plan, ("forward",), [], run)
    after, said = nftables.read(run), nftables.read(run, lambda: None)
    assert dump.held() is not None
    assert (after.filter, after.uses, after.counts, after.generation) == (
        said.filter, said.uses, said.counts, said.generation
    ), turn
    assert after.left_seconds == said.left_seconds or 0 <= after.left_seconds - said.left_seconds < 2, turn
    assert (after.filter, after.left_seconds == math.inf) == (wish, lives is None), turn
print(short)
"""

_REFUSED = """
from feeds.errors import Unavailable
from feeds.ipfilter import nftables
from feeds.ipfilter.nft.changes import Edit, Element, generation, send
from feeds.ipfilter.nft import dump
from feeds.ipfilter.intervals import merged
from feeds.ipfilter.kernel import run
from feeds.ipfilter.target import TARGETS
from feeds.ipfilter.filter import Filter

held, wish = Filter(merged([(5, 9), (20, 29)])), Filter(merged([(5, 9), (40, 41)]))
target = TARGETS["nftables"]
run(["nft", "-f", "-"], nftables.script(held, ["forward"]))
plan = target.plan(1, wish, ("forward",), run)

# An element that is not there: nothing of the batch is done.
for removed in ((21, 29), (20, 28), (90, 91)):
    gone = [Element(span) for span in merged([(5, 9), removed])]
    edit = Edit("blocked4_0", gone, [Element(merged([(50, 51)])[0], "other4")])
    try:
        send([edit], generation())
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
run(["nft", "-f", "-"], 'add element inet blocker blocked4_0 { 0.0.0.42-0.0.0.49 : "other4" }')
plan = target.plan(2, held, ("forward",), run)
assert plan.held.filter == Filter(merged([(5, 9), (40, 49)]))
assert not nftables.change(plan)
assert target.apply(plan, ("forward",), [], run).filter == held

# A rule of somebody else in our table: nft is asked to name it, and it goes.
assert dump.held().uses == nftables.uses(["forward"])
run(["nft", "add", "rule", "inet", "blocker", "forward", "ip", "daddr", "192.0.2.1", "accept"], "")
assert dump.held() is None
plan = target.plan(3, held, ("forward",), run)
assert "forward:?" in plan.held.uses
assert target.apply(plan, ("forward",), [], run).uses == nftables.uses(["forward"])

# The same addresses, counted for something else: only that element changes, and no packet would pass meanwhile.
wish = Filter.of_parts([("spam", Filter(merged([(5, 9)]))), ("other", Filter(merged([(20, 29)])))])
plan = target.plan(4, wish, ("forward",), run)
assert plan.recounted and not plan.empty
assert nftables.change(plan)
assert nftables.read(run).filter == wish
"""

_LARGE = """
import random, sys, time
from feeds.ipfilter import nftables
from feeds.ipfilter.bulk import intervals_of
from feeds.ipfilter.intervals import merged, subtract
from feeds.ipfilter.kernel import run
from feeds.ipfilter.target import TARGETS
from feeds.ipfilter.filter import Filter

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
    added = [Element(span, "illegal_trade4", seconds) for span in merged((n, min(n + m, 2**32 - 1)) for n, m in pairs)]
    made = batch([Edit("blocked4_0", [], added)], 7)
    place, kinds = 0, []
    while place < len(made):
        size = int.from_bytes(made[place : place + 4], sys.byteorder)
        kinds.append(int.from_bytes(made[place + 4 : place + 6], sys.byteorder))
        assert size % 4 == 0
        assert size >= 16
        # Of a message with elements, the attribute that lists them has a length of sixteen bits.
        assert size < 1 << 16
        place += size
    assert place == len(made)
    assert kinds[0] == 16
    assert kinds[-1] == 17
    assert len(kinds) == 2 + -(-len(added) // 400)


_BEFORE = """
from feeds.ipfilter import nftables
from feeds.ipfilter.filter import Box, Filter
from feeds.ipfilter.intervals import merged
from feeds.ipfilter.kernel import run
from feeds.ipfilter.target import TARGETS

run(["nft", "-f", "-"], '''
table inet blocker {
    set blocked4 { type ipv4_addr; flags interval,timeout; elements = { 192.0.2.0/24 } }
    set tcp4 { type ipv4_addr . inet_service; flags interval,timeout; }
    counter blocked4 { }
    counter tcp4 { }
    chain forward {
        type filter hook forward priority -10; policy accept;
        ip daddr @blocked4 counter name blocked4 drop
        ip daddr . tcp dport @tcp4 counter name tcp4 drop
    }
}
''')
target, wish = TARGETS["nftables"], Filter(merged([(5, 9)]), tcp4=(Box(1, 1, 80, 80),))
plan = target.plan(1, wish, ("forward",), run)
assert plan.held.filter == Filter()
assert target.apply(plan, ("forward",), [], run).uses == nftables.uses(["forward"])
"""


def test_a_table_of_an_earlier_version_is_taken_over(nft: None) -> None:
    inside(_BEFORE)


_BUSY = """
import threading
from feeds.ipfilter import nftables
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.intervals import merged
from feeds.ipfilter.kernel import run
from feeds.ipfilter.nft import dump

held = Filter(merged((2 * n, 2 * n) for n in range(3000)))
run(["nft", "-f", "-"], nftables.script(held, ["forward"]))
over, quick = threading.Event(), 0

def somebody_else():
    while not over.is_set():
        run(["nft", "-f", "-"], "add table inet other; delete table inet other")

thread = threading.Thread(target=somebody_else)
thread.start()
try:
    for _turn in range(30):
        quick += dump.held() is not None
        assert nftables.read(run).filter == held
finally:
    over.set()
    thread.join()
assert dump.held().filter == held
print(quick)
"""


def test_what_is_read_while_somebody_changes_the_rule_set_is_whole(nft: None) -> None:
    inside(_BUSY)
