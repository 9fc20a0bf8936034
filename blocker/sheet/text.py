"""Text files: gzip, byte order marks, UTF-8, UTF-16, windows-1258; bounded, and read as a stream."""

import codecs
import csv
import gzip
import io
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from blocker.sheet import words
from blocker.sheet.limits import MAX_CELL_CHARS, MAX_COLUMNS, MAX_FILE_BYTES, MAX_PLAIN_BYTES, MAX_ROWS
from feeds.errors import Rejected
from feeds.language import _

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class TextForm:
    """How a text file is written. `delimiter` is empty for a plain list, one target a line."""

    encoding: str
    delimiter: str
    skip: int = 0  # lines before the data: Excel's `sep=;`


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The plain bytes of a file, gunzipped if need be. Faults become Rejected with their reason."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise too_large(path)
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise Rejected(
            _("{path} is damaged: {why}").format(path=path, why=error),
            rule="sheet.damaged",
            kept=_("nothing was read"),
            then=_("fetch or save the file again"),
        ) from error
    except OSError as error:
        raise Rejected(
            _("{path} cannot be read: {why}").format(path=path, why=error.strerror or error),
            rule="sheet.unreadable",
            kept=_("nothing was read"),
            then=_("check the path and its permissions"),
        ) from error


def too_large(path: Path) -> Rejected:
    return Rejected(
        _(
            "{path} is larger than a sheet may be: {file} MB, unpacked {plain} MB, {rows} rows, {columns} columns"
        ).format(path=path, file=MAX_FILE_BYTES >> 20, plain=MAX_PLAIN_BYTES >> 20, rows=MAX_ROWS, columns=MAX_COLUMNS),
        rule="sheet.too-large",
        kept=_("nothing was read"),
        then=_("split it into several sheets"),
    )


def form_of(path: Path) -> TextForm:
    """Look through the whole file once: encoding, bounds, and whether it is a table."""
    with opened(path) as stream:
        head = stream.read(4096)
        encoding = _marked(head)
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        size, lines, chunk = 0, 0, head
        good = True
        while chunk:
            size += len(chunk)
            lines += chunk.count(b"\n")
            if size > MAX_PLAIN_BYTES or lines > MAX_ROWS:
                raise too_large(path)
            if good and not encoding:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    good = False
            chunk = stream.read(_CHUNK)
    if not encoding:
        # Old Vietnamese spreadsheets; every byte string can be read so, and what is no name will be told row by row.
        encoding = "utf-8" if good else "cp1258"
    return _table(path, encoding, head)


def lines_of(path: Path, encoding: str) -> Iterator[str]:
    """The lines without their ends, in NFC, cut at the length limit."""
    with opened(path) as stream:
        for line in io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline=None):
            text = line.rstrip("\n")
            yield text if text.isascii() else unicodedata.normalize("NFC", text)


def records_of(path: Path, form: TextForm) -> Iterator[tuple[int, list[str] | None]]:
    """Number and cells of each record; None for one that cannot be split."""
    with opened(path) as stream:
        text = io.TextIOWrapper(stream, encoding=form.encoding, errors="replace", newline="")
        for _line in range(form.skip):
            text.readline()
        reader = csv.reader(text, delimiter=form.delimiter or ",")
        number = form.skip
        while True:
            number += 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield number, None
                continue
            yield number, [_cell(cell) for cell in cells[:MAX_COLUMNS]]


def _cell(text: str) -> str:
    text = text[: MAX_CELL_CHARS + 1]
    # The quote that `write_errors` puts before what a spreadsheet would take for a formula.
    if len(text) > 1 and text[0] == "'" and text[1] in "=+-@\t\r":
        text = text[1:]
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _marked(head: bytes) -> str:
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head[1:64:2].count(0) > len(head[1:64:2]) // 2 > 0:
        return "utf-16-le"
    if head[0:64:2].count(0) > len(head[0:64:2]) // 2 > 0:
        return "utf-16-be"
    return ""


def _table(path: Path, encoding: str, head: bytes) -> TextForm:
    first = [line for line in head.decode(encoding, errors="ignore").splitlines()[:20] if line.strip()]
    skip = 0
    if first and first[0].lower().startswith("sep=") and len(first[0]) >= 5:
        return TextForm(encoding, first[0][4], 1)
    name = path.name.lower().removesuffix(".gz")
    best, known = "", 0
    for delimiter in (";", ",", "\t"):
        for line in first:
            cells = next(csv.reader([line], delimiter=delimiter), [])
            found = sum(words.heading(cell) is not None for cell in cells) if len(cells) > 1 else 0
            if found > known:
                best, known = delimiter, found
    if not known and name.endswith((".csv", ".tsv")):
        line = first[0] if first else ""
        best = max((";", ",", "\t"), key=line.count) if first else ","
    if known < 2 and not name.endswith((".csv", ".tsv")):
        best = ""
    return TextForm(encoding, best, skip)
