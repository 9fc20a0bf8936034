"""What officers hand in is read to its end: every dress of a list, every heading, every fault with its place."""

import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import openpyxl
import pytest

from blocker.sheet import SheetRow, parse_targets, read_sheet
from blocker.sheet.words import CATEGORIES, heading
from blocker.sheet.words import category as category_of
from feeds.errors import Rejected
from feeds.rule import CATEGORY_WORDS, Action, Category, Limits, Scope

TABLE = (
    "STT;Tên miền;Loại vi phạm;Lý do;Hết hạn;Phạm vi\r\n"
    "1;cobac-a.vn;Cờ bạc;Tổ chức đánh bạc;31/12/2026;cả tên miền con\r\n"
    "2;http://Ví-Dụ-lừa.vn/đăng-nhập;LỪA ĐẢO;Giả trang ngân hàng;2026-12-31;chỉ tên này\r\n"
)


def written(path: Path, content: bytes | str, encoding: str = "utf-8") -> list[SheetRow]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return list(read_sheet(path))


def texts(rows: list[SheetRow]) -> list[str]:
    return [str(parsed.target) for row in rows for parsed in row.targets]


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("evil.vn", ["evil.vn"]),
        ("=evil.vn", ["=evil.vn"]),
        ("*.evil.vn", ["evil.vn"]),
        ("||evil.vn^", ["evil.vn"]),
        ("||evil.vn^$third-party", ["evil.vn"]),
        ("hxxps://evil[.]vn/x?y", ["evil.vn"]),
        ("EVIL.VN.", ["evil.vn"]),
        ("192.0.2.1", ["192.0.2.1/32"]),
        ("192[.]0[.]2[.]1", ["192.0.2.1/32"]),
        ("192.0.2.0/24", ["192.0.2.0/24"]),
        ("192.0.2.0/255.255.255.0", ["192.0.2.0/24"]),
        ("192.0.2.1-192.0.2.2", ["192.0.2.1/32", "192.0.2.2/32"]),
        ("192.0.2.4 - 192.0.2.7", ["192.0.2.4/30"]),
        ("192.0.2.1:8080", ["192.0.2.1/32"]),
        ("http://192.0.2.1/casino", ["192.0.2.1/32"]),
        ("2001:db8::1", ["2001:db8::1/128"]),
        ("2001:db8::/48", ["2001:db8::/48"]),
        ("http://[2001:db8::1]:80/", ["2001:db8::1/128"]),
    ],
)
def test_a_target_in_any_dress(text: str, targets: list[str]) -> None:
    assert [str(parsed.target) for parsed in parse_targets(text)] == targets


@pytest.mark.parametrize("text", ["https://evil.vn/page", "http://192.0.2.1/casino"])
def test_what_a_link_loses_is_told(text: str) -> None:
    (parsed,) = parse_targets(text)
    assert parsed.path_dropped
    assert any("/" in note for note in parsed.notes)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("192.0.2.1/24", "prefix.host-bits"),
        ("::ffff:192.0.2.1", "prefix.mapped"),
        ("192.0.2.9-192.0.2.1", "prefix.range"),
        ("evil..vn", "name.empty-label"),
        ("evil vn", "name.character"),
        ("", "name.empty"),
    ],
)
def test_a_fault_has_its_rule(text: str, rule: str) -> None:
    with pytest.raises(Rejected) as told:
        parse_targets(text)
    assert told.value.rule == rule


def test_a_scope_said_elsewhere_wins_over_the_default() -> None:
    assert str(parse_targets("evil.vn", Scope.EXACT)[0].target) == "=evil.vn"


def test_a_plain_list_with_comments_hosts_lines_and_adblock_lines(tmp_path: Path) -> None:
    rows = written(
        tmp_path / "list.txt",
        "# danh sách\n! Title: x\n[Adblock Plus 2.0]\n\ncobac-a.vn\ncobac-b.vn # ghi chú\n"
        "0.0.0.0 cobac-c.vn\n127.0.0.1\tlocalhost\n||cobac-d.vn^\n@@||tot.vn^\nhttp://cobac-e.vn/#neo\n",
    )
    assert texts(rows) == ["cobac-a.vn", "cobac-b.vn", "=cobac-c.vn", "cobac-d.vn", "cobac-e.vn"]
    assert [(p.place, p.rule) for row in rows for p in row.problems] == [("row 10", "sheet.exception")]


def test_reading_goes_on_to_the_end_and_says_every_fault_with_its_place(tmp_path: Path) -> None:
    rows = written(tmp_path / "list.txt", "a b\ncobac-a.vn\n300.1.1.1\ncobac-b.vn\n..\n")
    assert texts(rows) == ["cobac-a.vn", "cobac-b.vn"]
    assert [row.place for row in rows if row.problems] == ["row 1", "row 3", "row 5"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_a_table_in_every_encoding_and_with_every_delimiter(tmp_path: Path, encoding: str, delimiter: str) -> None:
    one, two = written(tmp_path / "sheet.csv", TABLE.replace(";", delimiter), encoding)
    assert (one.place, texts([one]), one.category) == ("row 2", ["cobac-a.vn"], Category.GAMBLING)
    assert one.reason == "Tổ chức đánh bạc"
    assert (one.scope, two.scope) == (Scope.SUBTREE, Scope.EXACT)
    assert two.category is Category.FRAUD
    assert two.path_dropped
    assert not one.problems + two.problems
    # The whole last day in Vietnam, UTC+7.
    assert one.expires == two.expires == datetime(2026, 12, 31, 17, tzinfo=UTC)


def test_an_old_vietnamese_code_page_is_read_as_such(tmp_path: Path) -> None:
    # windows-1258 writes most tones as marks of their own after the vowel.
    text = "Tên miê\u0300n;Ly\u0301 do\ncobac-a.vn;Cơ\u0300 bă\u0301c\n"
    (row,) = written(tmp_path / "old.csv", text, "cp1258")
    assert texts([row]) == ["cobac-a.vn"]
    assert row.reason == "Cờ bắc"


def test_the_tab_separated_text_that_excel_saves_as_unicode_is_a_table(tmp_path: Path) -> None:
    assert len(written(tmp_path / "unicode.txt", TABLE.replace(";", "\t"), "utf-16")) == 2


def test_a_letterhead_above_the_table_and_excels_sep_line_are_skipped(tmp_path: Path) -> None:
    letter = "UBND TỈNH;;;;;\r\nSỞ THÔNG TIN;;;;;\r\n;;;;;\r\n"
    rows = written(tmp_path / "letter.csv", letter + TABLE)
    assert [row.place for row in rows] == ["row 5", "row 6"]
    assert len(written(tmp_path / "sep.csv", "sep=;\r\n" + TABLE)) == 2


def test_a_table_without_headings_gives_its_first_column(tmp_path: Path) -> None:
    assert texts(written(tmp_path / "bare.csv", "cobac-a.vn,1\ncobac-b.vn,2\n")) == ["cobac-a.vn", "cobac-b.vn"]


def test_headings_are_found_in_any_case_with_or_without_diacritics() -> None:
    for typed in ("TÊN MIỀN", "ten mien", "Tên  miền:", "Domain", "ĐỊA CHỈ IP", "dia chi ip", "đối tượng"):
        assert heading(typed) == "target", typed
    for typed, column in {"HẾT HẠN": "expires", "Ly do": "reason", "Cổng": "ports", "Chứng cứ": "evidence"}.items():
        assert heading(typed) == column
    assert heading("Ghi chú") == ""
    assert heading("màu sắc") is None


def test_every_category_has_its_words_and_no_word_means_two() -> None:
    for category in Category:
        assert category_of(str(category)) is category
        assert category_of(CATEGORY_WORDS[category]) is category
        for word in CATEGORIES[category]:
            assert category_of(word.upper()) is category, word
    assert category_of("chính trị") is None


def test_an_xlsx_with_excel_dates_numbers_and_two_columns_of_targets(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet["B3"] = "Tên miền"
    for place, text in {"C3": "Địa chỉ IP", "D3": "Loại", "E3": "Hết hạn", "F3": "Giao thức", "G3": "Cổng"}.items():
        sheet[place] = text
    sheet.append([None, "cobac-a.vn", "192.0.2.1", "cờ bạc", date(2026, 12, 31), None, None])
    sheet.append([])
    sheet.append([None, None, "192.0.2.4-192.0.2.7", "gambling", 46387, "TCP", 443])
    book.save(tmp_path / "sheet.xlsx")
    one, two = read_sheet(tmp_path / "sheet.xlsx")
    assert (one.place, two.place) == ("row 4", "row 6")
    assert texts([one]) == ["cobac-a.vn", "192.0.2.1/32"]
    assert texts([two]) == ["192.0.2.4/30"]
    assert one.expires == two.expires == datetime(2026, 12, 31, 17, tzinfo=UTC)
    assert two.limits == Limits("tcp", ((443, 443),))
    assert not one.problems + two.problems


def test_every_cell_at_fault_is_told_in_one_round(tmp_path: Path) -> None:
    (row,) = written(
        tmp_path / "bad.csv",
        "domain,category,expiry,scope,action,ports,evidence\nevil..vn,politics,31/02/2026,wide,shoot,443,abc\n",
    )
    assert {p.rule for p in row.problems} == {
        "name.empty-label", "sheet.category", "sheet.expires", "sheet.scope", "sheet.action", "limits.form",
        "sheet.evidence",
    }  # fmt: skip
    assert {p.place for p in row.problems} == {"row 2"}


def test_a_row_with_words_and_no_target_is_told(tmp_path: Path) -> None:
    (row,) = written(tmp_path / "x.csv", "domain,reason\n,quên tên miền\n,\n")
    assert [p.rule for p in row.problems] == ["sheet.no-target"]


def test_an_unknown_column_is_told_once_and_not_read(tmp_path: Path) -> None:
    one, two = written(tmp_path / "x.csv", "domain,hêt hạnn\na-1.vn,31/12/2026\na-2.vn,31/12/2026\n")
    assert [(w.place, w.rule) for w in one.warnings + two.warnings] == [("row 1", "sheet.column")]
    assert one.expires is None


def test_a_repeated_target_is_warned_of_with_the_first_rows_place(tmp_path: Path) -> None:
    rows = written(tmp_path / "x.txt", "a-1.vn\na-2.vn\nHTTP://A-1.vn\n=a-1.vn\n192.0.2.1\n192.0.2.1/32\n")
    told = [(w.place, w.message) for row in rows for w in row.warnings]
    assert told == [
        ("row 3", "a-1.vn stands already in row 1"),
        ("row 6", "192.0.2.1/32 stands already in row 5"),
    ]


def test_one_prefix_with_other_ports_is_no_repetition(tmp_path: Path) -> None:
    rows = written(tmp_path / "x.csv", "ip,ports\n192.0.2.1,tcp/80\n192.0.2.1,tcp/443\n")
    assert not [w for row in rows for w in row.warnings]


def test_actions_and_evidence_are_typed(tmp_path: Path) -> None:
    digest = "a" * 64
    (row,) = written(tmp_path / "x.csv", f"domain,hành động,chứng cứ\na-1.vn,chặn,SHA256:{digest.upper()}\n")
    assert row.action is Action.NXDOMAIN
    assert row.evidence == digest


def test_a_gzipped_list_is_read_by_its_content_not_its_name(tmp_path: Path) -> None:
    assert texts(written(tmp_path / "x.txt", gzip.compress(b"a-1.vn\n"))) == ["a-1.vn"]


def test_a_million_lines_cost_little_memory_and_seconds(tmp_path: Path) -> None:
    import time
    import tracemalloc

    (tmp_path / "x.txt").write_text("".join(f"cobac-{n}.vn\n" for n in range(60_000)))
    started = time.perf_counter()
    assert sum(len(row.targets) for row in read_sheet(tmp_path / "x.txt")) == 60_000
    assert time.perf_counter() - started < 6, "about 2 seconds are promised for 65,759 lines"
    tracemalloc.start()
    rows = read_sheet(tmp_path / "x.txt")
    for _n in range(1000):
        next(rows)
    assert tracemalloc.get_traced_memory()[1] < 3_000_000, "rows are streamed, not gathered"
    tracemalloc.stop()
