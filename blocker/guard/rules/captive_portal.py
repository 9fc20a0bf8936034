"""Names by which devices learn whether they are on the Internet."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject, listed_name
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.captive-portal"
_LISTS = mask(ID)


def check(subject: Subject) -> str | None:
    return listed_name(subject, _LISTS)


RULE = GuardRule(
    ID,
    Severity.NEVER,
    N_("devices ask this name whether they are on the Internet; without it they leave the network"),
    check,
)
