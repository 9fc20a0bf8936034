"""Read a sheet to its end: one `SheetRow` for every row that says something."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from blocker.sheet import text, workbook
from blocker.sheet.columns import Columns, find_columns
from blocker.sheet.limits import MAX_CELL_CHARS
from blocker.sheet.row import ParsedTarget, SheetRow, place_of
from blocker.sheet.target import parse_targets
from blocker.sheet.workbook import Cell
from feeds.errors import Problem, Rejected
from feeds.language import _
from feeds.rule import NameTarget, Scope

HEADING_ROWS = 20  # letterheads above the table are skipped up to here
_HOSTS = re.compile(r"(?:0\.0\.0\.0|127\.0\.0\.1|::1?|fe80::1%lo0|255\.255\.255\.255|ff0[0-2]::[0-3]?)\s+(\S.*)\Z")
_OWN_HOST = frozenset(
    "localhost localhost.localdomain local broadcasthost ip6-localhost ip6-loopback ip6-localnet "  # noqa: SIM905
    "ip6-mcastprefix ip6-allnodes ip6-allrouters ip6-allhosts".split()
)
_COMMENT = re.compile(r"(?:^|\s)#.*\Z")


def read_sheet(path: Path, scope: Scope | None = None) -> Iterator[SheetRow]:
    """The rows of a sheet (txt, csv, xlsx; gzip), with targets, typed cells, problems and warnings.

    `scope` is for names of which the sheet says none. Raises Rejected if the file as a whole cannot be read.
    A target that stood in an earlier row is given again, with a warning that names that row.
    """
    return _with_repeats(_read(path, scope))


def is_workbook(path: Path) -> bool:
    """An xlsx file, whatever its name; raises Rejected for a spreadsheet of another format, or an unreadable file."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise Rejected(
            _("{path} cannot be read: {why}").format(path=path, why=error.strerror),
            rule="sheet.unreadable",
            kept=_("nothing was read"),
            then=_("check the path and its permissions"),
        ) from None
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise Rejected(
            _("{path} is an old spreadsheet (xls) or protected by a password").format(path=path),
            rule="sheet.format",
            kept=_("nothing was read"),
            then=_("save it as xlsx without a password"),
        )
    return head.startswith(b"PK")


def _read(path: Path, scope: Scope | None) -> Iterator[SheetRow]:
    if is_workbook(path):
        return _table_rows(workbook.records_of(path), scope)
    form = text.form_of(path)
    if form.delimiter:
        return _table_rows(text.records_of(path, form), scope)
    return _list_rows(text.lines_of(path, form.encoding), scope)


def _list_rows(lines: Iterator[str], scope: Scope | None) -> Iterator[SheetRow]:
    """One target a line; comments, hosts files and adblock lists are understood."""
    for number, line in enumerate(lines, 1):
        if "#" in line or "!" in line or "[" in line:
            line = "" if line.startswith(("!", "[Adblock", "[adblock")) else _COMMENT.sub("", line)
        line = line.strip()
        if not line:
            continue
        place = place_of(number)
        try:
            yield SheetRow(number, place, _line_targets(line, scope))
        except Rejected as error:
            yield SheetRow(number, place, problems=(Problem(place, error.rule, error.what),))


def _line_targets(line: str, scope: Scope | None) -> tuple[ParsedTarget, ...]:
    if line.startswith("@@"):
        raise Rejected(_("«{text}» is an exception, not a target").format(text=line[:100]), rule="sheet.exception")
    if len(line) > MAX_CELL_CHARS:
        raise Rejected(_("the line is longer than any target"), rule="sheet.cell")
    found = _HOSTS.match(line) if " " in line or "\t" in line else None
    if found is None:
        return parse_targets(line, scope)
    # A hosts file can only mean the very name.
    names = (name for name in found.group(1).split() if name not in _OWN_HOST)
    return tuple(target for name in names for target in parse_targets(name, scope or Scope.EXACT))


def _table_rows(
    records: Iterator[tuple[int, "list[Cell] | list[str] | None"]], scope: Scope | None
) -> Iterator[SheetRow]:
    held: list[tuple[int, list[Cell]]] = []
    columns: Columns | None = None
    unknown: tuple[Problem, ...] = ()
    for number, cells in records:
        if cells is None:
            place = place_of(number)
            damaged = Problem(place, "sheet.record", _("this line cannot be split into cells; look at its quotes"))
            yield SheetRow(number, place, problems=(damaged,))
            continue
        if columns is not None:
            row = columns.read(number, list(cells), scope)
            if row is not None:
                yield replace(row, warnings=unknown) if unknown else row
                unknown = ()
            continue
        held.append((number, list(cells)))
        columns = find_columns(held[-1][1], number)
        unknown = columns.unknown() if columns is not None else ()
        if columns is None and len(held) >= HEADING_ROWS:
            columns = Columns.without_heading()
        if columns is not None:
            yield from _held_back(columns, held, scope)
    if columns is None:
        yield from _held_back(Columns.without_heading(), held, scope)


def _held_back(columns: Columns, held: list[tuple[int, list[Cell]]], scope: Scope | None) -> Iterator[SheetRow]:
    """The rows read while looking for a heading that is not there; above a heading stands only a letterhead."""
    if columns.heading_row is None:
        for number, cells in held:
            row = columns.read(number, cells, scope)
            if row is not None:
                yield row


def _with_repeats(read: Iterator[SheetRow]) -> Iterator[SheetRow]:
    first: dict[object, int] = {}
    for row in read:
        warnings: list[Problem] = []
        for parsed in row.targets:
            target = parsed.target
            # The text alone is the key of most, which spares memory on a million rows.
            subtree = isinstance(target, NameTarget) and target.scope is Scope.SUBTREE
            key = target.name.text if isinstance(target, NameTarget) and subtree else (target, row.limits)
            seen = first.setdefault(key, row.number)
            if seen != row.number:
                message = _("{target} stands already in {place}").format(target=target, place=place_of(seen))
                warnings.append(Problem(row.place, "sheet.repeated", message))
        yield replace(row, warnings=row.warnings + tuple(warnings)) if warnings else row
