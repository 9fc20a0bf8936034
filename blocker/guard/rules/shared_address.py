"""Addresses that many sites share. Australia 2013: one such address carried 250,000 sites."""

from blocker.guard.rule import GuardRule, Subject, listed_range
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.shared-address"


def check(subject: Subject) -> str | None:
    return listed_range(subject, ID)


RULE = GuardRule(
    ID,
    Severity.CONFIRM,
    N_("an address of a content network, a cloud or shared hosting: many other sites answer on it; at most 72 hours"),
    check,
    max_hours=72,
)
