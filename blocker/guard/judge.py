"""`Guard`: all rules over one target."""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from blocker.guard.index import Index, open_index
from blocker.guard.rule import Subject
from blocker.guard.rules import RULES
from blocker.guard.verdict import Finding
from feeds.errors import Unavailable
from feeds.language import _
from feeds.rule import Target

_MAX_HOURS = {rule.id: rule.max_hours for rule in RULES if rule.max_hours is not None}


@dataclass(frozen=True, slots=True)
class ListInfo:
    """One list the guard reads: for which rule, whence, which version, how many items. `day` if it says its date."""

    key: str
    rule: str
    origin: str
    title: str
    version: str
    day: date | None
    items: int


class Guard:
    """The rules and their data, ready to judge."""

    def __init__(self, training: bool, open_index: Callable[[], Index]) -> None:
        self.training = training
        self._open = open_index
        self._index: Index | None = None

    @classmethod
    def load(cls, training: bool, cache: Path | None = None) -> "Guard":
        """The guard over the index in `cache` (default: the user's cache directory).

        The index is opened, and built if missing, when the first target needs it; `Unavailable` may come then. A
        training register's targets never do.
        """
        return cls(training, lambda: open_index(cache))

    def judge(
        self,
        target: Target,
        *,
        path_dropped: bool = False,
        listed: Callable[[Target], str | None] | None = None,
    ) -> tuple[Finding, ...]:
        """All findings about `target`, gravest first. Raises Unavailable if the data cannot be had.

        `path_dropped`: the officer wrote a link to one page. `listed` gives the notation of the decision under which
        a target is already listed, or None.
        """
        try:
            subject = Subject(target, self._opened, training=self.training, path_dropped=path_dropped, listed=listed)
            return tuple(finding for rule in RULES if (finding := rule.judge(subject)) is not None)
        except sqlite3.Error as error:
            raise Unavailable(
                _("the guard's index is damaged: {why}").format(why=error),
                kept=_("nothing was judged"),
                then=_("run `blocker guard index --rebuild`"),
            ) from error

    def sources(self) -> tuple[ListInfo, ...]:
        """Every list, in the order in which the rules read them."""
        return tuple(
            ListInfo(x.key, x.rule, x.origin, x.title, x.version, x.day, x.items) for x in self._opened().lists
        )

    def data_age(self, now: datetime) -> timedelta | None:
        """How old the newest of the packages' lists is: the age of the data as a whole. Single lists may be older."""
        days = [x.day for x in self._opened().lists if x.day is not None and x.origin == "pymispwarninglists"]
        return now - datetime.combine(max(days), time(), UTC) if days else None

    def _opened(self) -> Index:
        if self._index is None:
            self._index = self._open()
        return self._index


def max_hours(findings: Iterable[Finding]) -> int | None:
    """The longest time, in hours, that a target with these findings may be listed; None where nothing limits it."""
    return min((_MAX_HOURS[f.rule] for f in findings if f.rule in _MAX_HOURS), default=None)
