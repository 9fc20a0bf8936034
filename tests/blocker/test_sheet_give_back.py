"""The same sheet comes back with its errors, harmless to open, and reads as before once it is corrected."""

import gzip
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import openpyxl
import pytest

from blocker.sheet import SheetRow, read_sheet, write_errors, write_template
from feeds.errors import Problem, Rejected, Unavailable
from feeds.language import speak
from feeds.rule import Category

MORNING = datetime(2026, 12, 31, 8, 30)  # noqa: DTZ001 - a spreadsheet's cell has no zone
FORMULA = '=HYPERLINK("http://evil.vn";"lý do")'


def told(path: Path) -> dict[int, tuple[Problem, ...]]:
    return {row.number: row.problems for row in read_sheet(path) if row.problems}


def read(path: Path) -> list[SheetRow]:
    return list(read_sheet(path))


def book_of(path: Path, rows: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def test_an_xlsx_comes_back_with_an_error_column_and_one_correction_suffices(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["Danh sách tháng 11"],
        ["Tên miền", "Loại", "Lý do", "Hết hạn", "Cổng"],
        ["cobac-a.vn", "cờ bạc", "Tổ chức đánh bạc", date(2026, 12, 31), None],
        ["cobac b.vn", "chính trị", "Ví dụ", date(2026, 12, 31), None],
        [],
        ["192.0.2.1", "cờ bạc", "Máy chủ", MORNING, 443],
    ]
    path = book_of(tmp_path / "in.xlsx", rows)
    problems = told(path)
    assert {p.rule for p in problems[4]} == {"name.character", "sheet.category"}
    write_errors(path, tmp_path / "out.xlsx", problems)
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    assert [c.value for c in sheet[2]] == [*rows[1], "Errors"]
    assert sheet["F3"].value is None
    assert "[name.character]" in sheet["F4"].value
    assert "[sheet.category]" in sheet["F4"].value
    assert sheet["C3"].value == "Tổ chức đánh bạc"
    assert sheet["D3"].value.date() == date(2026, 12, 31)
    assert sheet["E6"].value == 443
    sheet["A4"], sheet["B4"] = "cobac-b.vn", "cờ bạc"
    sheet["E6"] = "tcp/443"
    sheet.parent.save(tmp_path / "corrected.xlsx")
    corrected = read(tmp_path / "corrected.xlsx")
    assert [row.number for row in corrected] == [3, 4, 6]
    assert not [p for row in corrected for p in row.problems + row.warnings], "the old error column is not read"
    assert corrected[0].expires == datetime(2026, 12, 31, 17, tzinfo=UTC)
    assert corrected[2].expires == datetime(2026, 12, 31, 1, 30, tzinfo=UTC)


def test_a_second_round_replaces_the_error_column(tmp_path: Path) -> None:
    path = book_of(tmp_path / "in.xlsx", [["domain", "Errors"], ["a b", "old words"], ["a-1.vn", "old words"]])
    write_errors(path, tmp_path / "out.xlsx", told(path))
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    assert [c.value for c in sheet[1]] == ["domain", "Errors"]
    assert "old words" not in (sheet["B2"].value, sheet["B3"].value)


def test_no_text_of_an_xlsx_becomes_a_formula_or_a_link(tmp_path: Path) -> None:
    path = tmp_path / "in.xlsx"
    book = openpyxl.Workbook()
    book.active.append(["domain", "reason"])
    book.active.append(["a b", FORMULA])
    book.active["B2"].data_type = "s"
    book.active.append(["http://evil.vn/x y", "@SUM(A1)"])
    book.save(path)
    assert read(path)[0].reason == FORMULA
    write_errors(path, tmp_path / "out.xlsx", told(path))
    with zipfile.ZipFile(tmp_path / "out.xlsx") as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml")
        assert b"<f>" not in sheet
        assert b"hyperlink" not in sheet
    assert read(tmp_path / "out.xlsx")[0].reason == FORMULA


def test_a_csv_comes_back_for_excel_with_its_delimiter_and_without_live_formulas(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f'Tên miền;Lý do\na b;"{FORMULA.replace(chr(34), chr(34) * 2)}"\n\n-a.vn;+1\n', "utf-8")
    write_errors(path, tmp_path / "out.csv", told(path))
    raw = (tmp_path / "out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf"), "or Excel takes it for the old code page"
    lines = raw.decode("utf-8-sig").split("\r\n")
    assert lines[0] == "Tên miền;Lý do;Errors"
    assert lines[1].startswith("a b;\"'=HYPERLINK")
    assert "[name.character]" in lines[1]
    assert lines[3] == "'-a.vn;'+1;"
    again = read(tmp_path / "out.csv")
    assert [row.number for row in again] == [2, 4]
    assert again[0].reason == FORMULA
    assert str(again[1].targets[0].target) == "-a.vn"


def test_a_list_comes_back_with_comments_that_reading_ignores(tmp_path: Path) -> None:
    path = tmp_path / "in.txt.gz"
    path.write_bytes(gzip.compress("# đầu\na b\ncobac.vn\n".encode()))
    write_errors(path, tmp_path / "out.txt.gz", told(path))
    text = gzip.decompress((tmp_path / "out.txt.gz").read_bytes()).decode()
    assert text.splitlines()[0] == "# đầu"
    assert text.splitlines()[1].startswith("a b  # ERRORS: «a b», character 2")
    assert text.splitlines()[2] == "cobac.vn"
    (tmp_path / "corrected.txt").write_text(text.replace("a b ", "a-b.vn "))
    assert [str(p.target) for row in read(tmp_path / "corrected.txt") for p in row.targets] == ["a-b.vn", "cobac.vn"]
    write_errors(tmp_path / "corrected.txt", tmp_path / "twice.txt", {2: (Problem("row 2", "x", "new"),)})
    assert (tmp_path / "twice.txt").read_text().splitlines()[1] == "a-b.vn  # ERRORS: new [x]"


def test_the_column_speaks_the_officers_language(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("domain,reason\na b,x\n")
    try:
        speak("vi")
        write_errors(path, tmp_path / "out.csv", {2: (Problem("", "x", "sai"),)})
    finally:
        speak("en")
    header = (tmp_path / "out.csv").read_text("utf-8-sig").splitlines()[0]
    assert header in ("domain,reason,Lỗi", "domain,reason,Errors")
    assert not read(tmp_path / "out.csv")[0].warnings


def test_a_sheet_is_never_written_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("domain\na b\n")
    with pytest.raises(Rejected, match="over itself"):
        write_errors(path, path, {})
    assert path.read_text() == "domain\na b\n"


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    for name in ("in.csv", "in.xlsx"):
        path = tmp_path / name
        if name == "in.csv":
            path.write_text("domain,reason\na b,x\n")
        else:
            book_of(path, [["domain"], ["a b"]])
        with pytest.raises(Unavailable, match="cannot be written"):
            write_errors(path, tmp_path / "missing" / name, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "in.xlsx"]


@pytest.mark.parametrize(("language", "first", "choice"), [("vi", "Đối tượng", "Cờ bạc"), ("en", "Target", "gambling")])
def test_a_template_is_understood_when_filled_in(tmp_path: Path, language: str, first: str, choice: str) -> None:
    path = tmp_path / "template.xlsx"
    write_template(path, language)
    book = openpyxl.load_workbook(path)
    sheet = book.active
    assert sheet["A1"].value == first
    lists = [v.formula1.strip('"').split(",") for v in sheet.data_validations.dataValidation]
    assert len(lists[0]) == len(Category)
    assert choice.casefold() in [word.casefold() for word in lists[0]]
    for place, text in {"A2": "cobac-a.vn", "B2": choice, "C2": "lý do", "D2": date(2026, 12, 31)}.items():
        sheet[place] = text
    sheet["E2"] = lists[1][0]
    book.save(tmp_path / "filled.xlsx")
    (row,) = read(tmp_path / "filled.xlsx")
    assert row.category is Category.GAMBLING
    assert row.scope is not None
    assert row.expires == datetime(2026, 12, 31, 17, tzinfo=UTC)
    assert not row.problems + row.warnings
