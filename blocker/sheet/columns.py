"""Which column says what, and what one row of a table says."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeVar

from blocker.cli.when import VIETNAM, read_day
from blocker.sheet import words
from blocker.sheet.limits import MAX_CELL_CHARS
from blocker.sheet.row import ParsedTarget, SheetRow, place_of
from blocker.sheet.target import parse_targets
from blocker.sheet.workbook import Cell
from feeds.errors import Problem, Rejected
from feeds.language import _
from feeds.rule import NO_LIMITS, Limits, Scope

Value = TypeVar("Value")
_NOTHING = ("", "-", "–", "—")  # how tables say that there is nothing to say
_HASH = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each column stands. `strange` are headings that nobody knows."""

    places: dict[str, tuple[int, ...]]
    heading_row: int | None
    strange: tuple[str, ...] = ()

    @classmethod
    def without_heading(cls) -> "Columns":
        """A table without headings: the targets stand in the first column, and nothing else is read."""
        return cls({"target": (0,)}, None)

    def unknown(self) -> tuple[Problem, ...]:
        """A warning for every heading that nobody knows."""
        place = place_of(self.heading_row or 0)
        return tuple(
            Problem(place, "sheet.column", _("column «{name}» is not known and was not read").format(name=name))
            for name in self.strange
        )

    def read(self, number: int, cells: Sequence[Cell], default_scope: Scope | None) -> SheetRow | None:
        """The row, or None if it is empty."""
        told = [i for i, cell in enumerate(cells) if cell != "" and i not in self.places.get("errors", ())]
        if not any(str(cells[i]).strip() for i in told):
            return None
        reading = _Reading(number, cells, self.places)
        scope = reading.typed("scope", words.scope, _("«{text}» is no scope; write exact or subtree"))
        targets = reading.targets(scope or default_scope)
        category = reading.typed("category", words.category, _("«{text}» is no category of the closed list"))
        action = reading.typed("action", words.action, _("«{text}» is no action"))
        expires = reading.expiry()
        limits = reading.limits()
        evidence = reading.evidence()
        notes = tuple(note for target in targets for note in target.notes)
        return SheetRow(
            number=number,
            place=reading.place,
            targets=tuple(targets),
            category=category,
            reason=" ".join(reading.text("reason").split()),
            evidence=evidence,
            scope=scope,
            expires=expires,
            limits=limits,
            action=action,
            path_dropped=any(target.path_dropped for target in targets),
            notes=notes,
            problems=tuple(reading.problems),
        )


def find_columns(cells: Sequence[Cell], number: int) -> Columns | None:
    """The columns, if this row is the heading: it must name a column of targets."""
    places: dict[str, tuple[int, ...]] = {}
    strange: list[str] = []
    for place, cell in enumerate(cells):
        text = cell.strip() if isinstance(cell, str) else ""
        if not text or len(text) > 100:
            continue
        known = words.heading(text)
        if known is None:
            strange.append(text)
        elif known:
            places[known] = (*places.get(known, ()), place)
    return Columns(places, number, tuple(strange)) if "target" in places else None


class _Reading:
    """One row being read; collects its problems."""

    def __init__(self, number: int, cells: Sequence[Cell], places: dict[str, tuple[int, ...]]) -> None:
        self.place = place_of(number)
        self.problems: list[Problem] = []
        self._cells, self._places = cells, places

    def values(self, column: str) -> list[Cell]:
        """The cells of a column that say something."""
        found = (self._cells[place] for place in self._places.get(column, ()) if place < len(self._cells))
        return [cell for cell in found if not (isinstance(cell, str) and cell.strip() in _NOTHING)]

    def text(self, column: str) -> str:
        """The column's text; "" if it says nothing."""
        return " ".join(_as_text(cell) for cell in self.values(column)).strip()

    def problem(self, rule: str, message: str) -> None:
        self.problems.append(Problem(self.place, rule, message))

    def targets(self, scope: Scope | None) -> list[ParsedTarget]:
        """All targets of the row; several may stand in one cell on lines of their own, or parted by `;`."""
        found: list[ParsedTarget] = []
        texts = [part for cell in self.values("target") for part in re.split(r"[\n\r;]+", _as_text(cell))]
        for text in texts:
            if not text.strip():
                continue
            try:
                if len(text) > MAX_CELL_CHARS:
                    raise Rejected(_("the cell is longer than any target"), rule="sheet.cell")
                found += parse_targets(text.strip(), scope)
            except Rejected as error:
                self.problem(error.rule, error.what)
        if not found and not self.problems:
            self.problem("sheet.no-target", _("there is no name or address in this row"))
        return found

    def typed(self, column: str, read: Callable[[str], Value | None], fault: str) -> Value | None:
        text = self.text(column)
        if not text:
            return None
        value = read(text)
        if value is None:
            self.problem(f"sheet.{column}", fault.format(text=text[:100]))
        return value

    def expiry(self) -> datetime | None:
        """A day means the whole day in Vietnam, as everywhere in the register."""
        values = self.values("expires")
        if not values:
            return None
        value = values[0]
        try:
            if isinstance(value, datetime) and value.time() != time():
                return value.replace(tzinfo=VIETNAM).astimezone(UTC)
            if isinstance(value, datetime):
                day = value.date()
            elif isinstance(value, date):
                day = value
            elif isinstance(value, float | int) and not isinstance(value, bool) and 30_000 < value < 80_000:
                # A date whose cell lost its format: days since 1899-12-30 (ECMA-376 part 1, 18.17.4).
                day = date(1899, 12, 30) + timedelta(days=int(value))
            else:
                text = str(value).strip()
                day = read_day(text[:10] if re.fullmatch(r"\S{10}[ T]00:00(:00)?", text) else text)
            return datetime.combine(day + timedelta(days=1), time(), VIETNAM).astimezone(UTC)
        except (Rejected, OverflowError, ValueError) as error:
            why = error.what if isinstance(error, Rejected) else _("«{text}» is no date").format(text=value)
            self.problem("sheet.expires", why)
            return None

    def limits(self) -> Limits:
        protocol, ports = self.text("protocol").lower(), self.text("ports").replace(";", ",").replace(" ", "")
        if not protocol and not ports:
            return NO_LIMITS
        written = (
            ports if "/" in ports or ports in ("tcp", "udp", "-") else f"{protocol}/{ports}" if ports else protocol
        )
        try:
            if written.startswith("/"):
                raise Rejected(_("ports need their protocol: tcp or udp"), rule="limits.form")
            return Limits.parse(written)
        except Rejected as error:
            self.problem(error.rule, error.what)
            return NO_LIMITS

    def evidence(self) -> str:
        """SHA-256 sums, parted by spaces."""
        sums = self.text("evidence").lower().replace("sha256:", " ").replace(",", " ").replace(";", " ").split()
        for one in sums:
            if _HASH.match(one) is None:
                self.problem(
                    "sheet.evidence", _("«{text}» is no SHA-256 sum (64 hexadecimal digits)").format(text=one[:80])
                )
        return " ".join(sums)


def _as_text(cell: Cell) -> str:
    """As the spreadsheet shows it: 443 and not 443.0."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
