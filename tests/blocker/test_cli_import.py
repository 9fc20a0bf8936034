"""Promises of `proposal import`: it goes to the end, says everything at once, and one correction round suffices."""

from pathlib import Path

import openpyxl
import pytest

from tests.blocker.desk import DECISION, Desk, set_up

SHEET = """Tên miền,Loại,Lý do,Hết hạn
evil-a.example,cờ bạc,Cá cược\u00a0trái phép,31/12/2026
gov.vn,gambling,X,
not a name,gambling,X,
c.test,politics,X,
d.test,gambling,,
192.0.2.0-192.0.2.3,lừa đảo,Giả mạo,
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = set_up(tmp_path)
    made.decide()
    made.run("proposal", "new", "--decision", DECISION)
    (tmp_path / "list.csv").write_text(SHEET)
    return made


def test_good_rows_go_in_and_bad_ones_come_back_with_every_reason(desk: Desk) -> None:
    errors = desk.folder / "errors.csv"
    report = desk.json("proposal", "import", desk.folder / "list.csv", "--proposal", 1, "--errors", errors, code=6)
    assert (report["rows"], report["added"], report["counts"]["refused"]) == (6, 2, 4)
    assert {"floor.training", "name.character", "entry.reason"} <= {r["rule"] for r in report["rules"]}
    back = errors.read_text("utf-8-sig").splitlines()
    assert [line.endswith(",") for line in back[1:]] == [True, False, False, False, False, True]
    assert "guard.vietnam" in back[2]
    corrected = "\n".join([back[0], back[1], "d.test,gambling,Cá cược,,", back[6]])
    errors.write_text(corrected)
    again = desk.json("proposal", "import", errors, "--proposal", 1)
    assert (again["added"], again["counts"]["unchanged"], again["counts"]["refused"]) == (1, 2, 0)


def test_options_fill_what_the_sheet_leaves_out_and_the_sheet_wins(desk: Desk) -> None:
    options = ("--category", "fraud", "--reason", "Theo danh sách", "--expires", "30d")
    desk.run("proposal", "import", desk.folder / "list.csv", "--proposal", 1, *options, code=6)
    added = {rule["target"]: rule for rule in desk.json("proposal", "show", 1)["added"]}
    assert added["evil-a.example"]["category"] == "gambling"
    assert added["evil-a.example"]["expires"] == "2026-12-31T17:00:00+00:00"
    assert "192.0.2.0/30" in added
    assert "d.test" in added


def test_a_plain_list_without_a_category_is_a_usage_error_and_takes_nothing(desk: Desk) -> None:
    (desk.folder / "list.txt").write_text("a.test\nb.test\n")
    done = desk.run("proposal", "import", desk.folder / "list.txt", "--proposal", 1, code=2)
    assert "--category, --reason" in done.stderr
    assert desk.json("proposal", "show", 1)["counts"]["added"] == 0


def test_all_in_is_exit_0_and_a_missing_file_one_sentence(desk: Desk) -> None:
    (desk.folder / "list.txt").write_text("a.test\nb.test\n")
    what = ("--proposal", 1, "--category", "gambling", "--reason", "x")
    desk.run("proposal", "import", desk.folder / "list.txt", *what)
    assert "none.txt" in desk.run("proposal", "import", desk.folder / "none.txt", *what, code=1).stderr
    (desk.folder / "empty.txt").write_text("# nothing\n")
    assert "no line" in desk.run("proposal", "import", desk.folder / "empty.txt", *what, code=1).stderr


@pytest.mark.data
def test_the_gambling_list_goes_in_within_a_minute(desk: Desk, real_list) -> None:  # type: ignore[no-untyped-def]
    names = real_list("gambling-vn.domains.txt.gz")[:2000]
    (desk.folder / "list.txt").write_text("\n".join(name.replace(".", "-") + ".test" for name in names))
    what = ("--proposal", 1, "--category", "gambling", "--reason", "x")
    report = desk.json("proposal", "import", desk.folder / "list.txt", *what)
    assert report["added"] + report["counts"]["unchanged"] == 2000
    plan = desk.run("proposal", "show", 1).stdout
    assert "--all" in plan
    assert len(plan.splitlines()) < 80


def test_a_filled_in_template_is_imported(desk: Desk) -> None:
    sheet = desk.folder / "mẫu.xlsx"
    desk.run("--lang", "vi", "proposal", "template", sheet)
    book = openpyxl.load_workbook(sheet)
    page = book.active
    assert page is not None
    headings = [cell.value for cell in page[1]]
    assert "Tên miền" in str(headings[0]) or "Đối tượng" in str(headings[0]), headings
    page.cell(2, 1, "lừa-đảo.example")
    book.save(sheet)
    number = desk.json("proposal", "new", "--decision", DECISION)["proposal"]
    report = desk.json("proposal", "import", sheet, "--proposal", number, "--category", "fraud", "--reason", "Lừa đảo")
    assert (report["added"], report["refused"]) == (1, []), report


def test_a_sheet_that_is_there_already_is_not_overwritten(desk: Desk) -> None:
    sheet = desk.folder / "morning.xlsx"
    sheet.write_text("somebody's morning")
    done = desk.run("proposal", "template", sheet, code=1)
    assert "exists already" in done.stderr
    assert sheet.read_text() == "somebody's morning"
