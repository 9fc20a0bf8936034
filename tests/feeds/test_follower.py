"""Following: when a look becomes a pull."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError

from feeds.errors import Stale, Unavailable
from feeds.fetching import Fetcher, Poll
from feeds.follower import RETRY, Follower
from feeds.store import Store
from tests.feeds.tuf_feed import NOW, TufFeed, many

MINUTE = timedelta(minutes=1)


@dataclass
class Polled(Fetcher):
    """Reads the feed's files, and answers polls as a web server does: by the version of timestamp.json."""

    gone: bool = False
    frozen: bool = False
    fetched: int = 0

    def poll(self, url: str, etag: str, max_bytes: int) -> Poll:
        if self.gone:
            raise DownloadError("the server is gone")
        body = self.download_bytes(url, max_bytes)
        now = str(hash(body))
        return Poll(None if etag and (self.frozen or now == etag) else body, now)

    def _fetch(self, url: str):  # type: ignore[no-untyped-def]
        if self.gone:
            raise DownloadError("the server is gone")
        self.fetched += 1
        return super()._fetch(url)


class Case:
    def __init__(self, path: Path) -> None:
        self.feed = TufFeed(path / "feed")
        self.feed.publish(many(300))
        self.store = Store.create(path / "s", url=self.feed.url, root=self.feed.anchor, training=True)
        self.now = NOW
        self.fetcher = Polled()
        self.follower = Follower(self.store, self.fetcher, self.clock)

    def clock(self) -> datetime:
        return self.now

    def turn(self, later: timedelta = MINUTE) -> str:
        self.now += later
        return self.follower.turn().result


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_nothing_is_fetched_while_nothing_changed(case: Case) -> None:
    assert case.turn() == "accepted"
    before = case.fetcher.fetched
    assert [case.turn() for _n in range(3)] == ["unchanged"] * 3
    # One small file a look, read by the server's side of this test.
    assert case.fetcher.fetched == before + 3
    assert case.store.counts() == {"accepted": 1, "unchanged": 3}
    case.feed.publish(many(301))
    assert case.turn() == "accepted"


def test_a_server_that_says_nothing_changed_for_ever_is_found_out_when_the_feed_expires(case: Case) -> None:
    case.turn()
    case.fetcher.frozen = True
    assert case.turn(timedelta(days=1)) == "unchanged"
    case.now += timedelta(days=2)
    turn = case.follower.turn()
    assert isinstance(turn.failure, Stale)


def test_what_is_held_is_not_fetched_at_every_look_but_looked_at_again(case: Case) -> None:
    case.turn()
    case.feed.publish(many(100))
    assert case.turn() == "held"
    before = case.fetcher.fetched
    assert case.turn() == "held"
    assert case.fetcher.fetched == before + 1
    assert case.turn(RETRY) == "held"
    assert case.fetcher.fetched > before + 2
    # A statement of the officers comes with new metadata, and is seen at once.
    last = case.feed.releases.pop()
    case.feed.allow(removed=200, added=0)
    case.feed.releases.append(last)
    case.feed.publish_release(last)
    assert case.turn() == "accepted"


def test_a_feed_that_cannot_be_had_is_asked_again_at_the_next_look(case: Case) -> None:
    case.turn()
    case.fetcher.gone = True
    case.now += MINUTE
    turn = case.follower.turn()
    assert isinstance(turn.failure, Unavailable)
    case.fetcher.gone = False
    case.feed.publish(many(301))
    assert case.turn() == "accepted"


def test_a_damaged_release_is_fetched_again_though_the_feed_did_not_change(case: Case) -> None:
    case.turn()
    accepted = case.store.accepted()
    assert accepted is not None
    (accepted.directory / "release.zst").write_bytes(b"")
    assert case.turn() == "accepted"
    assert case.store.accepted().release() == case.feed.releases[0]  # type: ignore[union-attr]
