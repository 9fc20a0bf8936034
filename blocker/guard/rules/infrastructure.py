"""Platforms and services of many users: a listing would hit them all. A single user's name below is fine."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject, listed_name
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.infrastructure"
_LISTS = mask(ID)


def check(subject: Subject) -> str | None:
    return listed_name(subject, _LISTS)


RULE = GuardRule(
    ID,
    Severity.CONFIRM,
    N_("a name that serves very many others (shared platform, shortener, dynamic DNS, content network)"),
    check,
)
