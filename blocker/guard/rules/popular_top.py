"""The names that most people use: the top 10,000 of any ranking. Denmark 2012: google.com was on the list."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import NOWHERE, GuardRule, Subject
from blocker.guard.verdict import Severity
from feeds.language import N_, _

ID = "guard.popular-top"
_LISTS = mask(ID)


def check(subject: Subject) -> str | None:
    index = subject.index
    if index is None:
        return None
    if hit := subject.own & _LISTS:
        return f"{index.listed(hit)}: {subject.name}"
    # `www.` before a ranked name is the same site.
    bare = subject.name[4:] if subject.name and subject.name.startswith("www.") else ""
    if hit := subject.above.get(bare, NOWHERE).own & _LISTS:
        return f"{index.listed(hit)}: {bare}"
    if subject.subtree and (hit := subject.same & _LISTS):
        return _("{list}: its www. or m. name").format(list=index.listed(hit))
    return None


RULE = GuardRule(ID, Severity.CONFIRM, N_("among the 10,000 most used names of a ranking"), check)
