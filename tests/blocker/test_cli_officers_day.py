"""Promises of the officers' commands, run as the console script runs them: one decision, from the paper to the feed."""

from pathlib import Path

import pytest

from tests.blocker.desk import DECISION, PASSPHRASE, Desk, set_up


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return set_up(tmp_path)


def test_init_makes_everything_an_authority_begins_with(desk: Desk) -> None:
    for name in ("root-keys/root-3.pem", "officer-keys/binh.pem.pub", "feed/root.json", "feed-keys/timestamp.pem"):
        assert (desk.folder / name).exists()
    for key in desk.folder.rglob("*.pem"):
        assert key.stat().st_mode & 0o077 == 0, key
    for key in (*desk.folder.glob("root-keys/*.pem"), *desk.folder.glob("officer-keys/*.pem")):
        assert b"ENCRYPTED" in key.read_bytes()
    status = desk.json("register", "status")
    assert (status["authority"], status["training"], status["officers"]) == ("tn", True, ["an", "binh"])
    verified = desk.json("register", "verify", "--root", desk.folder / "feed" / "root.json")
    assert verified["officers"] == ["an", "binh"]


def test_init_refuses_a_place_that_is_taken_and_says_everything_that_is_there(desk: Desk) -> None:
    done = desk.run(
        *("register", "init", "--authority", "tn", "--name", "x", "--contact-email", "a@b.example"),
        *("--directory", desk.folder, "--officer", "an", "--officer", "binh"),
        *("--passphrase-file", desk.folder / "pass"),
        code=1,
    )
    for word in ("register.db", "root-keys", "feed-keys", "everything that was there"):
        assert word in done.stderr


def test_upgrade_leaves_a_current_register_as_it_is(desk: Desk) -> None:
    done = desk.json("register", "upgrade")
    assert done["before"] == done["after"]
    assert desk.json("register", "status")["events"] == 1
    assert not (desk.folder / "none.db").exists()
    desk.run("register", "upgrade", "--register", desk.folder / "none.db", code=1)
    assert not (desk.folder / "none.db").exists()


def _init(folder: Path, *more: object) -> tuple[object, ...]:
    secret = folder / "pass"
    secret.write_text("correct horse battery\n")
    secret.chmod(0o600)
    who = ("--authority", "tn", "--name", "x", "--contact-email", "a@b.example", "--training")
    return ("register", "init", *who, "--officer", "an", "--officer", "binh", "--passphrase-file", secret, *more)


def test_init_with_an_unreadable_public_key_leaves_nothing_that_hinders_the_next_try(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    there = ("--directory", tmp_path / "authority")
    desk.run(*_init(tmp_path, *there, "--officer-public-key", f"an={tmp_path}/not-there.pub"), code=1)
    desk.run(*_init(tmp_path, *there))


def test_init_where_nothing_can_be_written_is_no_fault_of_the_program(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed = Desk(tmp_path).run(*_init(tmp_path, "--directory", tmp_path / "file" / "below"), code=1)
    assert "cannot be written" in failed.stderr
    assert "fault of the program" not in failed.stderr


def test_init_wants_two_officers(tmp_path: Path) -> None:
    (tmp_path / "pass").write_text(PASSPHRASE)
    (tmp_path / "pass").chmod(0o600)
    done = Desk(tmp_path).run(
        *("register", "init", "--authority", "tn", "--name", "x", "--contact-email", "a@b.example"),
        *("--directory", tmp_path, "--officer", "an", "--passphrase-file", tmp_path / "pass"),
        code=2,
    )
    assert "at least two" in done.stderr
    assert not (tmp_path / "root-keys").exists()


def test_the_whole_way_of_a_decision(desk: Desk) -> None:
    desk.decide()
    assert desk.json("decision", "list", "--search", "co bac")[0]["notation"] == DECISION
    assert desk.json("decision", "show", DECISION)["date"] == "2026-11-24"
    number = desk.propose("hxxp://Ví-Dụ.example", "evil[.]test", "192.0.2.7")
    plan = desk.json("review", "show", number)
    assert plan["counts"]["added"] == 3
    assert plan["reasons"] == [{"reason": "Cá cược", "targets": 3}]
    done = desk.run("review", "approve", number, *desk.signing("binh"))
    assert "blocker publish" in done.stderr
    keys = ("--repository", desk.folder / "feed", "--keys", desk.folder / "feed-keys")
    desk.run("publish", *keys)
    found = desk.json("entry", "list", "--search", "VI-DU")
    assert [e["target"] for e in found] == ["xn--v-d-rma6749a.example"]
    why = desk.json("why", "www.evil.test")["register"]
    assert why["blocked"]
    assert DECISION in why["matches"][0]["sentence"]
    steps = [line["what"] for line in desk.json("entry", "history", "evil.test")]
    assert steps == ["proposed", "approved", "published"]
    assert desk.json("register", "verify", "--feed", desk.folder / "feed")["rules"] == 3


def test_nobody_approves_what_they_proposed(desk: Desk) -> None:
    desk.decide()
    number = desk.propose("evil.test")
    done = desk.run("review", "approve", number, *desk.signing("an"), code=6)
    assert "four eyes" in done.stderr
    assert desk.json("review", "list")[0]["proposal"] == number


def test_a_target_to_confirm_needs_the_approvers_reason_for_that_very_target(desk: Desk) -> None:
    desk.decide()
    number = desk.propose("https://shop.test/page", "evil.test")
    approve = ("review", "approve", number, *desk.signing("binh"))
    assert "shop.test" in desk.run(*approve, code=6).stderr
    assert "need no confirmation" in desk.run(*approve, "--confirm", "evil.test=x", code=1).stderr
    assert "TARGET=REASON" in desk.run(*approve, "--confirm", "shop.test", code=2).stderr
    reasons = desk.folder / "reasons"
    reasons.write_text("# taken over\nshop.test=Cả máy chủ là trang cờ bạc\n")
    assert desk.json(*approve, "--confirm-file", reasons)["confirmed"] == {"shop.test": "Cả máy chủ là trang cờ bạc"}


def test_rejecting_keeps_the_targets_out(desk: Desk) -> None:
    desk.decide()
    number = desk.propose("evil.test")
    assert desk.json("review", "reject", number, "--reason", "Nhầm", *desk.signing("binh"))["state"] == "rejected"
    assert not desk.json("why", "evil.test")["register"]["blocked"]


def test_standing_entries_are_named_by_number_id_or_target(desk: Desk) -> None:
    desk.decide()
    desk.run("review", "approve", desk.propose("a.test", "b.test", "c.test"), *desk.signing("binh"))
    number = desk.json("proposal", "new", "--decision", DECISION)["proposal"]
    to = ("--proposal", number, "--reason", "Khiếu nại")
    desk.run("proposal", "suspend", "a.test", *to)
    desk.run("proposal", "withdraw", "tn:2", *to)
    desk.run("proposal", "extend", "3", *to, "--expires", "300d")
    done = desk.run("proposal", "withdraw", "none.test", "nix.test", *to, code=1)
    assert "none.test" in done.stderr
    assert "nix.test" in done.stderr
    plan = desk.json("proposal", "show", number)
    assert [(c["verb"], c["target"]) for c in plan["changes"]] == [
        ("suspend", "a.test"),
        ("withdraw", "b.test"),
        ("extend", "c.test"),
    ]
    assert desk.json("proposal", "drop", "tn:1", "--proposal", number)["dropped"] == 1
    assert desk.json("proposal", "discard", number)["state"] == "discarded"


def test_break_glass_is_loud_and_waits_for_a_second_officer(desk: Desk) -> None:
    desk.decide()
    number = desk.propose("evil.test")
    done = desk.run("review", "break-glass", number, "--reason", "Bệnh viện bị tấn công", *desk.signing("an"))
    assert "BREAK-GLASS" in done.stderr
    assert "publish --break-glass" in done.stderr
    assert desk.json("register", "status")["emergencies"] == [number]
    desk.run("review", "approve", number, *desk.signing("binh"))
    assert desk.json("register", "status")["emergencies"] == []


def test_officers_change_by_two_signatures(desk: Desk) -> None:
    chi = desk.folder / "chi.pem"
    desk.run("officer", "key", "new", chi, "--passphrase-file", desk.folder / "pass")
    made = desk.json("officer", "add", "chi", "--public-key", f"{chi}.pub", "--name", "Lê Chi", *desk.signing("an"))
    assert [o["id"] for o in desk.json("officer", "list")["officers"]] == ["an", "binh"]
    desk.run("officer", "approve", made["change"][:10], *desk.signing("an"), code=6)
    desk.run("officer", "approve", made["change"][:10], *desk.signing("binh"))
    disabled = desk.json("officer", "disable", "an", *desk.signing("binh"))
    chi_signs = ("--officer", "chi", "--key", str(chi), "--passphrase-file", str(desk.folder / "pass"))
    desk.run("officer", "approve", disabled["change"], *chi_signs)
    states = {o["id"]: o["active"] for o in desk.json("officer", "list")["officers"]}
    assert states == {"an": False, "binh": True, "chi": True}


def test_a_key_is_never_written_over_another(desk: Desk) -> None:
    key = desk.folder / "officer-keys" / "an.pem"
    before = key.read_bytes()
    desk.run("officer", "key", "new", key, "--passphrase-file", desk.folder / "pass", code=1)
    assert key.read_bytes() == before


def test_a_decision_of_the_future_or_with_an_empty_document_is_not_recorded(desk: Desk, tmp_path: Path) -> None:
    """A recorded decision cannot be changed, so a slip of the pen is caught before."""
    words = ["--agency", "Sở TTTT", "--subject", "x", "--legal-basis", "Luật 24", "--contact", "k@stttt.example"]
    start = ["decision", "add", "--officer", "an", "--number", "9/QĐ", *words]
    late = desk.run(*start, "--date", "01/01/2090", code=1)
    assert "still to come" in late.stderr
    empty = tmp_path / "empty.pdf"
    empty.touch()
    assert "is empty" in desk.run(*start, "--date", "01/11/2026", "--file", empty, code=1).stderr
    assert desk.json("decision", "list") == [] or "9/QĐ" not in str(desk.json("decision", "list"))


def test_a_register_s_file_is_not_for_everybody(desk: Desk) -> None:
    """It holds proposals that nobody may know of yet."""
    assert (desk.folder / "register.db").stat().st_mode & 0o007 == 0
