"""A pull: what is accepted, what is refused, and that the last good release stays."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from feeds.client import Choice, Pulled, pull
from feeds.errors import Held, Stale, Unavailable, Untrusted
from feeds.fetching import Fetcher
from feeds.rule import Rule
from feeds.store import Store
from tests.feeds.tuf_feed import NOW, OfficerKey, TufFeed
from tests.rules import rule

MINUTE = timedelta(minutes=1)


def many(count: int, start: int = 1) -> list[Rule]:
    return [rule(f"n{n}.test", n) for n in range(start, start + count)]


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


def test_a_second_pull_of_the_same_release_changes_nothing(feed: TufFeed, store: Store) -> None:
    feed.publish(many(3))
    pull(store, Fetcher(), NOW)
    token = store.token()
    assert pull(store, Fetcher(), NOW + MINUTE).changed is False
    assert store.token() == token


def test_later_releases_come_by_deltas_and_are_the_same_as_whole_ones(feed: TufFeed, store: Store) -> None:
    feed.publish(many(300))
    pull(store, Fetcher(), NOW)
    feed.publish(many(310))
    feed.publish(many(300, start=8))
    done = pull(store, Fetcher(), NOW + MINUTE)
    assert done.way == "deltas"
    assert done.accepted.release() == feed.releases[-1]
