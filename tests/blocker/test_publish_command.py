"""`blocker publish`, from a real register to a feed that python-tuf's client accepts."""

import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root

from blocker import keys
from blocker.publishing.sign import KeySigner
from feeds.errors import Held, Refused, Rejected, Untrusted
from feeds.officers import verify
from feeds.roster import roster_of_bytes
from tests.blocker.publishing_case import DECISION, Authority
from tests.blocker.tuf_client import Reader


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def reader(authority: Authority) -> Reader:
    return Reader(authority.feed, (authority.feed / "root.json").read_bytes())


def many(count: int) -> list[str]:
    return [f"big{n}.test" for n in range(count)]


def test_what_two_officers_approved_reaches_a_reader(authority: Authority, reader: Reader) -> None:
    authority.approve("evil.test", "www.evil.test", "192.0.2.7")
    done = authority.done("publish")
    assert (done["serial"], done["new_release"], done["rules"], done["problems"]) == (1, True, 2, [])
    manifest, release = reader.pull(datetime.now(UTC))
    assert [str(r.target) for r in release.rules] == ["evil.test", "192.0.2.7/32"]
    assert manifest.digest == done["digest"]
    assert manifest.contact.email == "objections@authority.example"
    assert [d.notation for d in manifest.decisions] == [DECISION]
    assert manifest.training is True


def test_what_only_one_officer_signed_does_not(authority: Authority, reader: Reader) -> None:
    authority.approve("evil.test")
    authority.propose("waits.test")
    assert authority.done("publish")["rules"] == 1
    assert authority.done("publish")["new_release"] is False


def test_the_feed_carries_officers_certified_by_the_root_keys(authority: Authority, reader: Reader) -> None:
    authority.approve("evil.test")
    authority.done("publish")
    updater = reader.updater(datetime.now(UTC))
    data = reader.get(updater, "officers.json")
    assert data is not None
    root = updater._trusted_set.root
    keys = [root.keys[k].keyval["public"] for k in root.roles["root"].keyids]
    genesis, changes = roster_of_bytes(data)
    assert [o.id for o in verify(genesis, keys, 2, changes).active()] == ["an", "binh"]


def test_a_dry_run_tells_everything_and_writes_nothing(authority: Authority) -> None:
    authority.approve("evil.test", "192.0.2.7")
    before = {p: p.read_bytes() for p in authority.path.rglob("*") if p.is_file() and "register" not in p.name}
    done = authority.done("publish", "--dry-run")
    assert (done["serial"], done["next_serial"], done["rules"], done["held"]) == (0, 1, 2, False)
    assert [r["target"] for r in done["added"]] == ["evil.test", "192.0.2.7/32"]
    text = authority.run("publish", "--dry-run").stdout
    assert f"+ evil.test nxdomain (vn-test:1, {DECISION}, until " in text
    after = {p: p.read_bytes() for p in authority.path.rglob("*") if p.is_file() and "register" not in p.name}
    assert after == before


def test_the_timer_adds_nothing_and_says_what_waits(authority: Authority, reader: Reader) -> None:
    authority.approve("evil.test")
    authority.done("publish")
    authority.approve("waits.test")
    result = authority.run("publish", "--due")
    assert result.exit_code == 0
    assert "serial 1 stands" in result.stdout
    assert "1 approved proposal waits for a full publication: blocker publish" in result.stderr
    assert len(reader.pull(datetime.now(UTC))[1].rules) == 1
    authority.done("publish")
    assert "waits" not in authority.run("publish", "--due").stderr


def test_a_large_change_goes_out_with_two_officers_signatures(authority: Authority, reader: Reader) -> None:
    authority.approve("evil.test")
    authority.done("publish")
    authority.approve(*many(80))
    held = authority.fails("publish")
    assert isinstance(held, Held)
    assert "80" in held.problems[0].message
    assert authority.done("publish", "--dry-run")["held"] is True
    file = str(authority.path / "bulk.json")
    said = authority.done("publish", "bulk", "prepare", "--reason", "one operation", "--output", file)
    assert (said["statement"]["added"], said["signatures"]) == (80, 0)
    authority.done("publish", "bulk", "sign", file, *authority.signing("an"))
    assert isinstance(authority.fails("publish", "--bulk", file), Refused)
    assert isinstance(authority.fails("publish", "bulk", "sign", file, *authority.signing("an")), Rejected)
    authority.done("publish", "bulk", "sign", file, *authority.signing("binh"))
    assert authority.done("publish", "bulk", "show", file)["signatures"] == 2
    assert authority.done("publish", "--bulk", file)["serial"] == 2
    manifest = reader.manifest(datetime.now(UTC))
    assert manifest is not None
    assert manifest.bulk == ("bulk/1-2.json",)


def test_a_large_change_can_go_out_to_be_held(authority: Authority) -> None:
    authority.approve("evil.test")
    authority.done("publish")
    authority.approve(*many(80))
    assert authority.done("publish", "--accept-hold")["serial"] == 2
    assert authority.done("publish")["new_release"] is False


def test_how_to_object_can_be_changed(authority: Authority, reader: Reader) -> None:
    authority.approve("evil.test")
    authority.done("publish")
    assert authority.done("publish", "--contact", "phone=024 1234", "--contact", "url=https://a.example/")["described"]
    manifest = reader.manifest(datetime.now(UTC))
    assert manifest is not None
    assert (manifest.serial, manifest.contact.phone) == (1, "024 1234")
    assert manifest.contact.email == "objections@authority.example"
    assert authority.done("publish")["described"] is False


def test_break_glass_goes_out_only_when_an_operator_names_it(authority: Authority, reader: Reader) -> None:
    authority.approve("evil.test")
    authority.done("publish")
    number = authority.propose("urgent.test")
    authority.done("review", "break-glass", str(number), "--reason", "people lose money now", *authority.signing("an"))
    digest = authority.done("review", "show", str(number))["sha256"]
    refused = authority.fails("publish")
    assert isinstance(refused, Refused)
    assert len(reader.pull(datetime.now(UTC))[1].rules) == 1, "one officer's key alone publishes nothing"
    assert isinstance(authority.fails("publish", "--break-glass", "f" * 64), Refused)
    assert authority.done("publish", "--break-glass", digest[:16])["added"] == 1
    assert authority.done("publish")["new_release"] is False, "what is out stays out until it lapses"
    assert len(reader.pull(datetime.now(UTC))[1].rules) == 2


def test_a_row_changed_behind_the_program_s_back_stops_the_publication(authority: Authority, reader: Reader) -> None:
    authority.approve("evil.test")
    authority.done("publish")
    authority.approve("more.test")
    with sqlite3.connect(authority.register) as database:
        changed = database.execute("update entry set target = 'innocent.test' where target = 'more.test'").rowcount
    assert changed == 1
    refused = authority.fails("publish")
    assert isinstance(refused, Refused)
    assert [(p.place, p.rule) for p in refused.problems] == [("entry row 2", "register.row")]
    assert len(reader.pull(datetime.now(UTC))[1].rules) == 1


def test_a_register_of_other_officers_publishes_nothing_even_with_the_feeds_root_file_exchanged(
    authority: Authority, tmp_path: Path
) -> None:
    """An attacker who writes the database and the feed's directory, and holds none of the keys."""
    (tmp_path / "thief").mkdir()
    thief = Authority(tmp_path / "thief")
    thief.approve("victim.test")
    place = authority.feed / "metadata" / "1.root.json"
    made = Metadata[Root].from_bytes(place.read_bytes())
    foreign = Metadata[Root].from_bytes((thief.feed / "metadata" / "1.root.json").read_bytes()).signed
    made.signed.keys |= foreign.keys
    made.signed.roles["root"] = foreign.roles["root"]
    made.signatures.clear()
    for n in (1, 2):
        key = keys.load(thief.path / "root-keys" / f"root-{n}.pem", b"correct horse battery staple")
        made.sign(KeySigner(key), append=True)
    place.write_bytes(made.to_bytes())
    for file in thief.path.glob("register.db*"):
        shutil.copy(file, authority.path / file.name)
    assert "officers are not those" in str(authority.fails("publish"))
    assert not list((authority.feed / "targets").glob("*.manifest.json"))


def test_a_database_put_back_from_a_backup_is_refused(authority: Authority, reader: Reader) -> None:
    authority.approve("evil.test")
    authority.done("publish")
    with sqlite3.connect(authority.register) as live, sqlite3.connect(authority.path / "backup.db") as copy:
        live.backup(copy)
    authority.approve("more.test")
    authority.done("publish")
    for name in ("register.db", "register.db-wal", "register.db-shm"):
        (authority.path / name).unlink(missing_ok=True)
    (authority.path / "backup.db").rename(authority.register)
    refused = authority.fails("publish")
    assert isinstance(refused, Refused)
    assert "knows serials up to 1, but the feed already carries 2" in refused.what
    assert isinstance(authority.fails("publish", "--due"), Refused)
    assert len(reader.pull(datetime.now(UTC))[1].rules) == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--repository", "/nonexistent"], 1),
        (["--keys", "/nonexistent"], 1),
        (["--bulk", "/nonexistent"], 1),
        (["--bulk", "/etc/hostname"], 4),
        (["--break-glass", "17"], 1),
        (["--contact", "fax=1"], 2),
        (["--contact", "email=nobody"], 2),
        (["--due", "--dry-run"], 2),
        (["--register", "/nonexistent/x.db"], 1),
    ],
)
def test_wrong_input_is_one_sentence_and_the_right_exit_code(authority: Authority, words: list[str], code: int) -> None:
    result = authority.run("publish", *words)
    assert getattr(result.exception, "exit_code", None) == code or result.exit_code == code
    assert isinstance(result.exception, Rejected | Untrusted | SystemExit)
