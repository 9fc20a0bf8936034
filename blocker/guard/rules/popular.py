"""Lower popularity tiers: a popular gambling site is a legitimate target, but somebody should have seen it."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject
from blocker.guard.verdict import Severity
from feeds.language import N_, _

ID = "guard.popular"
_LISTS, _TOP = mask(ID), mask("guard.popular-top")


def check(subject: Subject) -> str | None:
    index = subject.index
    if index is None or subject.own & _TOP:
        return None
    if hit := subject.own & _LISTS:
        return f"{index.listed(hit)}: {subject.name}"
    if subject.subtree and (hit := subject.same & _LISTS):
        return _("{list}: its www. or m. name").format(list=index.listed(hit))
    return None


RULE = GuardRule(ID, Severity.WARN, N_("among the million most used names of a ranking"), check)
