"""Build the index file: one SQLite database, names in a table without row ids, prefixes in packed arrays.

For each name the table says which lists hold it (`own`), which hold a mere variant of it (`same`: `www.` or `m.`
before it, the same site), and which hold some other name below it (`below`), as bit masks over the lists.
`example` gives, for a name and a list, one such name below and how many there are.
"""

import re
import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import idna

from blocker.guard.index import sources
from blocker.guard.index.sources import NAMES, RANGES, Content
from blocker.guard.skeleton import skeleton
from feeds.errors import Rejected
from feeds.floor import SPECIAL_USE_NAMES
from feeds.prefix import Prefix
from feeds.terminal import Advance

FORMAT = 2
VARIANTS = ("www", "m")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+\Z")
_TWIN_RULES = ("guard.vietnam", "guard.popular-top")
_SCHEMA = """
    CREATE TABLE list (id INTEGER PRIMARY KEY, kind TEXT, key TEXT, rule TEXT, origin TEXT, title TEXT, version TEXT,
                       day TEXT, items INTEGER);
    CREATE TABLE name (name TEXT PRIMARY KEY, own INTEGER, same INTEGER, below INTEGER) WITHOUT ROWID;
    CREATE TABLE example (name TEXT, list INTEGER, item TEXT, count INTEGER, PRIMARY KEY (list, name)) WITHOUT ROWID;
    CREATE TABLE twin (skeleton TEXT PRIMARY KEY, name TEXT, list INTEGER) WITHOUT ROWID;
    CREATE TABLE prefixes (list INTEGER, version INTEGER, firsts BLOB, lengths BLOB);
    CREATE TABLE complete (format INTEGER);
"""
STEPS = len(NAMES) + len(RANGES) + 1


def build(path: Path, advance: Advance) -> None:
    """Write the index to `path`, which must not exist. Raises Unavailable, OSError or sqlite3.Error."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-32000;" + _SCHEMA)
        db.execute("BEGIN")
        _Names(db).build(advance)
        for number, source in enumerate(RANGES):
            content = sources.read(source)
            _write_list(db, "prefixes", len(NAMES) + number, content)
            _write_prefixes(db, len(NAMES) + number, content.items)
            advance()
        db.execute("INSERT INTO complete VALUES (?)", (FORMAT,))
        db.execute("COMMIT")


class _Names:
    """Collects the masks of all names, then writes them in order."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._suffixes, self._wild = sources.icann_suffixes()
        # Masks `own`, `same` and `below` side by side in one integer: a dict of tuples would take twice the memory.
        self._masks: dict[str, int] = {}
        self._interned: dict[int, int] = {}  # two million names share a few thousand masks
        self._examples: dict[str, tuple[str, int]] = {}
        self._width = len(NAMES)

    def build(self, advance: Advance) -> None:
        twins: dict[str, tuple[str, int]] = {}
        for number, source in enumerate(NAMES):
            content = sources.read(source)
            _write_list(self._db, "names", number, content)
            # A list is read into memory, taken over and let go before the next.
            for name in _canonical(content.items):
                if not self._is_suffix(name):
                    self._add(name, number)
                    if source.rule in _TWIN_RULES:
                        twins.setdefault(skeleton(name), (name, number))
            self._write_examples(number)
            advance()
        self._write(twins)
        advance()

    def _is_suffix(self, name: str) -> bool:
        """ICANN suffixes are the floor's matter; `gov.vn` alone is ours, too, for the names below it."""
        if name == "gov.vn":
            return False
        return name in self._suffixes or name.partition(".")[2] in self._wild

    def _add(self, name: str, number: int) -> None:
        masks, width = self._masks, self._width
        bit = 1 << number
        intern = self._interned.setdefault
        mask = masks.get(name, 0) | bit
        masks[name] = intern(mask, mask)
        label, _dot, parent = name.partition(".")
        variant = label in VARIANTS
        while "." in parent and not self._is_suffix(parent):
            if variant:
                mask = masks.get(parent, 0) | bit << width
                variant = False
            else:
                mask = masks.get(parent, 0) | bit << 2 * width
                first, count = self._examples.get(parent, (name, 0))
                self._examples[parent] = (first, count + 1)
            masks[parent] = intern(mask, mask)
            parent = parent.partition(".")[2]

    def _write_examples(self, number: int) -> None:
        rows = ((number, name, item, count) for name, (item, count) in sorted(self._examples.items()))
        self._db.executemany("INSERT INTO example (list, name, item, count) VALUES (?,?,?,?)", rows)
        self._examples.clear()

    def _write(self, twins: dict[str, tuple[str, int]]) -> None:
        width, low = self._width, (1 << self._width) - 1
        rows = ((n, m & low, m >> width & low, m >> 2 * width) for n, m in sorted(self._masks.items()))
        self._db.executemany("INSERT INTO name VALUES (?,?,?,?)", rows)
        self._db.executemany(
            "INSERT INTO twin VALUES (?,?,?)", ((key, name, number) for key, (name, number) in sorted(twins.items()))
        )


def _canonical(items: Iterable[str]) -> Iterator[str]:
    """Names as the register writes them; what is none (an address, a URL, a reserved name) is left out."""
    for item in items:
        name = item.strip().strip(".").lower()
        if not name.isascii():
            try:
                name = idna.encode(name, uts46=True).decode()
            except (idna.IDNAError, UnicodeError):
                continue
        top = name.rpartition(".")[2]
        if len(name) <= 253 and _NAME.match(name) and not top.isdigit() and top not in SPECIAL_USE_NAMES:
            yield name


def _write_list(db: sqlite3.Connection, kind: str, number: int, content: Content) -> None:
    source = content.source
    day = content.day.isoformat() if content.day else None
    row = (
        number,
        kind,
        source.key,
        source.rule,
        source.origin,
        content.title,
        content.version,
        day,
        len(content.items),
    )
    db.execute("INSERT INTO list VALUES (?,?,?,?,?,?,?,?,?)", row)


def _write_prefixes(db: sqlite3.Connection, number: int, items: Iterable[str]) -> None:
    found: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for item in items:
        try:
            prefix = Prefix.parse(item)[0]
        except Rejected:
            continue  # a name in a file for both, or IPv4-mapped IPv6
        if prefix.length:
            found[prefix.version].append((prefix.network, prefix.length))
    for version, pairs in found.items():
        kept = list(_outermost(version, pairs))
        if not kept:
            continue
        if version == 4:
            firsts = array("I", [first for first, _length in kept]).tobytes()
        else:
            firsts = b"".join(first.to_bytes(16, "big") for first, _length in kept)
        lengths = bytes(length for _first, length in kept)
        db.execute("INSERT INTO prefixes VALUES (?,?,?,?)", (number, version, firsts, lengths))


def _outermost(version: int, pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Sorted and disjoint: a prefix inside another is left out, so each kept one is an item of the list itself."""
    bits, end = (32, -1) if version == 4 else (128, -1)
    for first, length in sorted(set(pairs)):
        if first > end:
            yield first, length
            end = first | ((1 << (bits - length)) - 1)
