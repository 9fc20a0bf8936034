"""Answers kept in memory, bounded in bytes; the one used longest ago goes first. Pure: `now` comes in.

An entry is a message in wire form with the places of its TTLs. Compression pointers in it stay right for every
client, since header and question of one name have one length however its case is mixed.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from struct import pack
from typing import Protocol

from feeds.message.building import aged
from resolver.policy import Hit

MAX_TTL = 86_400  # seconds; RFC 8767 section 4 advises a cap of one to seven days
MAX_NEGATIVE_TTL = 3_600  # seconds; RFC 2308 section 5 advises one to three hours
STALE_SECONDS = 86_400  # RFC 8767 section 5: between one and three days
STALE_TTL = 30  # seconds; RFC 8767 section 4
FAILURE_SECONDS = 5  # RFC 9520 section 3.2: at least one second, at most five minutes
# What Python itself takes for an entry: key and body headers, the object, its tuple, its place in the table.
ENTRY_BYTES = 480

# A `question_key`.
Key = bytes


@dataclass(slots=True, eq=False)
class Entry:
    """One kept answer.

    `message` is a whole answer, its question in lower case; `ttls` pairs the place of each TTL with its value when
    stored. `stored` is when (seconds), `lifetime` for how long it is fresh. `judged` says by which state of the
    policy `verdict` was found, so that a swapped release or a lapsed rule makes it be judged again. `recheck_at`: an
    upstream failed to renew it, so it is served stale until then without asking again (RFC 8767 section 5).
    `stripped`: private addresses were taken out of it.
    """

    message: bytes
    ttls: tuple[tuple[int, int], ...]
    stored: float
    lifetime: int
    authentic: bool = False
    upstream: int = 0
    stripped: bool = False
    judged: int = -1
    verdict: Hit | None = None
    recheck_at: float = 0.0
    _aged_by: int = field(default=0, repr=False)
    _aged: bytes = field(default=b"", repr=False)

    @property
    def rcode(self) -> int:
        return self.message[3] & 15

    @property
    def size(self) -> int:
        """Bytes of memory, roughly, without the key."""
        # The aged copy is counted from the start: an entry that is used has one.
        return ENTRY_BYTES + 2 * len(self.message) + 120 * len(self.ttls)

    def fresh(self, now: float) -> bool:
        """May it still be served as it is?"""
        return now - self.stored < self.lifetime

    def aged(self, now: float) -> bytes:
        """The message with its TTLs lowered by the whole seconds since it was stored (RFC 1035 section 3.2.1)."""
        seconds = int(now - self.stored)
        if seconds <= 0:
            return self.message
        if seconds != self._aged_by:
            # Within a second all askers get the same bytes, so the last ones made are kept.
            self._aged = aged(self.message, self.ttls, seconds)
            self._aged_by = seconds
        return self._aged

    def stale(self) -> bytes:
        """The message as it is served past its time: every TTL 30 seconds (RFC 8767 section 4)."""
        return aged(self.message, self.ttls, 0, most=STALE_TTL, least=STALE_TTL)


class AnyCache(Protocol):
    """What keeps answers: this module's, or the compiled lane's."""

    @property
    def bytes(self) -> int: ...

    @property
    def evicted(self) -> int: ...

    def __len__(self) -> int: ...

    def get(self, key: Key, now: float) -> Entry | None:
        """The entry, fresh or stale (ask `Entry.fresh`), or None; counts as a use."""

    def put(self, key: Key, entry: Entry) -> None:
        """Keep it, and let go of the entries used longest ago until the bound holds."""

    def postpone(self, key: Key, until: float) -> None:
        """An upstream failed to renew it: serve it stale until then without asking again."""

    def passes(self, key: Key, entry: Entry) -> None:
        """The policy in force lets that entry pass: it need not be asked again."""

    def drop(self, key: Key) -> None:
        """Forget it, if it is there."""


class Cache:
    """Entries by question, at most `max_bytes` in all. An entry past its life is kept for `stale_seconds` more."""

    def __init__(self, max_bytes: int, stale_seconds: int = STALE_SECONDS) -> None:
        self.max_bytes = max_bytes
        self.stale_seconds = stale_seconds
        self.bytes = 0
        self.evicted = 0
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> Entry | None:
        """The entry, fresh or stale (ask `Entry.fresh`), or None; counts as a use."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now - entry.stored >= entry.lifetime + self.stale_seconds:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep it, and let go of the entries used longest ago until the bound holds."""
        size = entry.size + len(key)
        if size > self.max_bytes // 8:
            return
        self.drop(key)
        self._entries[key] = entry
        self.bytes += size
        while self.bytes > self.max_bytes:
            old_key, old = self._entries.popitem(last=False)
            self.bytes -= old.size + len(old_key)
            self.evicted += 1

    def postpone(self, key: bytes, until: float) -> None:
        """An upstream failed to renew it: serve it stale until then without asking again."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.recheck_at = until

    def passes(self, key: bytes, entry: Entry) -> None:
        """The policy lets it pass: `Entry.verdict` has been told."""

    def drop(self, key: bytes) -> None:
        """Forget it, if it is there."""
        old = self._entries.pop(key, None)
        if old is not None:
            self.bytes -= old.size + len(key)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.bytes = 0


def question_key(name: bytes, qtype: int, do: bool, cd: bool) -> bytes:
    """A question's identity: its name in lower case, its type, and whether DO and CD are set."""
    return name + pack("!HB", qtype, do | cd << 1)


def question_of(key: bytes) -> bytes:
    """The question section, in lower case, of a `question_key`."""
    return key[:-1] + b"\0\x01"
