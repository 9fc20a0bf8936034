"""The state directory: what a reader of it may rely on."""

import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feeds import canonical
from feeds.errors import Rejected, Unavailable, Untrusted
from feeds.release import Release
from feeds.store import HeldChange, Store
from tests.feeds.accepting import manifest_for
from tests.feeds.tuf_feed import NOW, many

DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "state", url="https://feed.example/", root=b"{}", training=True)


def accept(store: Store, serial: int, rules: int = 3, now: datetime = NOW, refuse: int = 0) -> Release:
    release = Release.of("vn-test", serial, many(rules))
    manifest = manifest_for(release, NOW)
    kept = Release("vn-test", release.serial, release.rules[refuse:]) if refuse else release
    refused = {"floor.too-wide": refuse} if refuse else {}
    with store.lock():
        store.accept({"manifest.json": manifest.to_bytes()}, release, kept, refused, now)
    return kept


def test_what_was_accepted_is_what_is_read(store: Store) -> None:
    assert store.accepted() is None
    assert store.token() is None
    release = accept(store, 7)
    accepted = Store(store.path).accepted()
    assert accepted is not None
    assert accepted.release() == accepted.signed() == release
    assert (accepted.manifest.serial, accepted.accepted_at, dict(accepted.refused)) == (7, NOW, {})
    assert accepted.counts["names"] == 3


def test_of_a_release_with_refused_rules_both_forms_are_kept(store: Store) -> None:
    kept = accept(store, 1, rules=5, refuse=2)
    accepted = store.accepted()
    assert accepted is not None
    assert accepted.release() == kept
    assert len(accepted.signed().rules) == 5
    assert accepted.refused == {"floor.too-wide": 2}
    assert canonical.digest(accepted.signed()).sha256 == accepted.manifest.digest


def test_the_token_changes_with_every_accept(store: Store) -> None:
    tokens = []
    for serial in range(1, 6):
        accept(store, serial)
        tokens.append(store.token())
    assert len(set(tokens)) == 5


def test_two_releases_are_kept_and_the_older_one_steps_in_for_a_damaged_one(store: Store) -> None:
    for serial in (1, 2, 3):
        accept(store, serial, rules=serial)
    assert sorted(path.name[:7] for path in (store.path / "releases").iterdir()) == ["0000002", "0000003"]
    accepted = store.accepted()
    assert accepted is not None
    for name in ("release.zst", "manifest.json", "note.json"):
        whole = (accepted.directory / name).read_bytes()
        (accepted.directory / name).write_bytes(whole[:-1])
        found = Store(store.path).accepted()
        assert found is not None
        assert found.manifest.serial == 2
        assert "0000003" in found.damage
        (accepted.directory / name).write_bytes(whole)
    assert store.accepted() == accepted
    # Nothing older than the damaged one may be taken for new.
    assert store.highest_serial() == 3


def test_a_release_that_changes_between_look_and_read_is_noticed(store: Store) -> None:
    accept(store, 1, rules=1)
    accept(store, 2, rules=9)
    accepted = store.accepted()
    assert accepted is not None
    other = next(d for d in (store.path / "releases").iterdir() if d != accepted.directory)
    (accepted.directory / "release.zst").write_bytes((other / "release.zst").read_bytes())
    with pytest.raises(Untrusted):
        accepted.release()


def test_the_clock_never_goes_backwards_in_one_process_nor_over_a_restart(store: Store) -> None:
    assert store.clock(NOW) == NOW
    assert store.clock(NOW + DAY) == NOW + DAY
    assert store.clock(NOW) == NOW + DAY
    assert Store(store.path).clock(NOW) == NOW + DAY
    (store.path / "clock").write_text("202")
    assert Store(store.path).clock(NOW) == NOW


def test_the_clock_works_where_the_directory_may_only_be_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.clock(NOW + DAY)

    def refuse(*_args: object, **_more: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert Store(store.path).clock(NOW + 2 * DAY) == NOW + 2 * DAY


def test_a_busy_directory_is_said_and_left_alone(store: Store) -> None:
    with store.lock(), pytest.raises(Unavailable, match="in use"), store.lock():
        pass
    with store.lock():
        pass


def _hold(path: Path, pipe: "multiprocessing.connection.Connection") -> None:
    with Store(path).lock():
        pipe.send(1)
        pipe.recv()


def test_another_process_holds_the_lock_until_it_dies(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(store.path, theirs))
    process.start()
    ours.recv()
    with pytest.raises(Unavailable), store.lock():
        pass
    process.kill()
    process.join()
    with store.lock():
        pass


def test_setting_up_again_is_nothing_and_another_root_or_kind_is_refused(store: Store) -> None:
    accept(store, 1)
    for url in ("https://feed.example/", "https://mirror.example/"):
        Store.create(store.path, url=url, root=b"{}", training=True)
        assert Store(store.path).url == url
    for root, training in ((b"{ }", True), (b"{}", False)):
        with pytest.raises(Rejected, match="already follows"):
            Store.create(store.path, url="https://feed.example/", root=root, training=training)
    assert store.accepted() is not None
    assert store.training


def test_a_damaged_anchor_is_never_used(store: Store) -> None:
    (store.path / "root.json").write_bytes(b"{ }")
    with pytest.raises(Untrusted, match="anchor"):
        store.root()


def test_what_is_held_is_remembered_until_a_release_is_accepted(store: Store) -> None:
    change = HeldChange(3, "a" * 64, 2, 100, 0, ("reason",), NOW)
    store.hold(change)
    assert Store(store.path).held() == change
    accept(store, 4)
    assert store.held() is None


def test_counts_survive_and_a_damaged_file_of_them_is_no_fault(store: Store) -> None:
    store.count("held")
    store.count("held")
    assert Store(store.path).counts() == {"held": 2}
    (store.path / "counters.json").write_text("{")
    assert store.counts() == {}


def test_readers_see_only_whole_releases_while_others_are_accepted(store: Store) -> None:
    """Whoever looks between two accepts has two further accepts' time to read."""
    accept(store, 1, rules=1)
    for serial in range(2, 30):
        looked = store.accepted()
        accept(store, serial, rules=serial)
        assert looked is not None
        assert len(looked.release().rules) == serial - 1


def test_the_status_of_a_directory_that_is_not_set_up_says_how_to(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not set up") as caught:
        Store(tmp_path).status()
    assert "blocker feed init" in caught.value.then


def test_times_are_kept_in_utc(store: Store) -> None:
    accept(store, 1, now=NOW.astimezone())
    accepted = store.accepted()
    assert accepted is not None
    assert accepted.accepted_at.tzinfo is UTC
