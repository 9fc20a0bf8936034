"""An empty sheet to fill in: headings, a list of categories to choose from, the form of dates."""

import os
from pathlib import Path

import xlsxwriter
from xlsxwriter.exceptions import XlsxWriterException

from blocker.sheet import words
from blocker.sheet.give_back import SAFE_WORKBOOK
from feeds.errors import Unavailable
from feeds.language import _
from feeds.rule import Category, Scope

WIDTHS = {"target": 40, "category": 28, "reason": 50, "expires": 14, "scope": 20, "ports": 18, "evidence": 66}
ROWS = 10_000  # as far as the lists to choose from reach


def write_template(path: Path, language: str) -> None:
    """Write an xlsx to fill in, headed in `language` (`vi` or `en`). Raises Unavailable if it cannot be written."""
    number = 0 if language == "vi" else 1
    categories = [words.CATEGORY_VI[c] if language == "vi" else str(c) for c in Category]
    scopes = [words.SCOPES[s][0] if language == "vi" else str(s) for s in Scope]
    started = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        book = xlsxwriter.Workbook(str(started), SAFE_WORKBOOK)
        try:
            sheet = book.add_worksheet()
            bold, as_text = book.add_format({"bold": True}), book.add_format({"num_format": "@"})
            as_date = book.add_format({"num_format": "dd/mm/yyyy"})
            for column, (name, wide) in enumerate(WIDTHS.items()):
                sheet.set_column(column, column, wide, as_date if name == "expires" else as_text)
                sheet.write_string(0, column, words.HEADINGS[name][number].capitalize(), bold)
            sheet.freeze_panes(1, 0)
            for name, choices in (("category", categories), ("scope", scopes)):
                column = list(WIDTHS).index(name)
                sheet.data_validation(1, column, ROWS, column, {"validate": "list", "source": choices})
        finally:
            book.close()
        started.replace(path)
    except (OSError, XlsxWriterException) as error:
        raise Unavailable(
            _("{path} cannot be written: {why}").format(path=path, why=error),
            kept=_("nothing was written"),
            then=_("make room or name another file"),
        ) from error
    finally:
        started.unlink(missing_ok=True)
