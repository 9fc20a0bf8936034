"""Sheets from anywhere: bombs are refused with one sentence before they unfold, and nothing else breaks."""

import csv
import gzip
import io
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocker.sheet import limits, read_sheet, text, workbook
from feeds.errors import Rejected


def refused(path: Path, rule: str) -> Rejected:
    with pytest.raises(Rejected) as told:
        list(read_sheet(path))
    assert told.value.rule == rule, told.value.what
    return told.value


def small_book(path: Path) -> dict[str, bytes]:
    book = openpyxl.Workbook()
    book.active.append(["domain"])
    book.active.append(["evil.vn"])
    book.save(path)
    with zipfile.ZipFile(path) as parts:
        return {name: parts.read(name) for name in parts.namelist()}


def zipped(path: Path, parts: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in parts.items():
            out.writestr(name, content)


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_PLAIN_BYTES", 1 << 20)
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(b"a.vn\n" * 1_000_000))
    error = refused(tmp_path / "x.txt.gz", "sheet.too-large")
    assert error.kept == "nothing was read"
    assert error.then


def test_too_many_lines_are_refused_before_the_first_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_ROWS", 10)
    (tmp_path / "x.txt").write_text("a.vn\n" * 12)
    refused(tmp_path / "x.txt", "sheet.too-large")


def test_a_cut_off_gzip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"abcdefgh.vn\n" * 5000)[:-20])
    refused(tmp_path / "x.gz", "sheet.damaged")


def test_a_zip_bomb_whose_directory_lies_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_PLAIN_BYTES", 1 << 20)
    path = tmp_path / "x.xlsx"
    parts = small_book(path)
    parts["xl/worksheets/sheet1.xml"] += b" " * (50 << 20)
    zipped(path, parts)
    raw = path.read_bytes().replace(struct.pack("<I", len(parts["xl/worksheets/sheet1.xml"])), struct.pack("<I", 100))
    path.write_bytes(raw)
    refused(path, "sheet.too-large")


def test_a_sheet_that_claims_its_last_cell_at_the_far_corner_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    parts = small_book(path)
    sheet = parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = sheet.replace(b'r="A2"', b'r="XFD1048576"')
    assert parts["xl/worksheets/sheet1.xml"] != sheet
    zipped(path, parts)
    refused(path, "sheet.too-large")


def test_one_long_text_referred_to_a_million_times_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    parts = small_book(path)
    cells = b"".join(b'<row r="%d"><c r="A%d" t="s"><v>0</v></c></row>' % (n, n) for n in range(1, 60_001))
    parts["xl/worksheets/sheet1.xml"] = (
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        + cells
        + b"</sheetData></worksheet>"
    )
    parts["xl/sharedStrings.xml"] = (
        b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>'
        + b"x" * 30_000
        + b"</t></si></sst>"
    )
    zipped(path, parts)
    refused(path, "sheet.too-large")


def test_other_spreadsheets_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    assert "xlsx" in refused(tmp_path / "x.xls", "sheet.format").then
    (tmp_path / "x.xlsx").write_bytes(b"PK\x03\x04" + bytes(200))
    refused(tmp_path / "x.xlsx", "sheet.damaged")
    zipped(tmp_path / "y.xlsx", {"a.txt": b"no workbook"})
    refused(tmp_path / "y.xlsx", "sheet.damaged")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.csv", "sheet.unreadable").then
    refused(tmp_path, "sheet.unreadable")


def test_an_overlong_field_costs_its_row_and_no_other(tmp_path: Path) -> None:
    size = csv.field_size_limit() + 10
    (tmp_path / "x.csv").write_text("domain,reason\na-1.vn,x\n" + "y" * size + ",z\na-2.vn,x\n")
    rows = list(read_sheet(tmp_path / "x.csv"))
    assert [row.place for row in rows if row.problems] == ["row 3"]
    assert [str(p.target) for row in rows for p in row.targets] == ["a-1.vn", "a-2.vn"]


def test_an_overlong_line_and_a_binary_file_give_problems_not_faults(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("a" * (limits.MAX_CELL_CHARS + 1) + ".vn\n")
    assert [p.rule for row in read_sheet(tmp_path / "x.txt") for p in row.problems]
    (tmp_path / "y.txt").write_bytes(bytes(range(256)) * 20)
    assert all(row.problems or row.targets for row in read_sheet(tmp_path / "y.txt"))


@given(content=st.binary(max_size=400), name=st.sampled_from(["x.txt", "x.csv", "x.xlsx"]))
def test_whatever_the_bytes_reading_ends_in_rows_or_one_rejection(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    with suppress(Rejected):
        for row in read_sheet(path):
            assert row.place.startswith("row ")


@given(flips=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_workbook_is_rejected_or_read(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("flip") / "x.xlsx"
    small_book(path)
    raw = bytearray(path.read_bytes())
    for place, value in flips:
        raw[place % len(raw)] = value
    path.write_bytes(raw)
    with suppress(Rejected):
        list(read_sheet(path))


def test_what_the_directory_says_of_places_is_not_trusted(tmp_path: Path) -> None:
    """A directory entry that points outside the file is a damaged file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr("a.xml", b"<sheetData/>")
    raw = bytearray(buffer.getvalue())
    raw[-22 - 5 - 4 : -22 - 5] = struct.pack("<I", 0x7FFFFFF0)
    (tmp_path / "x.xlsx").write_bytes(raw)
    refused(tmp_path / "x.xlsx", "sheet.damaged")
