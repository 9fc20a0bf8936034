"""Read-only lookups in the index."""

import sqlite3
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from blocker.guard.index.sources import NAMES, RANGES
from feeds.language import _
from feeds.prefix import Prefix

_BITS = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True)
class Listed:
    """A list as the index knows it."""

    number: int
    kind: str
    key: str
    rule: str
    origin: str
    title: str
    version: str
    day: date | None
    items: int

    def __str__(self) -> str:
        """How evidence names it: title, origin, and date or version."""
        dated = str(self.day) if self.day else _("version {n}").format(n=self.version)
        return f"{self.title} ({self.origin} {self.key}, {dated})"


@dataclass(frozen=True, slots=True)
class NameHits:
    """Masks over the lists (bit n is list n): which hold the name, a `www.` or `m.` variant, a name below it."""

    own: int
    same: int
    below: int


@dataclass(frozen=True, slots=True)
class RangeHit:
    """An item of a list of prefixes that meets the target."""

    listed: Listed
    item: Prefix


class Index:
    """An opened index. Safe to share between threads that take turns; closes with the process."""

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.Error or ValueError if the file is no complete index."""
        self.path = path
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
        if self._db.execute("SELECT count(*) FROM complete").fetchone() != (1,):
            raise ValueError("the index is not complete")
        self._db.execute("PRAGMA cache_size=-8000")
        rows = self._db.execute("SELECT * FROM list ORDER BY id").fetchall()
        self.lists = tuple(_listed(row) for row in rows)
        if len(self.lists) != len(NAMES) + len(RANGES):
            raise ValueError("the index has other lists")
        self.covering = sum(1 << number for number, source in enumerate(NAMES) if source.covers)
        self._ranges = {4: self._load(4), 6: self._load(6)}

    def names(self, names: tuple[str, ...]) -> dict[str, NameHits]:
        """What the lists say of these names; names that no list knows are left out."""
        rows = self._db.execute(_query(len(names)), names).fetchall()
        return {row[0]: NameHits(row[1], row[2], row[3]) for row in rows}

    def example(self, name: str, number: int) -> tuple[str, int]:
        """One name below `name` that list `number` holds, and how many there are."""
        row = self._db.execute("SELECT item, count FROM example WHERE name=? AND list=?", (name, number)).fetchone()
        return (row[0], row[1]) if row else ("", 0)

    def twin(self, skeleton: str) -> tuple[str, Listed] | None:
        """The protected or very popular name with this skeleton."""
        row = self._db.execute("SELECT name, list FROM twin WHERE skeleton=?", (skeleton,)).fetchone()
        return (row[0], self.lists[row[1]]) if row else None

    def listed(self, mask: int) -> Listed:
        """The first list of a mask that is not 0."""
        return self.lists[(mask & -mask).bit_length() - 1]

    def ranges(self, prefix: Prefix) -> dict[str, RangeHit]:
        """By rule of the guard, the first item that overlaps `prefix`."""
        hits: dict[str, RangeHit] = {}
        bits = _BITS[prefix.version]
        first, last = prefix.network, prefix.last
        for listed, firsts, lengths in self._ranges[prefix.version]:
            place = bisect_right(firsts, last) - 1
            meets = place >= 0 and firsts[place] | ((1 << (bits - lengths[place])) - 1) >= first
            if meets and listed.rule not in hits:
                hits[listed.rule] = RangeHit(listed, Prefix(prefix.version, firsts[place], lengths[place]))
        return hits

    def _load(self, version: int) -> "list[tuple[Listed, array[int] | list[int], bytes]]":
        loaded: list[tuple[Listed, array[int] | list[int], bytes]] = []
        query = "SELECT list, firsts, lengths FROM prefixes WHERE version=? ORDER BY list"
        for number, blob, lengths in self._db.execute(query, (version,)):
            firsts: array[int] | list[int]
            if version == 4:
                firsts = array("I")
                firsts.frombytes(blob)
            else:
                firsts = [int.from_bytes(blob[i : i + 16], "big") for i in range(0, len(blob), 16)]
            loaded.append((self.lists[number], firsts, lengths))
        return loaded


def _listed(row: tuple[int, str, str, str, str, str, str, str | None, int]) -> Listed:
    number, kind, key, rule, origin, title, version, day, items = row
    return Listed(number, kind, key, rule, origin, title, version, date.fromisoformat(day) if day else None, items)


@lru_cache(128)
def _query(count: int) -> str:
    return f"SELECT name, own, same, below FROM name WHERE name IN ({','.join('?' * count)})"  # noqa: S608
