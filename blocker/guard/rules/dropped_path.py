"""The officer wrote a link to one page; the register can only name the host."""

from blocker.guard.rule import GuardRule, Subject
from blocker.guard.verdict import Severity
from feeds.language import N_, _

ID = "guard.dropped-path"


def check(subject: Subject) -> str | None:
    return _("a link to a page of {target} was given").format(target=subject.target) if subject.path_dropped else None


RULE = GuardRule(ID, Severity.CONFIRM, N_("one page was meant; this blocks the whole host"), check)
