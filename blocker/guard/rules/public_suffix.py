"""Public suffixes of the list's private section: below `github.io` or `blogspot.com` each name has its own owner."""

from blocker.guard.index.sources import NAMES, mask
from blocker.guard.rule import NOWHERE, GuardRule, Subject, listed_name
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.public-suffix"
_LISTS = mask(ID)
_WILD = 1 << next(number for number, source in enumerate(NAMES) if source.key == "private-wildcards")


def check(subject: Subject) -> str | None:
    index = subject.index
    if index is not None and subject.ancestors:
        # `*.compute.example` in the list: each name directly below is a suffix.
        parent = subject.ancestors[0]
        if wild := subject.above.get(parent, NOWHERE).own & _WILD:
            return f"{index.listed(wild)}: *.{parent}"
    return listed_name(subject, _LISTS)


RULE = GuardRule(
    ID,
    Severity.CONFIRM,
    N_("a suffix under which independent owners have their names: all of them would be blocked"),
    check,
)
