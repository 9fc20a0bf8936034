"""Leave out rules that a listed ancestor already enforces.

Theory. In RPZ an ancestor's `*.P` does not match below a name that exists in the zone, also when that name is only
an empty non-terminal (RFC 4592 section 2.2.2). So a child that says nothing new is dropped, and for a child that
must stay (another action, a later expiry) the renderer repeats the ancestor's action at each empty non-terminal.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from feeds.rule import NameTarget, Rule, Scope


@dataclass(frozen=True, slots=True)
class Pruned:
    """`kept` in canonical order; `covered` pairs each dropped rule with the kept one that enforces it."""

    kept: tuple[Rule, ...]
    covered: tuple[tuple[Rule, Rule], ...]


def prune(rules: Iterable[Rule]) -> Pruned:
    """Drop a name rule if its nearest listed subtree ancestor has the same action and limits and expires no earlier.

    The ancestor's category must be the same, too: an ISP may enforce some categories alone.

    An exact rule's nearest subtree ancestor may be the subtree rule at the same name. Prefix rules all stay.
    """
    ordered = sorted(rules, key=_ancestors_first)
    kept: list[Rule] = []
    covered: list[tuple[Rule, Rule]] = []
    # Subtree rules whose names are ancestors-or-self of the one at hand, outermost first. The second of each pair is
    # the kept rule that enforces the first: itself, or the one that covered it.
    stack: list[tuple[str, Rule, Rule]] = []
    for rule in ordered:
        target = rule.target
        if not isinstance(target, NameTarget):
            kept.append(rule)
            continue
        key = target.name.sort_key
        while stack and not (key == stack[-1][0] or key.startswith(stack[-1][0] + "\0")):
            stack.pop()
        keeper = rule
        if stack and enforces(stack[-1][1], rule):
            keeper = stack[-1][2]
            covered.append((rule, keeper))
        else:
            kept.append(rule)
        if target.scope is Scope.SUBTREE:
            stack.append((key, rule, keeper))
    kept.sort(key=lambda rule: rule.key)
    return Pruned(tuple(kept), tuple(covered))


def enforces(ancestor: Rule, rule: Rule) -> bool:
    """Does the subtree rule `ancestor` of a name above (or at) `rule` say all that `rule` says, for as long?"""
    return (
        ancestor.category is rule.category
        and ancestor.action is rule.action
        and ancestor.data == rule.data
        and ancestor.limits == rule.limits
        and ancestor.expires >= rule.expires
    )


def _ancestors_first(rule: Rule) -> tuple[object, ...]:
    """Canonical order, but a subtree rule before an exact one at the same name."""
    key = rule.key
    return (0, key[1], rule.target.scope is Scope.EXACT) if isinstance(rule.target, NameTarget) else key
