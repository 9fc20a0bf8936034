"""Which canaries of a manifest count. Pure.

No decision and no officer stands behind a canary, and it is exempt from guard, floor and expiry. So it may only be a
name under `.example`, which nobody can register: otherwise whoever holds the publishing host's keys could block or
unblock any name by calling it a canary.
"""

from feeds.errors import Rejected
from feeds.manifest import Canary
from feeds.name import DomainName
from feeds.rule import Category, NameTarget, Rule, Scope

CANARY_TOP = "example"
CANARY_MARK = (("canary", "1"),)


def canary_rule(canary: Canary, authority: str) -> Rule | None:
    """The canary as if it were a rule of the authority; None where it is malformed or not under `.example`."""
    below, _dot, top = canary.name.rpartition(".")
    if not below or top != CANARY_TOP:
        return None
    try:
        return Rule(
            NameTarget(DomainName(canary.name), Scope.EXACT),
            canary.action,
            f"{authority}:1",
            Category.COURT_ORDER,
            "canary",
            1,
            data=canary.data,
            extra=CANARY_MARK,
        )
    except Rejected:
        return None


def is_canary(rule: Rule) -> bool:
    """Was it made by `canary_rule`?"""
    return rule.extra is CANARY_MARK
