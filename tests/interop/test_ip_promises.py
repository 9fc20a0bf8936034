"""What `apply` promises of every live target: refused means unchanged, and what is held afterwards is looked at."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from feeds.ipfilter.target import TARGETS

pytestmark = [pytest.mark.interop, pytest.mark.root]

# In a namespace that ends with the process.
_CODE = """
import sys
from feeds.errors import Unavailable
from feeds.ipfilter.filter import Box, Filter
from feeds.ipfilter.intervals import merged
from feeds.ipfilter.kernel import run
from feeds.ipfilter.target import TARGETS

target = TARGETS[sys.argv[1]]
one = Filter(merged([(1 << 24, 1 << 24)]), merged([(1 << 125, 1 << 125)]), tcp4=(Box(5 << 24, 5 << 24, 80, 90),))
two = Filter(merged([(2 << 24, (2 << 24) + 2)]), merged([(3 << 124, 3 << 124)]))

def plan(wish):
    return target.plan(1, wish, ("forward",), run)

def apply(wish, with_):
    return target.apply(plan(wish), ("forward",), ["hanoi"], with_)

def loads(command):
    return tuple(command) == target.load

def refused(command, stdin):
    # A line that the tool cannot read, where ipset changes nothing yet, and within the transaction of the others.
    for before in ("swap blocked4_new", "COMMIT", "add rule"):
        stdin = stdin.replace(before, f"nonsense\\n{before}", 1)
    return run(command, stdin)

STRANGE = {
    "nftables": ["nft", "add element inet blocker blocked4_0 { 9.9.9.9 : \\"spam4\\" }"],
    "ipset": ["ipset", "add", "blocked4", "9.9.9.9"],
    "iptables": ["iptables", "-A", "BLOCKER", "-s", "9.9.9.9", "-j", "ACCEPT"],
}

def disturbed(command, stdin):
    said = run(command, stdin)
    if loads(command):
        run(STRANGE[target.name], "")
    return said

# The whole script is what is refused here, rather than a change of single elements.
import dataclasses
target = dataclasses.replace(target, change=lambda plan: False)

assert apply(one, run).filter == target.sayable(one)
assert plan(one).empty
try:
    apply(two, refused)
    raise SystemExit("taken")
except Unavailable as error:
    assert "refuses" in error.what, error.what
    assert error.kept
assert target.read(run).filter == target.sayable(one), "what was there is there"
assert plan(one).empty
try:
    apply(two, disturbed)
    raise SystemExit("not noticed")
except Unavailable as error:
    assert "something else than it was just given" in error.what, error.what
assert not plan(two).empty, "drift is seen"
assert apply(two, run).filter == target.sayable(two), "and set right"
assert plan(two).empty
"""


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_refused_means_unchanged_and_what_somebody_else_wrote_is_noticed(
    name: str, need_root: None, need_program: Callable[[str, str], str]
) -> None:
    for program, package in (("nft", "nftables"), ("ipset", "ipset"), ("iptables", "iptables")):
        need_program(program, package)
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", _CODE, name],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert done.returncode == 0, done.stderr
