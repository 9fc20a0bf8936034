"""A subtree with a popular name inside. Its own `www.` and `m.` are the same site and no reason to ask."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject, listed_below
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.popular-parent"
_TOP, _ANY = mask("guard.popular-top"), mask("guard.popular-top") | mask("guard.popular")


def check(subject: Subject) -> str | None:
    # The best tier among the names below is told; a merely popular one is enough.
    below = subject.below & _ANY
    return listed_below(subject, below & _TOP or below) if below else None


RULE = GuardRule(ID, Severity.CONFIRM, N_("a popular name lies below it and would be blocked, too"), check)
