"""`Guard`: all rules over one target."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

from blocker.guard.verdict import Finding, Severity
from feeds.floor import FLOOR_WORDS, crossed
from feeds.language import _
from feeds.rule import Target

MAX_HOURS = 72


class Guard:
    """The rules and their data, ready to judge."""

    def __init__(self, training: bool) -> None:
        self.training = training

    @classmethod
    def load(cls, training: bool, cache: Path | None = None) -> "Guard":
        """The guard over the index in `cache` (default: the user's cache directory), built there if missing."""
        return cls(training)

    def judge(
        self,
        target: Target,
        *,
        path_dropped: bool = False,
        listed: Callable[[Target], str | None] | None = None,
    ) -> tuple[Finding, ...]:
        """All findings about `target`, gravest first.

        `path_dropped`: the officer wrote a link to one page. `listed` gives the notation of the decision under which
        a target is already listed, or None.
        """
        floor = crossed(target, self.training)
        if floor is None:
            return ()
        return (Finding(floor, Severity.NEVER, _(FLOOR_WORDS[floor]), str(target)),)

    def data_age(self, now: datetime) -> timedelta | None:
        """Age of the oldest list the guard judges by; None if no list says its date."""
        return None


def max_hours(findings: Iterable[Finding]) -> int | None:
    """The longest time, in hours, that a target with these findings may be listed; None where nothing limits it."""
    return None
