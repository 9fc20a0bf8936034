"""What one line of an officer's sheet says."""

from dataclasses import dataclass
from datetime import datetime

from feeds.errors import Problem
from feeds.language import _
from feeds.rule import NO_LIMITS, Action, Category, Limits, Scope, Target


@dataclass(frozen=True, slots=True)
class ParsedTarget:
    """One target that was read. `notes` are sentences about what was dropped or changed in reading."""

    target: Target
    path_dropped: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One row. What is None was not said in the sheet. A row with `problems` must not be used.

    `place` is `row 17` (counted as a spreadsheet counts, from 1). `scope` is what the sheet says; the scope of each
    target is already applied. `warnings` do not stop the row.
    """

    number: int
    place: str
    targets: tuple[ParsedTarget, ...] = ()
    category: Category | None = None
    reason: str = ""
    evidence: str = ""
    scope: Scope | None = None
    expires: datetime | None = None
    limits: Limits = NO_LIMITS
    action: Action | None = None
    path_dropped: bool = False
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def place_of(number: int) -> str:
    """How a row is called."""
    return _("row {n}").format(n=number)
