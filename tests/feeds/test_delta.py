"""Promises of `feeds.delta`: a delta fits its own release only."""

import pytest

from feeds import delta
from feeds.errors import Untrusted
from feeds.release import Release
from tests.rules import AUTHORITY, rule

FIRST = Release.of(AUTHORITY, 1, [rule("a.test"), rule("b.test", 2)])
SECOND = Release.of(AUTHORITY, 2, [rule("b.test", 2), rule("c.test", 3)])
THIRD = Release.of(AUTHORITY, 3, [rule("a.test"), rule("c.test", 3)])


def test_a_delta_refuses_any_release_but_its_own() -> None:
    step = delta.between(FIRST, SECOND)
    with pytest.raises(Untrusted, match="starts from release 1"):
        delta.apply(step, SECOND)
    with pytest.raises(Untrusted, match=r"a\.test, which is not there|not there"):
        delta.apply(step, Release.of(AUTHORITY, 1, [rule("b.test", 2)]))
    big = [rule(f"x{n}.test", n + 10) for n in range(50)]
    with pytest.raises(Untrusted, match=r"removes a\.test"):
        delta.apply(step, Release.of(AUTHORITY, 1, big))


def test_deltas_that_do_not_follow_each_other_are_not_merged() -> None:
    with pytest.raises(Untrusted, match="does not follow"):
        delta.merge(delta.between(FIRST, SECOND), delta.between(FIRST, SECOND))


def test_withdrawn_and_published_again_merges_to_nothing() -> None:
    merged = delta.merge(delta.between(FIRST, SECOND), delta.between(SECOND, THIRD))
    assert merged == delta.between(FIRST, THIRD)
    assert [str(r.target) for r in merged.removed] == ["b.test"]
