"""Sinkholes run by defenders; the list of a botnet often names them by mistake."""

from blocker.guard.rule import GuardRule, Subject, listed_range
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.sinkhole"


def check(subject: Subject) -> str | None:
    return listed_range(subject, ID)


RULE = GuardRule(
    ID,
    Severity.WARN,
    N_("a sinkhole: defenders collect the calls of infected machines there"),
    check,
)
