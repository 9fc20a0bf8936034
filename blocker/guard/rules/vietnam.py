"""The hand list for Vietnam (`data/vietnam.txt`): gov.vn, NAPAS, banks, telecoms, zalo.me, VNNIC, press."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject, listed_name
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.vietnam"
_LISTS = mask(ID)


def check(subject: Subject) -> str | None:
    return listed_name(subject, _LISTS)


RULE = GuardRule(
    ID,
    Severity.NEVER,
    N_("on the hand list for Vietnam: people depend on it for the state, money, telephone or news"),
    check,
)
