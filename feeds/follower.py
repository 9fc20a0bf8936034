"""Following a feed: ask often and cheaply whether it changed, pull when it did, and never believe a hint.

`Follower.turn` is one look at the feed: a conditional request for timestamp.json, then a pull if there is anything
to do. What paces the turns (`Pace`, `Wakes`) is pure; threads, sleep and signals are `feeds.command.following`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tuf.api.exceptions import DownloadError

from feeds.client import Pulled, pull, result_of
from feeds.errors import Failure, Unavailable
from feeds.fetching import Fetcher
from feeds.repository import MAX_TIMESTAMP_BYTES, TIMESTAMP
from feeds.store import Store

EVERY_SECONDS = 60.0
JITTER = 0.2
# A refusal is looked at again even if the feed did not change: a held sum leaves the 24 hours, a cache forgets.
RETRY = timedelta(minutes=15)
WAKES = 10
WAKE_REFILL_SECONDS = 30.0
WAKE_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Turn:
    """What one look found: `result` is a word of `feeds.client.RESULTS`; one of the two others is there if it says."""

    result: str
    pulled: Pulled | None = None
    failure: Failure | None = None


@dataclass
class Pace:
    """Seconds to the next look: jittered, so that all ISPs do not come at once."""

    every_seconds: float
    random: Callable[[], float]

    def pause(self) -> float:
        return self.every_seconds * (1 - JITTER + 2 * JITTER * self.random())


@dataclass
class Wakes:
    """How often hints may wake: ten at once, then one every half minute. The rest wait for the ordinary look."""

    left: float = WAKES
    at: float = 0.0

    def take(self, now: float) -> bool:
        """May this hint wake? `now` in seconds of a clock that never goes backwards."""
        self.left = min(WAKES, self.left + (now - self.at) / WAKE_REFILL_SECONDS)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass
class Follower:
    """One feed, one state directory."""

    store: Store
    fetcher: Fetcher
    clock: Callable[[], datetime]
    _etag: str = ""
    _settled: bool = False
    _refusal: Failure | None = None
    _refused_at: datetime | None = None

    def turn(self) -> Turn:
        """Look at the feed once; never raises a Failure. Every turn is counted in the store."""
        now = self.clock()
        self.fetcher.begin()
        etag = self._changed(now)
        if etag is None:
            # What was refused is still what the feed carries.
            result = result_of(self._refusal) if self._refusal else "unchanged"
            self.store.count(result)
            return Turn(result, None, self._refusal)
        try:
            done = pull(self.store, self.fetcher, now)
        except Unavailable as failure:
            self._settled = False
            return Turn(result_of(failure), None, failure)
        except Failure as failure:
            self._etag, self._settled, self._refusal, self._refused_at = etag, True, failure, now
            return Turn(result_of(failure), None, failure)
        self._etag, self._settled, self._refusal = etag, True, None
        return Turn("accepted" if done.changed else "unchanged", done)

    def _changed(self, now: datetime) -> str | None:
        """The ETag of the timestamp if a pull is due, None if nothing can have changed."""
        try:
            found = self.fetcher.poll(self.store.url + TIMESTAMP, self._etag, MAX_TIMESTAMP_BYTES)
        except (DownloadError, Unavailable):
            # The pull meets the same fault, says it and counts it.
            self._settled = False
            return ""
        if found.body is not None:
            return found.etag
        return None if self._settled and not self._due(now) else self._etag

    def _due(self, now: datetime) -> bool:
        """Is a pull due although the server says that nothing changed?"""
        if self._refusal is not None and self._refused_at is not None:
            return now - self._refused_at >= RETRY
        expires = self.store.expires()
        try:
            accepted = self.store.accepted()
        except Failure:
            return True
        return accepted is None or bool(accepted.damage) or expires is None or expires <= self.store.clock(now)
