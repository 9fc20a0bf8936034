"""Already in the register: two decisions may rest on one target, but nobody should list it twice unawares."""

from blocker.guard.rule import GuardRule, Subject
from blocker.guard.verdict import Severity
from feeds.language import N_, _

ID = "guard.listed"


def check(subject: Subject) -> str | None:
    notation = subject.listed(subject.target) if subject.listed is not None else None
    return _("listed under {decision}").format(decision=notation) if notation else None


RULE = GuardRule(ID, Severity.WARN, N_("already listed"), check)
