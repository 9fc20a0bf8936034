"""Large changes: heard of before they are published, and let pass by two officers, never by the host alone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import TargetFile

from blocker.publishing.bulk import BULK_LIFE, Bulk, prepare_bulk, sign_bulk
from feeds.errors import Held, Refused, Rejected, Untrusted
from feeds.manifest import BulkStatement, bulk_path
from feeds.rule import Rule, hours
from tests.blocker.tuf_client import Reader
from tests.feeds.feed_factory import FeedFactory, new_key
from tests.rules import rule

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def some(count: int, start: int = 1) -> list[Rule]:
    return [rule(f"evil{n}.test", n) for n in range(start, start + count)]


@pytest.fixture
def feed(tmp_path: Path) -> FeedFactory:
    made = FeedFactory(tmp_path / "feed", now=NOW)
    made.publish(some(400), NOW)
    return made


@pytest.fixture
def reader(feed: FeedFactory) -> Reader:
    return Reader(feed.path, feed.anchor)


def try_publish(feed: FeedFactory, rules: list[Rule], now: datetime = NOW + HOUR) -> None:
    feed.publish(rules, now, accept_hold=False)


def test_a_change_that_isps_would_hold_is_not_published_and_the_way_out_is_told(feed: FeedFactory) -> None:
    with pytest.raises(Held, match="removes 300 and adds 0") as caught:
        try_publish(feed, some(100))
    assert "300 of 400" in caught.value.problems[0].message
    assert "publish bulk prepare" in caught.value.then
    assert "--accept-hold" in caught.value.then
    assert feed.standing().serial == 1
    assert len(feed.ledger.rows) == 1


def test_a_small_change_needs_no_statement(feed: FeedFactory) -> None:
    try_publish(feed, some(380))
    assert feed.standing().serial == 2


def test_small_steps_that_sum_up_within_a_day_are_foreseen(feed: FeedFactory) -> None:
    for step in (1, 2):
        try_publish(feed, some(400 - 18 * step), NOW + step * HOUR)
    with pytest.raises(Held, match="ISPs would hold"):
        try_publish(feed, some(400 - 18 * 3), NOW + 3 * HOUR)
    try_publish(feed, some(400 - 18 * 3), NOW + timedelta(days=2))


def test_rules_that_expire_need_no_statement(feed: FeedFactory) -> None:
    ending = [rule(f"evil{n}.test", n, expires=hours(NOW) + 5) for n in range(1, 401)]
    feed.publish(ending, NOW + HOUR)
    try_publish(feed, ending, NOW + 5 * HOUR)
    assert feed.standing().manifest.counts["rules"] == 0  # type: ignore[union-attr]


def test_two_officers_let_a_large_change_pass_and_a_tuf_client_verifies_it(feed: FeedFactory, reader: Reader) -> None:
    feed.state_bulk("ruling 12 overturned", some(100), NOW + HOUR)
    try_publish(feed, some(100))
    updater = reader.updater(NOW + HOUR)
    manifest = reader.manifest(NOW + HOUR, updater)
    assert manifest is not None
    assert manifest.bulk == ("bulk/1-2.json",)
    data = reader.get(updater, manifest.bulk[0])
    assert data is not None
    statement: BulkStatement = BulkStatement.of_bytes(data)
    assert (statement.removed, statement.added, statement.reason) == (300, 0, "ruling 12 overturned")


def test_a_statement_stays_with_its_step_while_later_ones_are_published(feed: FeedFactory, reader: Reader) -> None:
    feed.state_bulk("first", some(100), NOW + HOUR)
    try_publish(feed, some(100))
    feed.state_bulk("second", some(300), NOW + 2 * HOUR)
    try_publish(feed, some(300), NOW + 2 * HOUR)
    try_publish(feed, some(301), NOW + 3 * HOUR)
    updater = reader.updater(NOW + 3 * HOUR)
    manifest = reader.manifest(NOW + 3 * HOUR, updater)
    assert manifest is not None
    assert manifest.bulk == ("bulk/1-2.json", "bulk/2-3.json")
    assert all(reader.get(updater, path) for path in manifest.bulk)


def test_an_expired_statement_is_no_longer_named(feed: FeedFactory, reader: Reader) -> None:
    feed.state_bulk("first", some(100), NOW + HOUR)
    try_publish(feed, some(100))
    later = NOW + BULK_LIFE + 2 * HOUR
    try_publish(feed, some(101), later)
    manifest = reader.manifest(later)
    assert manifest is not None
    assert manifest.bulk == ()


def test_a_statement_can_follow_a_release_that_isps_already_hold(feed: FeedFactory, reader: Reader) -> None:
    feed.publish(some(100), NOW + HOUR)
    plan = feed.plan(some(100), NOW + HOUR)
    statement = BulkStatement(
        authority=feed.authority, from_serial=1, to_serial=2, removed=300, added=0, reason="meant", made=NOW
    )
    bulk = prepare_bulk(plan.standing, statement, NOW + 2 * HOUR)
    for officer in ("an", "binh"):
        bulk = sign_bulk(bulk, feed.officers[officer])
    feed.bulk = bulk
    outcome = feed.publish_outcome(some(100), NOW + 2 * HOUR)
    assert (outcome.serial, outcome.new_release) == (2, False)
    manifest = reader.manifest(NOW + 2 * HOUR)
    assert manifest is not None
    assert (manifest.serial, manifest.bulk) == (2, ("bulk/1-2.json",))


@pytest.mark.parametrize("signers", [(), ("an",)])
def test_one_officer_is_not_enough(feed: FeedFactory, signers: tuple[str, ...]) -> None:
    feed.state_bulk("I say so", some(100), NOW + HOUR, signers)
    with pytest.raises(Refused, match=f"two active officers and carries {len(signers)}"):
        try_publish(feed, some(100))
    assert feed.standing().serial == 1


def test_a_stranger_and_the_host_s_own_key_do_not_count(feed: FeedFactory) -> None:
    feed.state_bulk("I say so", some(100), NOW + HOUR, ("an",))
    assert feed.bulk is not None
    feed.bulk = sign_bulk(feed.bulk, new_key())
    feed.bulk.metadata.sign(feed.keys.targets, append=True)
    with pytest.raises(Refused, match="two active officers and carries 1"):
        try_publish(feed, some(100))


def test_nobody_signs_twice(feed: FeedFactory) -> None:
    bulk = feed.state_bulk("I say so", some(100), NOW + HOUR, ("an",))
    with pytest.raises(Rejected, match="has signed the statement already"):
        sign_bulk(bulk, feed.officers["an"])


def test_a_statement_covers_its_counts_and_not_one_rule_more(feed: FeedFactory) -> None:
    feed.state_bulk("300 of them", some(100), NOW + HOUR)
    with pytest.raises(Held):
        try_publish(feed, some(99))


def test_a_statement_for_an_earlier_step_does_not_cover_this_one(feed: FeedFactory) -> None:
    bulk = feed.state_bulk("now", some(100), NOW + HOUR)
    feed.bulk = None
    try_publish(feed, some(399))
    feed.bulk = bulk
    with pytest.raises(Held, match="removes 299"):
        try_publish(feed, some(100), NOW + 2 * HOUR)


def test_a_statement_for_a_step_that_never_was_is_refused(feed: FeedFactory) -> None:
    bulk = feed.state_bulk("now", some(100), NOW + HOUR)
    feed.ledger.reserve_serial(NOW)  # a publication crashed in between
    feed.bulk = bulk
    with pytest.raises(Rejected, match="speaks of releases 1 to 2; the next step is 1 to 3") as caught:
        try_publish(feed, some(100), NOW + 2 * HOUR)
    assert "prepare it again" in caught.value.then


def test_an_expired_statement_is_refused(feed: FeedFactory) -> None:
    feed.state_bulk("now", some(100), NOW + HOUR)
    with pytest.raises(Rejected, match="expired"):
        try_publish(feed, some(100), NOW + 2 * HOUR + BULK_LIFE)


def test_the_file_travels_and_keeps_its_signatures(feed: FeedFactory) -> None:
    bulk = feed.state_bulk("via a memory stick", some(100), NOW + HOUR, ("an",))
    travelled = Bulk.of_bytes(bulk.to_bytes())
    feed.bulk = Bulk.of_bytes(sign_bulk(travelled, feed.officers["binh"]).to_bytes())
    try_publish(feed, some(100))
    assert feed.standing().serial == 2


def test_a_file_whose_statement_was_changed_on_the_way_is_refused(feed: FeedFactory) -> None:
    data = feed.state_bulk("300 of them", some(100), NOW + HOUR, ("an",)).to_bytes()
    assert b'removed\\":300' in data
    for bad in (data.replace(b'removed\\":300', b'removed\\":399'), data[:-20], b"{}", b"\xff", b"[" * 100_000):
        with pytest.raises(Untrusted, match="no bulk statement"):
            Bulk.of_bytes(bad)


def test_a_file_that_lists_a_statement_it_does_not_show_is_refused(feed: FeedFactory) -> None:
    bulk = feed.state_bulk("300 of them", some(100), NOW + HOUR, ())
    hidden = bulk_path(7, 8)
    bulk.metadata.signed.targets[hidden] = TargetFile.from_data(hidden, b"what?", ["sha256"])
    with pytest.raises(Untrusted, match="do not belong together"):
        Bulk.of_bytes(bulk.to_bytes())


def test_an_officer_who_left_no_longer_vouches(feed: FeedFactory, reader: Reader) -> None:
    feed.state_bulk("now", some(100), NOW + HOUR)
    try_publish(feed, some(100))
    feed.officers["binh"] = new_key()
    try_publish(feed, some(101), NOW + 2 * HOUR)
    updater = reader.updater(NOW + 2 * HOUR)
    manifest = reader.manifest(NOW + 2 * HOUR, updater)
    assert manifest is not None
    assert manifest.bulk == ()
    with pytest.raises(RepositoryError):
        reader.get(updater, "bulk/1-2.json")
