"""Promises of the questions: asked on a terminal only, explained, repeated until right; a script never hangs."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blocker.cli.ask import Secrets, tidy
from blocker.cli.when import read_day, read_expiry, read_start
from feeds.errors import Rejected
from tests.blocker.desk import PASSPHRASE, Desk, set_up
from tests.blocker.pty_session import Session

NOW = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)


def test_a_person_records_a_decision_in_vietnamese_at_a_terminal(tmp_path: Path) -> None:
    desk = set_up(tmp_path)
    at = Session("decision", "add", BLOCKER_LANG="vi", BLOCKER_REGISTER=str(tmp_path / "register.db"))
    at.answer("Mã cán bộ của quý vị:", "an")
    at.answer("Số, ký hiệu quyết định:", "7/QĐ-UBND")
    at.answer("Gọi trong sổ đăng ký là [7/QĐ-UBND]:", "")
    at.answer("Cơ quan ban hành:", "Ủy ban nhân dân")
    at.answer("Ngày ban hành (dd/mm/yyyy):", "31/02/2026")
    at.expect("không có ngày này")
    at.answer("Ngày ban hành (dd/mm/yyyy):", "24/11/2026")
    at.answer("Trích yếu:", "  Ngăn chặn\u00a0trang   cờ bạc ")
    at.answer("Căn cứ pháp lý:", "Luật")
    at.answer("Nơi nhận khiếu nại:", "k@ubnd.example")
    at.answer("Tệp văn bản đã ký", "")
    at.answer("Tòa án", "")
    at.answer("Số bản án", "")
    at.expect("Tiếp theo, mở đề xuất")
    assert at.end() == 0
    view = desk.json("decision", "show", "7/QĐ-UBND")
    assert (view["subject"], view["date"]) == ("Ngăn chặn trang cờ bạc", "2026-11-24")


def test_a_reviewer_confirms_at_a_terminal_and_may_mistype_the_passphrase(tmp_path: Path) -> None:
    desk = set_up(tmp_path)
    desk.decide()
    desk.propose("https://shop.test/page")
    at = Session(
        "review",
        "approve",
        BLOCKER_REGISTER=str(tmp_path / "register.db"),
        BLOCKER_OFFICER="binh",
        BLOCKER_KEY=str(tmp_path / "officer-keys" / "binh.pem"),
    )
    at.answer("Number of the proposal [1]:", "")
    at.expect("1 to confirm")
    at.answer("Passphrase of", "wrong horse")
    at.expect("does not open")
    at.answer("Passphrase of", PASSPHRASE)
    at.answer("Must it be blocked all the same? (yes/no) [no]:", "y")
    at.answer("Reason:", "The whole host is the shop")
    at.answer("Approve proposal 1? (yes/no) [no]:", "yes")
    assert at.end() == 0
    assert PASSPHRASE not in at.screen
    assert desk.json("entry", "show", "shop.test")["state"] == "active"


COMMANDS = [
    ("register", "init"),
    ("register", "verify"),
    ("decision", "add"),
    ("proposal", "new"),
    ("proposal", "add"),
    ("proposal", "import"),
    ("proposal", "sign"),
    ("proposal", "show"),
    ("proposal", "extend"),
    ("proposal", "withdraw"),
    ("proposal", "drop"),
    ("proposal", "discard"),
    ("review", "show"),
    ("review", "approve"),
    ("review", "reject"),
    ("review", "break-glass"),
    ("entry", "show"),
    ("entry", "history"),
    ("entry", "why"),
    ("officer", "add"),
    ("officer", "rotate"),
    ("officer", "disable"),
    ("officer", "approve"),
    ("officer", "key", "new"),
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return set_up(tmp_path_factory.mktemp("desk"))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_without_a_terminal_nothing_is_asked_and_what_is_missing_is_named(bare: Desk, words: tuple[str, ...]) -> None:
    done = bare.run(*words, code=2)
    assert "missing" in done.stderr.lower()
    assert done.stdout == ""


def test_every_missing_option_is_named_at_once(bare: Desk) -> None:
    done = bare.run("decision", "add", "--subject", "x", code=2)
    for option in ("--officer", "--number", "--agency", "--date", "--legal-basis", "--contact"):
        assert option in done.stderr
    assert "--subject" not in done.stderr.splitlines()[-1]


def test_a_wrong_date_in_a_script_is_a_usage_error_that_names_the_option(bare: Desk) -> None:
    words = ("--agency", "a", "--subject", "s", "--legal-basis", "l", "--contact", "c@d.example")
    done = bare.run("decision", "add", "--officer", "an", "--number", "9/QĐ", "--date", "31/02/2026", *words, code=2)
    assert "--date" in done.stderr
    assert "no such day" in done.stderr


def test_a_register_that_is_not_there_is_said_with_the_way_out(tmp_path: Path) -> None:
    done = Desk(tmp_path).run("decision", "list", code=1)
    assert "register.db" in done.stderr
    assert "blocker register init" in done.stderr


@pytest.mark.parametrize("text", ["24/11/2026", "24.11.2026", "2026-11-24", " 24-11-2026 "])
def test_days_are_read_day_first_or_in_iso(text: str) -> None:
    assert read_day(text).isoformat() == "2026-11-24"


@pytest.mark.parametrize("text", ["30/02/2026", "2026-13-01", "11/2026", "tomorrow", ""])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(Rejected):
        read_day(text)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("30d", "2026-12-24T05:00:00+00:00"),
        ("72h", "2026-11-27T05:00:00+00:00"),
        ("30 ngày", "2026-12-24T05:00:00+00:00"),
        ("31/12/2026", "2026-12-31T17:00:00+00:00"),
        ("2026-12-31T08:00+07:00", "2026-12-31T01:00:00+00:00"),
    ],
)
def test_an_expiry_is_a_span_the_end_of_a_day_in_vietnam_or_a_moment(text: str, end: str) -> None:
    assert read_expiry(text, NOW).isoformat() == end


def test_a_beginning_is_the_start_of_a_day_in_vietnam() -> None:
    assert read_start("01/12/2026", NOW).isoformat() == "2026-11-30T17:00:00+00:00"


def test_pasted_text_is_made_plain_and_composed() -> None:
    assert tidy("  Cơ\u00a0quan\u200b \t Tha\u0301i\u2003Nguye\u0302n\n") == "Cơ quan Thái Nguyên"


def test_a_passphrase_file_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pass"
    path.write_text("secret words\n")
    path.chmod(0o644)
    with pytest.raises(Rejected, match="can be read by others"):
        Secrets(None, path)


def test_one_passphrase_serves_all_keys_and_several_serve_in_order() -> None:
    def given(text: bytes) -> Secrets:
        reading, writing = os.pipe()
        os.write(writing, text)
        os.close(writing)
        secrets = Secrets(reading, None)
        os.close(reading)
        return secrets

    one = given(b"same words\n")
    assert [one.existing("a"), one.existing("b")] == [b"same words"] * 2
    two = given("một hai\nba bốn\n".encode())
    assert [two.existing("a"), two.existing("b")] == ["một hai".encode(), "ba bốn".encode()]
    with pytest.raises(Rejected, match="no passphrase left for c: 2 lines"):
        two.existing("c")
