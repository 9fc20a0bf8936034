"""Rows against what signed documents say; each row that differs is named, with the columns that do."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from blocker.proposal import AddItem
from blocker.proposal.standing import Standing
from blocker.register.folding import folded_name
from blocker.workflow import EntryState
from feeds.errors import Problem
from feeds.language import _
from feeds.rule import NameTarget

_FIXED = (
    "number",
    "kind",
    "target",
    "limits",
    "action",
    "data",
    "category",
    "decision",
    "reason",
    "evidence",
    "path_dropped",
    "valid_from",
)
_MOVING = ("expires", "state", "paused_until", "lapses")
FACTS = _FIXED + _MOVING
ENTRY_COLUMNS = (*FACTS, "proposal", "folded")
_NOT_IN_FORCE = (EntryState.PROPOSED, EntryState.REJECTED)


def facts(item: AddItem, standing: Standing) -> tuple[Any, ...]:
    """What the row of an entry must hold, in the order of FACTS."""
    rule = item.rule
    target = rule.target
    if isinstance(target, NameTarget):
        kind, text, limits = str(target.scope), target.name.text, "-"
    else:
        kind, text, limits = "prefix", str(target), str(rule.limits)
    return (
        item.number,
        kind,
        text,
        limits,
        str(rule.action),
        rule.data,
        str(rule.category),
        rule.decision,
        item.reason,
        item.evidence,
        item.path_dropped,
        item.valid_from,
        standing.expires,
        str(standing.state),
        standing.paused_until,
        standing.lapses,
    )


def first_standing(item: AddItem, state: EntryState = EntryState.PROPOSED) -> Standing:
    """How an entry stands before anything has changed it."""
    return Standing(state, item.valid_from, item.rule.expires)


def new_row(item: AddItem, proposal: int) -> tuple[Any, ...]:
    """The row of an entry that has just been proposed, in the order of ENTRY_COLUMNS."""
    target = item.rule.target
    folded = folded_name(target.name.text) if isinstance(target, NameTarget) else None
    return (*facts(item, first_standing(item)), proposal, folded)


def differences(
    rows: Iterable[Any],
    said: Callable[[int], tuple[Any, ...] | None],
    count: int,
    numbers: Callable[[], Iterable[int]],
) -> Iterator[Problem]:
    """Rows (columns in the order of FACTS) that are not what `said(number)` gives.

    `said` gives None for an entry that no document has put in force. There must be `count` rows that documents know;
    if some are missing, `numbers` gives the numbers that should be there.
    """
    seen: list[int] = []
    for row in rows:
        number = row[0]
        wanted = said(number)
        if wanted is None:
            if row[13] not in _NOT_IN_FORCE:
                yield _problem(number, _("no signed document put it in force"))
            continue
        seen.append(number)
        if wanted != tuple(row):
            wrong = ", ".join(name for name, a, b in zip(FACTS, wanted, row, strict=True) if a != b)
            yield _problem(number, _("it is not what was signed: {columns}").format(columns=wrong))
    if len(seen) != count:
        for number in sorted(set(numbers()).difference(seen)):
            yield _problem(number, _("its row is gone"))


def _problem(number: int, message: str) -> Problem:
    return Problem(_("entry row {n}").format(n=number), "register.row", message)
