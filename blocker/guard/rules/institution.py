"""Banks and universities of the world; those of Vietnam are in the hand list."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject, listed_name
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.institution"
_LISTS = mask(ID)


def check(subject: Subject) -> str | None:
    return listed_name(subject, _LISTS)


RULE = GuardRule(
    ID,
    Severity.CONFIRM,
    N_("the name of a bank or a university"),
    check,
)
