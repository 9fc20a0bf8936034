"""Give a sheet back with its errors beside the rows, so that one round of correction suffices.

Nothing in it may act on the officer's machine: in xlsx every text is written as text, never as formula or link; in csv
a text that a spreadsheet would take for a formula gets a quote before it, which reading takes away again.
"""

import csv
import gzip
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import xlsxwriter
from xlsxwriter.exceptions import XlsxWriterException

from blocker.sheet import text, words, workbook
from blocker.sheet.columns import find_columns
from blocker.sheet.read import HEADING_ROWS, is_workbook
from blocker.sheet.workbook import Cell, Record
from feeds.errors import Problem, Rejected, Unavailable
from feeds.language import _, spoken

SAFE_WORKBOOK = {
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "constant_memory": True,
    "default_date_format": "dd/mm/yyyy",
}
_ACTIVE = ("=", "+", "-", "@", "\t", "\r")
Told = Mapping[int, Sequence[Problem]]


def write_errors(path_in: Path, path_out: Path, problems_by_row: Told) -> None:
    """Write the sheet `path_in` to `path_out`, in its own format, with an added column (or comment) of errors.

    `problems_by_row` is by `SheetRow.number`. An error column of an earlier round is replaced. The file appears whole
    or not at all. Raises Rejected if the sheet cannot be read, Unavailable if the other cannot be written.
    """
    if path_out.exists() and path_in.exists() and path_out.samefile(path_in):
        raise Rejected(
            _("the sheet would be written over itself"),
            rule="sheet.same-file",
            kept=_("{path} is as it was").format(path=path_in),
            then=_("name another file for the errors"),
        )
    if is_workbook(path_in):
        _replace(path_out, lambda started: _write_workbook(path_in, started, problems_by_row))
        return
    form = text.form_of(path_in)
    write = _write_table if form.delimiter else _write_list
    packed = path_out.suffix == ".gz"
    _replace(path_out, lambda started: write(path_in, form, started, packed, problems_by_row))


def error_heading() -> str:
    """What the added column is called; reading knows the word in every language."""
    return words.HEADINGS["errors"][0].capitalize() if spoken() == "vi" else "Errors"


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    started = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(started)
        started.replace(path)
    except (OSError, XlsxWriterException) as error:
        raise Unavailable(
            _("{path} cannot be written: {why}").format(path=path, why=error),
            kept=_("the sheet itself is as it was"),
            then=_("make room or name another file"),
        ) from error
    finally:
        started.unlink(missing_ok=True)


def _sentences(problems: Iterable[Problem]) -> str:
    return "; ".join(dict.fromkeys(f"{problem.message} [{problem.rule}]" for problem in problems))


def _with_errors(records: Iterable[Record], problems: Told) -> Iterator[tuple[bool, list[Cell], str]]:
    """Each row as (is heading, cells without an old error column, errors)."""
    drop: tuple[int, ...] = ()
    headed = False
    for number, read in records:
        cells: list[Cell] = list(read or [])
        heading = False
        if not headed and number <= HEADING_ROWS:
            columns = find_columns(cells, number)
            if columns is not None:
                headed = heading = True
                drop = columns.places.get("errors", ())
        kept = [cell for place, cell in enumerate(cells) if place not in drop]
        yield heading, kept, _sentences(problems.get(number, ()))


def _width(records: Iterable[Record], problems: Told) -> int:
    return max((len(cells) for _heading, cells, _errors in _with_errors(records, problems)), default=0)


def _write_workbook(path_in: Path, path_out: Path, problems: Told) -> None:
    wide = _width(workbook.records_of(path_in), problems)
    book = xlsxwriter.Workbook(str(path_out), SAFE_WORKBOOK)
    try:
        sheet = book.add_worksheet()
        bold, red = book.add_format({"bold": True}), book.add_format({"font_color": "#C00000"})
        moment = book.add_format({"num_format": "dd/mm/yyyy hh:mm"})
        sheet.set_column(0, max(wide - 1, 0), 24)
        sheet.set_column(wide, wide, 80)
        for row, (heading, cells, errors) in enumerate(_with_errors(workbook.records_of(path_in), problems)):
            for column, cell in enumerate(cells):
                _write_cell(sheet, row, column, cell, bold if heading else None, moment)
            if heading:
                sheet.write_string(row, wide, error_heading(), bold)
                sheet.freeze_panes(row + 1, 0)
            elif errors:
                sheet.write_string(row, wide, errors[:32_000], red)
    finally:
        book.close()


def _write_cell(sheet: Any, row: int, column: int, cell: Cell, form: Any, moment: Any) -> None:
    if isinstance(cell, str):
        if cell:
            sheet.write_string(row, column, cell[:32_000], form)
    elif isinstance(cell, bool):
        sheet.write_boolean(row, column, cell, form)
    elif isinstance(cell, datetime) and cell.time() != time():
        sheet.write_datetime(row, column, cell, moment)
    elif isinstance(cell, date | datetime | time | timedelta):
        sheet.write_datetime(row, column, cell)
    else:
        sheet.write_number(row, column, cell, form)


def _write_table(path_in: Path, form: text.TextForm, path_out: Path, packed: bool, problems: Told) -> None:
    wide = _width(text.records_of(path_in, form), problems)
    # A byte order mark, since Excel takes UTF-8 without one for the system's old code page.
    with _text_file(path_out, "utf-8-sig", packed) as file:
        writer = csv.writer(file, delimiter=form.delimiter, lineterminator="\r\n")
        if form.skip:
            file.write(f"sep={form.delimiter}\r\n")
        for heading, cells, errors in _with_errors(text.records_of(path_in, form), problems):
            said = error_heading() if heading else errors
            # An empty line stays one, so that rows keep their numbers.
            full = [*cells, *[""] * (wide - len(cells)), said] if cells or said else []
            writer.writerow([_passive(str(cell)) for cell in full])


def _passive(cell: str) -> str:
    return "'" + cell if cell.startswith(_ACTIVE) else cell


def _write_list(path_in: Path, form: text.TextForm, path_out: Path, packed: bool, problems: Told) -> None:
    mark = f"  # {error_heading().upper()}: "
    with _text_file(path_out, "utf-8", packed) as file:
        for number, line in enumerate(text.lines_of(path_in, form.encoding), 1):
            said = _sentences(problems.get(number, ()))
            before = line.partition(mark)[0]
            file.write(before + (mark + said if said else "") + "\n")


@contextmanager
def _text_file(path: Path, encoding: str, packed: bool) -> Iterator[IO[str]]:
    with path.open("wb") as raw:
        if not packed:
            with io.TextIOWrapper(raw, encoding=encoding, newline="") as file:
                yield file
            return
        zipped = cast(BinaryIO, gzip.GzipFile(filename="", fileobj=raw, mode="wb"))
        with io.TextIOWrapper(zipped, encoding=encoding, newline="") as file:
            yield file
