"""Law: a zone, read by RFC 4592's rules, gives for every name the verdict that the rules give.

Also when the rules were pruned first, and at every hour while they lapse one after another.
"""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from feeds.pruning import prune
from feeds.render.form import View
from feeds.render.rpz import records
from feeds.rule import Action, NameTarget, Rule, Scope, moment_of
from tests.golden.sample import accepted, rule

ACTIONS = (Action.NXDOMAIN, Action.NODATA, Action.PASSTHRU, Action.DROP, Action.TCP_ONLY, Action.LOCAL)
names = st.lists(st.sampled_from("ab"), min_size=1, max_size=5).map(lambda labels: ".".join([*labels, "t", "example"]))


@st.composite
def rule_sets(draw: st.DrawFn) -> list[Rule]:
    """Up to ten name rules, no two of one target, with mixed actions and expiry hours 11 to 14."""
    made: dict[str, Rule] = {}
    for name in draw(st.lists(names, max_size=10)):
        exact, action = draw(st.booleans()), draw(st.sampled_from(ACTIONS))
        data = draw(st.sampled_from(["192.0.2.1", "192.0.2.2"])) if action is Action.LOCAL else ""
        target = "=" + name if exact else name
        expires = draw(st.integers(11, 14))
        made[target] = rule(target, action, data=data, expires=expires, number=len(made) + 1)
    return list(made.values())


def decided(rules: Iterable[Rule], name: str) -> tuple[Action, str] | None:
    """The reference: the exact rule at the name, else the nearest subtree rule at or above it."""
    by_target = {str(r.target): r for r in rules if isinstance(r.target, NameTarget)}
    found = by_target.get("=" + name)
    while found is None and name:
        found = by_target.get(name)
        name = name.partition(".")[2]
    return (found.action, found.data) if found else None


def in_zone(owners: dict[str, Rule], name: str) -> tuple[Action, str] | None:
    """RFC 4592 section 3.3.1: the owner itself; else the wildcard below the closest encloser, that one alone."""
    existing = {".".join(parts[i:]) for owner in owners for parts in [owner.split(".")] for i in range(len(parts))}
    if name in existing:
        found = owners.get(name)
    else:
        while name and name not in existing:
            name = name.partition(".")[2]
        found = owners.get("*." + name if name else "*")
    return (found.action, found.data) if found else None


def zone(rules: Iterable[Rule], hour: int) -> dict[str, Rule]:
    """The zone's policies at `hour`; fails where an owner is written twice."""
    owners: dict[str, Rule] = {}
    for record in records(View.of(accepted(rules), moment_of(hour), "rpz.test"), False, {}):
        assert record.owner not in owners
        owners[record.owner] = record.rule
    return owners


ALL_NAMES = tuple(
    ".".join([*labels, "t", "example"])
    for depth in range(7)
    for number in range(2**depth)
    for labels in [format(number, f"0{depth}b").translate({48: "a", 49: "b"})[:depth]]
)


@given(rule_sets(), st.integers(10, 14))
def test_the_zone_says_what_the_rules_say(rules: list[Rule], hour: int) -> None:
    owners = zone(rules, hour)
    in_force = [r for r in rules if r.expires > hour]
    for name in ALL_NAMES:
        assert in_zone(owners, name) == decided(in_force, name), name


@given(rule_sets(), st.integers(10, 14))
def test_the_zone_of_the_pruned_rules_says_the_same_at_every_hour(rules: list[Rule], hour: int) -> None:
    owners = zone(prune(rules).kept, hour)
    in_force = [r for r in rules if r.expires > hour]
    for name in ALL_NAMES:
        assert in_zone(owners, name) == decided(in_force, name), name


def test_without_the_fill_a_hole_would_let_names_through() -> None:
    owners = zone([rule("x.example"), rule("a.b.c.x.example", Action.PASSTHRU)], 10)
    assert in_zone(owners, "q.c.x.example") == (Action.NXDOMAIN, "")
    unfilled = {owner: r for owner, r in owners.items() if not owner.endswith("c.x.example") or "a.b" in owner}
    assert in_zone(unfilled, "q.c.x.example") is None


def test_an_exact_rule_does_not_free_the_names_below_it() -> None:
    owners = zone([rule("x.example"), rule("=a.x.example", Action.PASSTHRU)], 10)
    assert in_zone(owners, "q.a.x.example") == (Action.NXDOMAIN, "")
    assert owners["a.x.example"].target == next(
        r.target for r in owners.values() if isinstance(r.target, NameTarget) and r.target.scope is Scope.EXACT
    )
