"""Parked names: blocking them protects nobody, and the next owner would inherit the listing."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject, listed_name, listed_range
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.parked"
_LISTS = mask(ID)


def check(subject: Subject) -> str | None:
    return listed_name(subject, _LISTS) or listed_range(subject, ID)


RULE = GuardRule(
    ID,
    Severity.WARN,
    N_("a parked name or the address of a parking service: the site is probably gone"),
    check,
)
