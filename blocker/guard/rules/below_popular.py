"""A host of a very popular site: probably one part of that site, not the criminal's own name."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject
from blocker.guard.verdict import Severity
from feeds.language import N_, _

ID = "guard.below-popular"
_TOP = mask("guard.popular-top")
_ELSEWHERE = mask("guard.public-suffix")


def check(subject: Subject) -> str | None:
    index = subject.index
    if index is None or subject.own & _TOP:
        return None
    for ancestor in subject.ancestors:
        found = subject.above.get(ancestor)
        if found is None:
            continue
        if found.own & _ELSEWHERE:
            return None  # a suffix lies between: another owner's name
        if hit := found.own & _TOP:
            if subject.name == f"www.{ancestor}":
                return None  # the very site, told by guard.popular-top
            return _("{list}: {item}, which is above it").format(list=index.listed(hit), item=ancestor)
    return None


RULE = GuardRule(ID, Severity.WARN, N_("a host below one of the 10,000 most used names"), check)
