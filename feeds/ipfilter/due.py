"""When a follower compares the filter with the release again. Pure: the clock comes in as seconds that only rise."""

from dataclasses import dataclass

RETRY_SECONDS = 30.0
# Somebody else may have flushed the sets: they are read again this often although nothing changed.
RECHECK_SECONDS = 600.0


@dataclass
class Due:
    """`key` is everything that decides what is wanted: the release, the hour, the exceptions."""

    _key: object = None
    _at: float = 0.0

    def take(self, key: object, now_seconds: float) -> bool:
        """Is a turn due? If so, the next one is due when `key` changes, or after a while."""
        if key == self._key and now_seconds < self._at:
            return False
        self._key, self._at = key, now_seconds + RECHECK_SECONDS
        return True

    def failed(self, now_seconds: float) -> None:
        """The turn did not succeed: try again soon."""
        self._at = now_seconds + RETRY_SECONDS
