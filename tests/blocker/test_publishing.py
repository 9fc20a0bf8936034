"""What a publication promises to readers and to officers."""

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from io import BytesIO
from pathlib import Path

import pytest

from blocker.publishing.clean import GRACE
from blocker.publishing.layout import locked
from blocker.publishing.release_of import changes, choose, floor_judge
from blocker.publishing.sign import TARGETS_LIFE, TIMESTAMP_LIFE, FeedKeys, KeySigner
from feeds import delta
from feeds.canonical import decompressing, digest, read_delta
from feeds.errors import Refused, Rejected, Unavailable, Untrusted
from feeds.manifest import MAX_DELTAS, Action, change_kind, delta_path
from feeds.rule import Category, Rule, Serial, hours
from tests.blocker.tuf_client import Reader
from tests.feeds.feed_factory import FeedFactory, MemoryLedger, new_key
from tests.rules import rule

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def some(count: int, start: int = 1) -> list[Rule]:
    """So many rules on names of their own."""
    return [rule(f"evil{n}.test", n) for n in range(start, start + count)]


@pytest.fixture
def feed(tmp_path: Path) -> FeedFactory:
    return FeedFactory(tmp_path / "feed", now=NOW)


@pytest.fixture
def reader(feed: FeedFactory) -> Reader:
    return Reader(feed.path, feed.anchor)


def test_a_tuf_client_accepts_every_edition_and_gets_exactly_the_rules(feed: FeedFactory, reader: Reader) -> None:
    assert reader.manifest(NOW) is None, "a new feed is valid and empty"
    for step, rules in enumerate(([rule("192.0.2.0/24", 9), *some(5)], some(3), [], some(70)), 1):
        moment = NOW + step * HOUR
        feed.publish(rules, moment)
        manifest, release = reader.pull(moment)
        assert manifest.serial == step
        assert sorted(map(str, (r.target for r in release.rules))) == sorted(str(r.target) for r in rules)
        assert manifest.counts["rules"] == len(rules)
        assert manifest.training is True


def test_a_web_server_under_another_user_can_read_the_whole_feed_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        feed = FeedFactory(tmp_path / "feed", now=NOW)
        feed.publish(some(3), NOW)
        feed.publish(some(4), NOW + HOUR)
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in (feed.path, *feed.path.rglob("*"))}
    assert modes.pop(feed.path / ".publish.lock") == 0o600
    assert {path for path, mode in modes.items() if mode != (0o755 if path.is_dir() else 0o644)} == set()


def test_the_same_rules_make_the_same_release_in_any_order(tmp_path: Path) -> None:
    one, other = FeedFactory(tmp_path / "one", now=NOW), FeedFactory(tmp_path / "other", now=NOW)
    assert one.publish(some(20), NOW).digest == other.publish(some(20)[::-1], NOW + HOUR).digest


def test_nothing_changed_makes_no_new_serial_but_a_fresh_timestamp(feed: FeedFactory, reader: Reader) -> None:
    feed.publish(some(3), NOW)
    before = feed.standing()
    outcome = feed.publish_outcome(some(3), NOW + DAY)
    after = feed.standing()
    assert (outcome.serial, outcome.new_release) == (1, False)
    assert after.timestamp.expires - before.timestamp.expires == DAY
    assert after.snapshot == before.snapshot
    assert len(feed.ledger.rows) == 1
    reader.pull(NOW + DAY)


def test_signatures_near_their_expiry_are_renewed_although_nothing_changed(feed: FeedFactory, reader: Reader) -> None:
    feed.publish(some(3), NOW)
    for day in range(1, 40):
        feed.publish_due(NOW + day * DAY)
        assert reader.pull(NOW + day * DAY + TIMESTAMP_LIFE - HOUR)[0].serial == 1
    assert feed.standing().targets.expires > NOW + 40 * DAY
    assert NOW + 40 * DAY > NOW + TARGETS_LIFE


def test_the_timer_removes_what_has_expired_and_nothing_else(feed: FeedFactory, reader: Reader) -> None:
    ending = hours(NOW) + 3
    feed.publish([*some(5), rule("ends.test", 90, expires=ending), rule("198.51.100.7/32", 91, expires=ending)], NOW)
    assert feed.publish_due(NOW + 2 * HOUR).new_release is False
    outcome = feed.publish_due(NOW + 3 * HOUR)
    assert (outcome.serial, outcome.removed, outcome.added) == (2, 2, 0)
    manifest, release = reader.pull(NOW + 3 * HOUR)
    assert [str(r.target) for r in release.rules] == [f"evil{n}.test" for n in range(1, 6)]
    assert (manifest.counts["names"], manifest.counts["prefixes"]) == (5, 0)


def test_a_full_publication_leaves_out_what_has_expired(feed: FeedFactory, reader: Reader) -> None:
    rules = [*some(2), rule("ends.test", 90, expires=hours(NOW) + 3)]
    feed.publish(rules, NOW)
    feed.publish(rules, NOW + 3 * HOUR)
    assert len(reader.pull(NOW + 3 * HOUR)[1].rules) == 2


def test_deltas_lead_from_every_kept_serial_to_the_newest(feed: FeedFactory, reader: Reader) -> None:
    releases = []
    steps = MAX_DELTAS + 4
    for step in range(steps):
        moment = NOW + step * HOUR
        feed.publish([*some(3, start=step + 1), rule("192.0.2.1/32", 900, decision=f"{step}/QĐ")], moment)
        releases.append(reader.pull(moment)[1])
    manifest = reader.manifest(moment)
    assert manifest is not None
    assert len(manifest.deltas) == MAX_DELTAS
    updater = reader.updater(moment)
    found = []
    for reference in manifest.deltas:
        packed = reader.get(updater, delta_path(reference.from_serial, reference.to_serial))
        assert packed is not None
        found.append(read_delta(decompressing(BytesIO(packed)), reference.size))
        assert (len(found[-1].removed), len(found[-1].added)) == (reference.removed, reference.added)
    start = releases[manifest.deltas[0].from_serial - 1]
    assert digest(delta.apply(reduce(delta.merge, found), start)).sha256 == manifest.digest
    on_disk = list((feed.path / "targets" / "deltas").iterdir())
    assert MAX_DELTAS <= len(on_disk) <= MAX_DELTAS + 4, "older deltas are cleaned away"


def test_a_rule_below_the_floor_is_left_out_and_named_while_the_rest_is_published(
    feed: FeedFactory, reader: Reader
) -> None:
    outcome = feed.publish_outcome([*some(2), rule("192.0.0.0/8", 66), rule("com", 67)], NOW)
    assert [p.rule for p in outcome.problems] == ["floor.too-wide", "floor.single-label"]
    assert "vn-test:66" in outcome.problems[0].place
    assert len(reader.pull(NOW)[1].rules) == 2


def test_two_entries_for_one_target_become_one_rule() -> None:
    judge = floor_judge(training=True)
    longer = rule("evil.test", 1, expires=hours(NOW) + 50)
    shorter = rule("evil.test", 2, expires=hours(NOW) + 9)
    passing = rule("evil.test", 3, action=Action.PASSTHRU, expires=hours(NOW) + 5)
    assert choose([shorter, longer], NOW, judge).rules == (longer,)
    assert choose([passing, longer, shorter], NOW, judge).rules == (passing,), "the later entry's action counts"
    assert choose([passing, longer, shorter], NOW + 6 * HOUR, judge).rules == (longer,), "while it lasts"


def test_a_child_that_its_parent_enforces_is_pruned_and_counted() -> None:
    chosen = choose([rule("evil.test", 1), rule("a.evil.test", 2)], NOW, floor_judge(training=True))
    assert (chosen.rules, chosen.covered) == ((rule("evil.test", 1),), 1)


def test_a_reader_that_began_before_a_publication_still_finds_its_files(feed: FeedFactory, reader: Reader) -> None:
    feed.publish(some(3), NOW)
    slow = reader.updater(NOW)
    for step in range(1, 6):
        feed.publish(some(3 + step), NOW + step * timedelta(minutes=10))
    manifest = reader.manifest(NOW, slow)
    assert manifest is not None
    assert manifest.serial == 1
    assert reader.get(slow, "release.zst")


def test_old_files_go_after_their_grace(feed: FeedFactory) -> None:
    for step in range(8):
        feed.publish(some(3 + step), NOW + step * HOUR)
    feed.publish(some(20), NOW + 8 * HOUR + GRACE)
    feed.publish_due(NOW + 9 * HOUR + 2 * GRACE)
    assert len(list(feed.path.glob("targets/*.release.zst"))) == 3


def test_the_decisions_that_rules_name_stand_in_the_manifest(feed: FeedFactory) -> None:
    manifest = feed.publish([rule("evil.test", 1, decision="7/QĐ-UBND")], NOW)
    assert [d.notation for d in manifest.decisions] == ["7/QĐ-UBND"]


def test_a_database_restored_from_an_old_backup_is_refused(feed: FeedFactory, reader: Reader) -> None:
    feed.publish(some(3), NOW)
    backup = [replace(row) for row in feed.ledger.rows]
    feed.publish(some(4), NOW + HOUR)
    feed.ledger.rows = backup
    for attempt in (lambda: feed.publish(some(5), NOW + 2 * HOUR), lambda: feed.publish_due(NOW + 2 * HOUR)):
        with pytest.raises(Refused, match="knows serials up to 1, but the feed already carries 2"):
            attempt()
    assert reader.pull(NOW + 2 * HOUR)[0].serial == 2
    assert len(feed.ledger.rows) == 1, "no serial was reserved"


def test_a_database_of_another_history_is_refused(feed: FeedFactory) -> None:
    feed.publish(some(3), NOW)
    feed.ledger.rows[0].digest = "f" * 64
    with pytest.raises(Refused, match="another digest"):
        feed.publish(some(4), NOW + HOUR)


def test_an_empty_database_cannot_take_over_a_feed(feed: FeedFactory) -> None:
    feed.publish(some(3), NOW)
    feed.ledger = MemoryLedger()
    with pytest.raises(Refused, match="knows serials up to 0"):
        feed.publish(some(3), NOW + HOUR)


def test_a_feed_directory_restored_from_an_old_copy_goes_on_with_a_new_serial(
    feed: FeedFactory, reader: Reader, tmp_path: Path
) -> None:
    feed.publish(some(3), NOW)
    shutil.copytree(feed.path, tmp_path / "copy")
    feed.publish(some(4), NOW + HOUR)
    feed.publish_due(NOW + 2 * HOUR)
    reader.pull(NOW + 2 * HOUR)
    shutil.rmtree(feed.path)
    shutil.copytree(tmp_path / "copy", feed.path)
    outcome = feed.publish_outcome(some(4), NOW + 3 * HOUR)
    assert outcome.serial == 3
    assert "restored" in outcome.notes[0]
    assert reader.pull(NOW + 3 * HOUR)[0].serial == 3, "a reader who saw serial 2 follows"


def test_the_timer_brings_no_withdrawn_rule_back_from_an_older_copy_of_the_directory(
    feed: FeedFactory, reader: Reader, tmp_path: Path
) -> None:
    """Whoever can write the directory, and holds no key, would have it signed under the next serial."""
    feed.publish(some(4), NOW)
    shutil.copytree(feed.path, tmp_path / "copy")
    feed.publish(some(3), NOW + HOUR)
    shutil.rmtree(feed.path)
    shutil.copytree(tmp_path / "copy", feed.path)
    with pytest.raises(Refused, match="seems to be restored"):
        feed.publish_due(NOW + 2 * HOUR)
    feed.publish(some(3), NOW + 2 * HOUR)
    manifest, release = reader.pull(NOW + 2 * HOUR)
    assert (manifest.serial, len(release.rules)) == (3, 3)
    assert feed.publish_due(NOW + 3 * HOUR).new_release is False


def test_keys_of_another_feed_are_refused_before_a_serial_is_spent(feed: FeedFactory) -> None:
    feed.keys = FeedKeys(*(KeySigner(new_key()) for _n in range(3)))
    with pytest.raises(Rejected, match="targets key is not the one"):
        feed.publish(some(3), NOW)
    assert not feed.ledger.rows


@pytest.mark.parametrize("name", ["metadata/timestamp.json", "*.snapshot.json", "*.targets.json", "*.manifest.json"])
@pytest.mark.parametrize("harm", [b"", b"{}", None])
def test_a_damaged_feed_is_named_and_not_signed_again(feed: FeedFactory, name: str, harm: bytes | None) -> None:
    feed.publish(some(3), NOW)
    for path in feed.path.rglob(name):
        path.write_bytes(path.read_bytes()[:-9] if harm is None else harm)
    with pytest.raises(Untrusted, match=r"damaged.*") as caught:
        feed.publish(some(4), NOW + HOUR)
    assert "backup" in caught.value.then
    assert len(feed.ledger.rows) == 1


def test_a_damaged_release_is_noticed_before_a_serial_is_spent(feed: FeedFactory) -> None:
    feed.publish(some(3), NOW)
    for path in feed.path.rglob("*.release.zst"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Untrusted, match="damaged"):
        feed.publish(some(4), NOW + HOUR)
    assert len(feed.ledger.rows) == 1


def test_two_publications_at_once_do_not_mix(feed: FeedFactory) -> None:
    with locked(feed.path), pytest.raises(Unavailable, match="another publication"):
        feed.publish(some(3), NOW)


def test_no_feed_is_one_clear_sentence(tmp_path: Path) -> None:
    feed = FeedFactory(tmp_path / "feed", now=NOW)
    shutil.rmtree(feed.path)
    feed.path.mkdir()
    with pytest.raises(Rejected, match="there is no feed in"):
        feed.publish(some(3), NOW)


def test_a_second_feed_in_one_directory_is_refused(feed: FeedFactory) -> None:
    with pytest.raises(Rejected, match="already a feed"):
        feed.create(NOW)


def test_root_needs_three_keys_and_two_signatures(tmp_path: Path) -> None:
    feed = FeedFactory(tmp_path / "feed")
    feed.roots[2] = feed.roots[1]
    with pytest.raises(Rejected, match="3 different root keys"):
        feed.create(NOW)
    assert not (feed.path / "root.json").exists()


def test_online_keys_lie_in_three_private_files(tmp_path: Path) -> None:
    made = FeedKeys.create(tmp_path / "keys")
    assert {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "keys").iterdir()} == {
        "targets.pem": 0o600,
        "snapshot.pem": 0o600,
        "timestamp.pem": 0o600,
    }
    read = FeedKeys.read(tmp_path / "keys")
    assert read.targets.public_key == made.targets.public_key
    assert len({k.public_key.keyid for k in (read.targets, read.snapshot, read.timestamp)}) == 3


def test_canaries_cover_every_action_and_answer_documentation_space(feed: FeedFactory) -> None:
    manifest = feed.publish(some(1), NOW)
    assert {c.action for c in manifest.canaries} == set(Action)
    assert all(c.name.endswith(".example") for c in manifest.canaries)


def test_a_root_near_its_end_is_announced(feed: FeedFactory) -> None:
    feed.publish(some(1), NOW)
    notes = feed.publish_due(NOW + timedelta(days=330)).notes
    assert any("root expires in 35 days" in note for note in notes)


def test_the_manifest_says_which_kinds_of_rules_each_release_changed(feed: FeedFactory) -> None:
    botnet = rule("192.0.2.0/24", 9, category=Category.BOTNET)
    releases = ([*some(2), botnet], [*some(1), botnet], some(1))
    first, second, third = (feed.publish(rules, NOW + n * HOUR) for n, rules in enumerate(releases))
    assert set(first.changed.values()) == {1}
    names, prefixes = change_kind(Category.GAMBLING, True), change_kind(Category.BOTNET, False)
    assert (second.last_change([names]), second.last_change([prefixes])) == (2, 1)
    assert (third.last_change([names]), third.last_change([prefixes])) == (2, 3)
    assert third.last_change([names, prefixes]) == 3


def test_after_a_manifest_that_does_not_say_what_changed_everything_counts_as_changed() -> None:
    assert set(changes(None, Serial(17), some(1)).values()) == {17}
