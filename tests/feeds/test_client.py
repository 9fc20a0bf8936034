"""A pull: what is accepted, what is refused, and that the last good release stays."""

import io
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from feeds import canonical
from feeds.client import Choice, pull
from feeds.client.verifying import verify
from feeds.errors import Failure, Held, Stale, Unavailable, Untrusted
from feeds.fetching import Fetcher
from feeds.release import Release
from feeds.rule import Serial
from feeds.store import Store
from tests.feeds.feed_factory import FeedFactory
from tests.feeds.tuf_feed import NOW, OfficerKey, TufFeed, many
from tests.rules import rule

MINUTE = timedelta(minutes=1)


@pytest.fixture
def feed(tmp_path: Path) -> TufFeed:
    return TufFeed(tmp_path / "feed")


@pytest.fixture
def store(tmp_path: Path, feed: TufFeed) -> Store:
    return Store.create(tmp_path / "state", url=feed.url, root=feed.anchor, training=True)


def test_a_first_pull_brings_the_release_that_was_signed(feed: TufFeed, store: Store) -> None:
    manifest = feed.publish(many(3))
    done = pull(store, Fetcher(), NOW)
    assert (done.changed, done.way) == (True, "full")
    accepted = store.accepted()
    assert accepted is not None
    assert accepted.manifest == manifest
    assert accepted.release() == feed.releases[-1]
    assert accepted.refused == {}
    assert verify(store).rules == 3


def test_a_second_pull_of_the_same_release_changes_nothing(feed: TufFeed, store: Store) -> None:
    feed.publish(many(3))
    pull(store, Fetcher(), NOW)
    token = store.token()
    assert pull(store, Fetcher(), NOW + MINUTE).changed is False
    assert store.token() == token
    assert store.counts() == {"accepted": 1, "unchanged": 1}


def test_later_releases_come_by_deltas_and_are_the_same_as_whole_ones(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    feed.publish(many(310))
    feed.publish(many(300, start=8))
    done = pull(store, Fetcher(), NOW + MINUTE)
    assert done.way == "deltas"
    assert done.accepted.release() == feed.releases[-1]
    assert verify(store).signed_rules == 300


def test_a_changed_manifest_of_the_same_rules_is_taken(feed: TufFeed, store: Store) -> None:
    feed.publish(many(3))
    pull(store, Fetcher(), NOW)
    feed.publish_release(feed.releases[-1], authority_name="Sở mới")
    assert pull(store, Fetcher(), NOW + MINUTE).accepted.manifest.authority_name == "Sở mới"


def test_where_the_deltas_are_gone_the_full_release_comes(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    feed.publish(many(301), deltas=())
    done = pull(store, Fetcher(), NOW + MINUTE)
    assert (done.way, done.accepted.release()) == ("full", feed.releases[-1])
    assert (done.removed, done.added) == (0, 1)


def test_deltas_that_unpack_to_more_than_a_release_are_not_held_in_memory_together(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    feed.publish(many(301))
    large = [ref.model_copy(update={"size": canonical.MAX_RELEASE_BYTES + 1}) for ref in feed.deltas]
    feed.publish_release(feed.releases[-1], deltas=tuple(large))
    done = pull(store, Fetcher(), NOW + MINUTE)
    assert (done.way, done.note) == ("full", "")
    assert done.accepted.release() == feed.releases[-1]


def test_a_damaged_delta_is_replaced_by_the_full_release_and_said(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    feed.publish(many(301))
    plain = canonical.decompressing(io.BytesIO(feed.files["deltas/1-2.zst"])).read()
    feed.files["deltas/1-2.zst"] = canonical.compress([plain.replace(b"n301", b"n999")], len(plain))
    feed.sign()
    done = pull(store, Fetcher(), NOW + MINUTE)
    assert done.way == "full"
    assert "deltas did not serve" in done.note
    assert done.accepted.release() == feed.releases[-1]


def test_rules_beyond_the_floor_and_without_a_decision_are_refused_and_counted(feed: TufFeed, store: Store) -> None:
    bad = [rule("google.com", 900), rule("test", 901), rule("lonely.test", 902, decision="no such")]
    feed.publish([*many(3), *bad])
    done = pull(store, Fetcher(), NOW)
    assert done.accepted.refused == {"floor.training": 1, "floor.single-label": 1, "decision.missing": 1}
    assert [r.entry for r in done.accepted.release().rules] == [
        r.entry for r in Release.of("vn-test", 1, many(3)).rules
    ]
    assert verify(store).signed_rules == 6
    # The signed rules stay the base of deltas.
    feed.publish([*many(4), *bad])
    assert pull(store, Fetcher(), NOW + MINUTE).way == "deltas"
    assert store.accepted().counts["rules"] == 4  # type: ignore[union-attr]


# --- what must be refused ---------------------------------------------------------------------------------------


def _attack(feed: TufFeed, store: Store, lie: Callable[[], object], when: datetime = NOW + MINUTE) -> Failure:
    """Accept release 1, let the feed lie, pull: the failure; release 1 must still be whole."""
    feed.publish(many(3))
    pull(store, Fetcher(), NOW)
    lie()
    with pytest.raises(Failure) as caught:
        pull(store, Fetcher(), when)
    accepted = store.accepted()
    assert accepted is not None
    assert accepted.release() == feed.releases[0]
    assert caught.value.kept
    assert caught.value.then
    return caught.value


def test_an_expired_feed_is_stale(feed: TufFeed, store: Store) -> None:
    failure = _attack(feed, store, lambda: None, when=NOW + timedelta(days=3))
    assert isinstance(failure, Stale)
    assert store.counts()["stale"] == 1


def test_a_feed_that_is_gone_and_has_expired_is_stale_and_before_that_unavailable(feed: TufFeed, store: Store) -> None:
    failure = _attack(feed, store, lambda: shutil.rmtree(feed.path))
    assert isinstance(failure, Unavailable)
    with pytest.raises(Stale, match="cannot be reached"):
        pull(store, Fetcher(), NOW + timedelta(days=3))


def test_a_clock_set_back_does_not_revive_an_expired_feed(feed: TufFeed, store: Store) -> None:
    _attack(feed, store, lambda: None, when=NOW + timedelta(days=3))
    with pytest.raises(Stale):
        pull(Store(store.path), Fetcher(), NOW)


def test_a_rolled_back_repository_is_not_trusted(feed: TufFeed, store: Store, tmp_path: Path) -> None:
    feed.publish(many(2))
    shutil.copytree(feed.path, tmp_path / "old")
    feed.publish(many(3))
    pull(store, Fetcher(), NOW)
    shutil.rmtree(feed.path)
    shutil.copytree(tmp_path / "old", feed.path)
    with pytest.raises(Untrusted, match="rolled back"):
        pull(store, Fetcher(), NOW + MINUTE)
    # Also when the metadata cache is lost: the serial alone tells.
    shutil.rmtree(store.path / "tuf")
    (store.path / "tuf").mkdir()
    with pytest.raises(Untrusted, match="went back from release 2 to release 1"):
        pull(store, Fetcher(), NOW + MINUTE)


def test_a_serial_used_twice_is_not_trusted(feed: TufFeed, store: Store) -> None:
    failure = _attack(feed, store, lambda: feed.publish_release(Release.of("vn-test", 1, many(9))))
    assert isinstance(failure, Untrusted)
    assert "other rules than before" in failure.what


def test_another_authority_is_not_trusted(feed: TufFeed, store: Store) -> None:
    def lie() -> None:
        feed.publish_release(Release("other", Serial(2), ()), authority="other")

    failure = _attack(feed, store, lie)
    assert isinstance(failure, Untrusted)
    assert "another authority" in failure.what


def test_a_training_feed_never_enters_a_real_directory_nor_the_reverse(tmp_path: Path) -> None:
    for training in (True, False):
        feed = TufFeed(tmp_path / f"feed-{training}", training=training)
        feed.publish([])
        store = Store.create(tmp_path / f"s-{training}", url=feed.url, root=feed.anchor, training=not training)
        with pytest.raises(Untrusted, match="training"):
            pull(store, Fetcher(), NOW)
        assert store.accepted() is None


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_metadata_signed_by_a_foreign_key_is_not_trusted(feed: TufFeed, store: Store, role: str) -> None:
    def lie() -> None:
        feed.online[role] = OfficerKey().tuf
        feed.publish(many(4))

    assert isinstance(_attack(feed, store, lie), Untrusted)


def test_a_root_signed_by_one_key_is_not_trusted(feed: TufFeed, store: Store) -> None:
    assert isinstance(_attack(feed, store, lambda: feed.sign_root(feed.roots[:1])), Untrusted)


def test_a_rotated_root_is_followed_and_verified_from_the_anchor(feed: TufFeed, store: Store) -> None:
    feed.publish(many(3))
    pull(store, Fetcher(), NOW)
    feed.online["targets"] = OfficerKey().tuf
    feed.sign_root()
    feed.publish(many(4))
    assert pull(store, Fetcher(), NOW + MINUTE).changed
    assert verify(store).root_version == 2


def test_a_file_that_is_not_the_signed_one_is_not_trusted(feed: TufFeed, store: Store) -> None:
    def lie() -> None:
        feed.publish(many(300))
        for path in ("release.zst", "deltas/1-2.zst"):
            file = feed.target_file(path)
            file.write_bytes(file.read_bytes()[:-1] + b"!")

    assert isinstance(_attack(feed, store, lie), Untrusted)


def test_endless_data_is_cut_off(feed: TufFeed, store: Store) -> None:
    def lie() -> None:
        feed.publish(many(4))
        with feed.target_file("manifest.json").open("ab") as file:
            file.write(b" " * 10_000_000)

    failure = _attack(feed, store, lie)
    assert isinstance(failure, Untrusted)
    assert "more than was signed" in failure.what


def test_a_zstd_bomb_ends_at_the_announced_size(feed: TufFeed, store: Store) -> None:
    def lie() -> None:
        feed.publish(many(4), deltas=())
        feed.files["release.zst"] = canonical.compress((b"\0" * (1 << 20) for _n in range(64)), 64 << 20)
        feed.sign()

    failure = _attack(feed, store, lie)
    assert isinstance(failure, Untrusted)
    assert failure.exit_code == 4


@pytest.mark.parametrize("bomb", [b"[" * 200_000, b'{"a":' * 100_000, b'{"serial": 1' + b"0" * 5000 + b"}"])
def test_json_bombs_are_refused(feed: TufFeed, store: Store, bomb: bytes) -> None:
    def lie() -> None:
        feed.publish(many(4))
        feed.files["manifest.json"] = bomb
        feed.sign()

    assert isinstance(_attack(feed, store, lie), Untrusted)


def test_json_bombs_as_metadata_are_refused(feed: TufFeed, store: Store) -> None:
    def lie() -> None:
        (feed.path / "metadata" / "timestamp.json").write_bytes(b"[" * 16_000)

    assert isinstance(_attack(feed, store, lie), Untrusted)


def test_a_digest_other_than_the_manifests_is_not_trusted(feed: TufFeed, store: Store) -> None:
    failure = _attack(feed, store, lambda: feed.publish(many(4), digest="0" * 64))
    assert isinstance(failure, Untrusted)
    assert "not those that were signed" in failure.what


def test_a_manifest_of_a_later_version_is_refused_and_says_so(feed: TufFeed, store: Store) -> None:
    def lie() -> None:
        feed.publish(many(4))
        feed.files["manifest.json"] = feed.files["manifest.json"].replace(b'{"authority"', b'{"Weight":1,"authority"')
        feed.sign()

    failure = _attack(feed, store, lie)
    assert any("newer program" in p.message for p in failure.problems)


# --- the brake --------------------------------------------------------------------------------------------------


def test_a_sudden_shrink_of_a_correctly_signed_list_is_held_and_explained(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    manifest = feed.publish(many(200))
    with pytest.raises(Held, match=r"100 of 300 rules removed \(33.3 %\)") as caught:
        pull(store, Fetcher(), NOW + MINUTE)
    assert f"blocker feed accept 2 {manifest.digest}" in caught.value.then
    assert store.accepted().release() == feed.releases[0]  # type: ignore[union-attr]
    held = store.held()
    assert held is not None
    assert (held.serial, held.digest, held.removed, held.added) == (2, manifest.digest, 100, 0)


def test_an_engineer_lets_it_pass_by_serial_and_digest_and_by_no_others(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    manifest = feed.publish(many(200))
    for choice in (Choice(2, "0" * 64), Choice(3, manifest.digest), Choice(1, manifest.digest), Choice(2, "")):
        with pytest.raises(Untrusted, match="not what the feed carries"):
            pull(store, Fetcher(), NOW + MINUTE, choice)
    assert pull(store, Fetcher(), NOW + MINUTE, Choice(2, manifest.digest[:16])).changed
    assert store.held() is None


def test_an_engineers_choice_holds_though_the_feed_has_gone_on(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    chosen = feed.publish(many(200))
    feed.publish(many(201))
    done = pull(store, Fetcher(), NOW + MINUTE, Choice(2, chosen.digest))
    assert done.accepted.manifest.serial == 3


def test_steps_summed_over_a_day_are_held_and_pass_the_day_after(feed: TufFeed, store: Store) -> None:
    feed.publish(many(1000))
    pull(store, Fetcher(), NOW)
    feed.publish(many(960))
    pull(store, Fetcher(), NOW + MINUTE)
    feed.publish(many(920))
    with pytest.raises(Held, match="within 24 hours"):
        pull(store, Fetcher(), NOW + 2 * MINUTE)
    feed.now = NOW + timedelta(hours=25)
    feed.sign()
    assert pull(store, Fetcher(), NOW + timedelta(hours=25)).changed


def test_an_isp_that_was_away_catches_up_step_by_step(feed: TufFeed, store: Store) -> None:
    feed.life = timedelta(days=90)
    feed.publish(many(1000))
    pull(store, Fetcher(), NOW)
    for day in range(1, 20):
        feed.publish(many(1000, start=1 + 40 * day), now=NOW + timedelta(days=day))
    assert pull(store, Fetcher(), NOW + timedelta(days=20)).way == "deltas"


def test_the_first_accept_has_no_brake_and_lapsed_rules_go_freely(feed: TufFeed, store: Store) -> None:
    soon = int((NOW + timedelta(hours=3)).timestamp() // 3600)
    feed.publish([*many(500), *many(500, start=1000, expires=soon)])
    pull(store, Fetcher(), NOW)
    feed.publish(many(500), now=NOW + timedelta(hours=3))
    assert pull(store, Fetcher(), NOW + timedelta(hours=3)).changed


def test_two_officers_let_a_bulk_change_pass(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    feed.allow(removed=100, added=0)
    feed.publish(many(200))
    assert pull(store, Fetcher(), NOW + MINUTE).changed


def test_a_statement_counts_only_up_to_its_numbers(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    feed.allow(removed=99, added=0)
    feed.publish(many(200))
    with pytest.raises(Held):
        pull(store, Fetcher(), NOW + MINUTE)


def test_the_publishing_host_alone_cannot_pass_a_bulk_change(feed: TufFeed, store: Store) -> None:
    """It holds the targets key, so it can delegate the officers' role to keys of its own, and list them as officers."""
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    thieves = [OfficerKey(), OfficerKey()]
    feed.delegated = thieves
    feed.allow(removed=100, added=0, signers=thieves)
    feed.publish(many(200))
    with pytest.raises(Held, match="0 certified officers signed it and two must"):
        pull(store, Fetcher(), NOW + MINUTE)
    feed.certified = thieves
    feed.roots_signing = thieves
    feed.sign()
    with pytest.raises(Held, match="root signatures"):
        pull(store, Fetcher(), NOW + MINUTE)


def test_the_publishing_host_alone_cannot_unblock_by_leaving_decisions_out(feed: TufFeed, store: Store) -> None:
    """Rules without a decision are not enforced, and the manifest that carries decisions is signed by one key."""
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    feed.publish_release(feed.releases[-1], decisions=())
    with pytest.raises(Held, match="300 of 300 rules removed"):
        pull(store, Fetcher(), NOW + MINUTE)
    feed.publish(many(301), decisions=())
    with pytest.raises(Held, match="300 of 300 rules removed"):
        pull(store, Fetcher(), NOW + MINUTE)
    assert store.accepted().counts["rules"] == 300  # type: ignore[union-attr]
    # With its decisions back it passes, and a decision that carried few rules may go.
    feed.publish(many(301))
    assert pull(store, Fetcher(), NOW + MINUTE).accepted.counts["rules"] == 301


def test_the_publishing_host_cannot_bring_back_a_list_with_officers_who_were_dismissed(
    feed: TufFeed, store: Store
) -> None:
    """The list is looked at in every pull that changes something, not only when a statement needs it."""
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    feed.disable(0)
    feed.publish(many(301))
    pull(store, Fetcher(), NOW + MINUTE)
    feed.officer_changes = ()
    feed.allow(removed=101, added=0, signers=feed.officers[:2])
    feed.publish(many(200))
    with pytest.raises(Held, match="lost changes"):
        pull(store, Fetcher(), NOW + 2 * MINUTE)


def test_one_officer_with_the_publishing_host_cannot_pass_a_bulk_change(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    thief = OfficerKey()
    feed.delegated = [feed.officers[0], thief]
    feed.allow(removed=100, added=0, signers=[feed.officers[0], thief])
    feed.publish(many(200))
    with pytest.raises(Held, match="1 certified officers signed it"):
        pull(store, Fetcher(), NOW + MINUTE)


def test_the_officer_list_cannot_lose_a_change_it_had(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    feed.allow(removed=100, added=0)
    feed.publish(many(200))
    pull(store, Fetcher(), NOW + MINUTE)
    feed.certified = feed.officers[:2]
    feed.allow(removed=100, added=0)
    feed.publish(many(100))
    with pytest.raises(Held, match="lost changes"):
        pull(store, Fetcher(), NOW + 2 * MINUTE)


# --- with the real publisher ------------------------------------------------------------------------------------


def test_what_the_publisher_signs_this_client_accepts(tmp_path: Path) -> None:
    feed = FeedFactory(tmp_path / "feed", now=NOW)
    store = Store.create(tmp_path / "s", url=feed.path.as_uri() + "/", root=feed.anchor, training=True)
    feed.publish(many(300), NOW)
    pull(store, Fetcher(), NOW)
    feed.publish(many(305), NOW + MINUTE)
    done = pull(store, Fetcher(), NOW + MINUTE)
    assert (done.way, done.added) == ("deltas", 5)
    feed.publish_due(NOW + 2 * MINUTE)
    assert not pull(store, Fetcher(), NOW + 2 * MINUTE).changed
    feed.state_bulk("court ruling", many(100), NOW + 3 * MINUTE)
    feed.publish(many(100), NOW + 3 * MINUTE)
    assert pull(store, Fetcher(), NOW + 3 * MINUTE).accepted.counts["rules"] == 100
    assert verify(store).rules == 100
