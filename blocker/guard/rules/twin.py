"""A name that looks like one that people trust. Usually that is the crime; sometimes the officer mistyped."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject
from blocker.guard.skeleton import looks_foreign, plain, skeleton
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.twin"
_POPULAR = mask("guard.popular")


def check(subject: Subject) -> str | None:
    name, index = subject.name, subject.index
    if name is None or index is None or not looks_foreign(name):
        return None
    for candidate in (name, *subject.ancestors):
        if not looks_foreign(candidate):
            continue
        found = index.twin(skeleton(candidate))
        if found is not None and found[0] != candidate:
            return f"{found[1]}: {found[0]}"
        bare = plain(candidate)
        if bare != candidate and (hits := index.names((bare,))) and (popular := hits[bare].own & _POPULAR):
            return f"{index.listed(popular)}: {bare}"
    return None


RULE = GuardRule(ID, Severity.WARN, N_("looks like a well-known name; make sure that this spelling is meant"), check)
