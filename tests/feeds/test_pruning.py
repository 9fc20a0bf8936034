"""Promises of `feeds.pruning`: a child goes only where its parent says the same for as long."""

from collections.abc import Callable

import pytest

from feeds.errors import Rejected
from feeds.name import DomainName
from feeds.pruning import prune
from feeds.rule import Action, Category, NameTarget, Scope
from tests.rules import FAR, rule


def kept(*rules_: object) -> list[str]:
    return [str(r.target) for r in prune(rules_).kept]  # type: ignore[arg-type]


def test_a_child_goes_when_its_parent_says_the_same_for_as_long() -> None:
    pruned = prune([rule("x.test"), rule("a.b.x.test", 2), rule("=x.test", 3), rule("y.test", 4)])
    assert [str(r.target) for r in pruned.kept] == ["x.test", "y.test"]
    assert {(r.entry, by.entry) for r, by in pruned.covered} == {("vn-test:2", "vn-test:1"), ("vn-test:3", "vn-test:1")}


def test_a_child_stays_with_another_action_or_a_later_end_or_below_an_exact_name() -> None:
    assert kept(rule("x.test"), rule("a.x.test", 2, action=Action.PASSTHRU)) == ["x.test", "a.x.test"]
    assert kept(rule("x.test", expires=FAR - 1), rule("a.x.test", 2)) == ["x.test", "a.x.test"]
    assert kept(rule("=x.test"), rule("a.x.test", 2)) == ["=x.test", "a.x.test"]
    assert kept(rule("x.test"), rule("ax.test", 2), rule("x-a.test", 3)) == ["ax.test", "x.test", "x-a.test"]


def test_only_the_nearest_ancestor_decides() -> None:
    rules_ = [rule("x.test"), rule("b.x.test", 2, action=Action.NODATA), rule("a.b.x.test", 3)]
    assert kept(*rules_) == ["x.test", "b.x.test", "a.b.x.test"]


def test_a_pruned_parent_hands_its_keeper_on() -> None:
    pruned = prune([rule("x.test"), rule("b.x.test", 2), rule("a.b.x.test", 3)])
    assert {by.entry for _r, by in pruned.covered} == {"vn-test:1"}


def test_a_child_of_another_category_stays_for_those_who_enforce_its_category_alone() -> None:
    assert kept(rule("x.test"), rule("a.x.test", 2, category=Category.BOTNET)) == ["x.test", "a.x.test"]


@pytest.mark.data
def test_of_the_65759_gambling_names_63249_remain(real_list: Callable[[str], list[str]]) -> None:
    """Two of the list's lines are no name of their own: an address, and one written in capitals a second time."""
    lines, found, bad = real_list("gambling-vn.domains.txt.gz"), {}, []
    for number, line in enumerate(lines, 1):
        try:
            name = DomainName.parse(line).name
        except Rejected:
            bad.append(line)
            continue
        found[name] = rule("x.test", number, target=NameTarget(name, Scope.SUBTREE))
    assert (len(lines), bad, len(found)) == (65759, ["180.215.200.9"], 65757)
    assert len(prune(found.values()).kept) + 2 == 63249
