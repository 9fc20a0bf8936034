"""The floor (`feeds.floor`): limits that every ISP checks again. In training its training limit replaces only the
one on reserved names and address space."""

from collections.abc import Callable

from blocker.guard.rule import GuardRule, Subject
from blocker.guard.verdict import Severity
from feeds.floor import FLOOR_WORDS


def _check(limit: str) -> Callable[[Subject], str | None]:
    def check(subject: Subject) -> str | None:
        return str(subject.target) if subject.floor == limit else None

    return check


RULES = tuple(GuardRule(limit, Severity.NEVER, sentence, _check(limit)) for limit, sentence in FLOOR_WORDS.items())
