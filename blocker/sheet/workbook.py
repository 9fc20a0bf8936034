"""xlsx files. They are zip files full of XML from anywhere, so they are measured before the reader sees them."""

import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

from blocker.sheet.limits import MAX_CELL_CHARS, MAX_COLUMNS, MAX_PLAIN_BYTES, MAX_ROWS, MAX_XLSX_CELLS
from blocker.sheet.text import opened, too_large
from feeds.errors import Rejected
from feeds.language import _

Cell = str | int | float | bool | date | datetime | time | timedelta
Record = tuple[int, list[Cell] | list[str] | None]
MAX_PARTS = 2000
MAX_STRING_BYTES = 1 << 30  # of all cells together: many cells may refer to one long string
_REFERENCE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{0,3})([0-9]{1,10})["']""")
_SHARED = re.compile(rb"""\bt\s*=\s*["']s["'][^>]*>\s*<(?:\w+:)?v>\s*([0-9]{1,9})""")
_LOCAL_HEADER_BYTES = 30


def records_of(path: Path) -> Iterator[tuple[int, list[Cell]]]:
    """Number (as the spreadsheet counts) and cells of each row of the first visible sheet."""
    try:
        measure(path)
        with CalamineWorkbook.from_path(path) as book:
            visible = [
                sheet.name
                for sheet in book.sheets_metadata
                if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
            ]
            if not visible:
                raise Rejected(_("{path} has no sheet with rows").format(path=path), rule="sheet.empty")
            sheet = book.get_sheet_by_name(visible[0])
            start = sheet.start
            # The reader gives empty rows before the first one, but no empty columns.
            left: list[Cell] = [""] * (start[1] if start else 0)
            for number, cells in enumerate(sheet.iter_rows(), 1):
                yield number, left + [cell[: MAX_CELL_CHARS + 1] if isinstance(cell, str) else cell for cell in cells]
    except PasswordError:
        raise Rejected(
            _("{path} is protected by a password").format(path=path),
            rule="sheet.password",
            kept=_("nothing was read"),
            then=_("save it without a password"),
        ) from None
    except (CalamineError, zipfile.BadZipFile, zlib.error, struct.error, EOFError) as error:
        raise Rejected(
            _("{path} is no xlsx file that can be read: {why}").format(path=path, why=error),
            rule="sheet.damaged",
            kept=_("nothing was read"),
            then=_("open it in the spreadsheet program and save it again as xlsx"),
        ) from error


def measure(path: Path) -> None:
    """Unfold every part, counting; raises Rejected if the workbook is larger than it may be.

    What a zip file's directory says of sizes is not believed.
    """
    with opened(path) as raw, zipfile.ZipFile(raw) as parts:
        infos = parts.infolist()
        if len(infos) > MAX_PARTS:
            raise too_large(path)
        left, cells = MAX_PLAIN_BYTES, 0
        lengths: list[int] = []
        used: Counter[bytes] = Counter()
        for info in infos:
            raw.seek(info.header_offset)
            header = raw.read(_LOCAL_HEADER_BYTES)
            name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
            raw.seek(name_bytes + extra_bytes, 1)
            plain = _inflated(path, raw.read(info.compress_size), info.compress_type, left)
            left -= len(plain)
            if b"<sst" in plain or b":sst" in plain:
                lengths = [len(part) for part in re.split(rb"</(?:\w+:)?si>", plain)]
            if b"sheetData" in plain:
                cells += _rectangle(path, plain)
                used.update(_SHARED.findall(plain))
    held = sum(count * lengths[int(n)] for n, count in used.items() if int(n) < len(lengths))
    if cells > MAX_XLSX_CELLS or held > MAX_STRING_BYTES:
        raise too_large(path)


def _inflated(path: Path, packed: bytes, method: int, most: int) -> bytes:
    if method == zipfile.ZIP_STORED:
        plain = packed
    elif method == zipfile.ZIP_DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = unpacker.decompress(packed, most + 1)
    else:
        raise zipfile.BadZipFile(f"compression method {method}")
    if len(plain) > most:
        raise too_large(path)
    return plain


def _rectangle(path: Path, xml: bytes) -> int:
    """Cells of the rectangle that the reader will lay out for this sheet."""
    rows = columns = placed = 0
    for found in _REFERENCE.finditer(xml):
        letters, digits = found.groups()
        rows = max(rows, int(digits))
        if letters:
            placed += 1
            column = 0
            for letter in letters.upper():
                column = column * 26 + letter - 64
            columns = max(columns, column)
    # Cells without a reference stand one after the other.
    columns += max(0, len(re.findall(rb"<(?:\w+:)?c[\s/>]", xml)) - placed)
    if rows > MAX_ROWS or columns > MAX_COLUMNS:
        raise too_large(path)
    return rows * columns
