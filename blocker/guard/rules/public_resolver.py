"""Public resolvers, by name and address: 1.1.1.1, 8.8.8.8, dns.google and some 60,000 others."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject, listed_name, listed_range
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.public-resolver"
_LISTS = mask(ID)


def check(subject: Subject) -> str | None:
    return listed_name(subject, _LISTS) or listed_range(subject, ID)


RULE = GuardRule(
    ID,
    Severity.NEVER,
    N_("a public DNS resolver: whoever uses it would lose the whole Internet"),
    check,
)
