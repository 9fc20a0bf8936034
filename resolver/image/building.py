"""Rules in, an image out, in one pass: names go to the file as they come, 8 octets of each stay in memory.

Prefixes, grounds and their texts are held until the end; of real lists they are the smaller part.
"""

import json
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from feeds.errors import Rejected
from feeds.language import _
from feeds.message.words import MAX_NAME_BYTES
from feeds.prefix import Prefix
from feeds.rule import NameTarget, Scope
from resolver.image.form import (
    ACTIONS,
    ALIGNMENT,
    BOUNDS,
    BUCKET_BYTES,
    BUCKET_NAMES,
    CATEGORIES,
    COUNTED,
    GROUND,
    HEAD_BYTES,
    NO_CATEGORY,
    NONE,
    PADDING,
    PREFIX,
    RECORDS,
    VALUE,
    About,
    Head,
    Section,
    hashed,
    new_sum,
    spread,
    tag_of,
)
from resolver.policy.layer import (
    GROUND_MASK,
    AnyTarget,
    Bound,
    ClientPrefix,
    Ground,
    PrefixSpans,
    Source,
    WireName,
    wire,
)

CHUNK_BYTES: Final = 1 << 18
# Of buckets so full one in thirteen overflows; of filters so full (12 to 24 bits a name) 4 to 8 in 100 strangers pass.
NAMES_A_BUCKET: Final = 8
BITS_A_NAME: Final = 12
# Where the spans of a family begin, of the addresses in answers and of clients; owners and rules follow.
_ANSWERS = {4: Section.IPV4_STARTS, 6: Section.IPV6_STARTS}
_CLIENTS = {4: Section.CLIENT_IPV4_STARTS, 6: Section.CLIENT_IPV6_STARTS}


def build(
    descriptor: int,
    found: Iterable[tuple[AnyTarget, int]],
    grounds: list[Ground],
    *,
    source: Source,
    refused: int,
    made_from: bytes,
    prime: int,
    skipped: Mapping[str, int] | None = None,
) -> About:
    """Write the image of `found` to an empty file; a value is entry number << 24 | index into `grounds`.

    `grounds` may grow while `found` is read. Of two rules for one name the later counts, for one prefix the earlier,
    as in a Layer. `made_from` are SUM_BYTES by which its freshness is judged. Raises Rejected for more than an image
    can hold, OSError, and what `found` raises; what is in the file is then no image, as its head comes last.
    """
    file = _Writing(descriptor)
    exact, subtree = _Names(prime), _Names(prime)
    prefixes = _Addresses({}, {})
    file.put(Section.RECORDS, _records(found, grounds, exact, subtree, prefixes))
    rules = len(prefixes.answers) + len(prefixes.clients) - subtree.stops
    for names, filter_room, table_room in (
        (exact, Section.EXACT_FILTER, Section.EXACT_TABLE),
        (subtree, Section.SUBTREE_FILTER, Section.SUBTREE_TABLE),
    ):
        passing, table, count = names.placed(file)
        file.put(filter_room, [passing])
        file.put(table_room, [table])
        rules += count
    for rooms, held in ((_ANSWERS, prefixes.answers), (_CLIENTS, prefixes.clients)):
        for version, first in rooms.items():
            spans = PrefixSpans((prefix, value) for prefix, value in held.items() if prefix.version == version)
            for number, data in enumerate(_spans(spans, version)):
                file.put(Section(first + number), [data])
    sections = (Section.GROUNDS, Section.TEXT_STARTS, Section.TEXTS)
    for section, data in zip(sections, _grounds(grounds), strict=True):
        file.put(section, [data])
    about = About(source, rules, refused, dict(skipped or {}))
    file.put(Section.ABOUT, [json.dumps(about.as_json(), ensure_ascii=False).encode()])
    file.finish(prime, made_from)
    return about


def write_at(descriptor: int, data: bytes | bytearray, at: int) -> None:
    """Write all of it, however many calls it takes."""
    rest = memoryview(data)
    while rest:
        done = os.pwrite(descriptor, rest, at)
        at += done
        rest = rest[done:]


class _Addresses(NamedTuple):
    answers: dict[Prefix, int]
    clients: dict[Prefix, int]


def _records(
    found: Iterable[tuple[AnyTarget, int]],
    grounds: list[Ground],
    exact: "_Names",
    subtree: "_Names",
    prefixes: _Addresses,
) -> Iterator[bytes]:
    pack, exactly, at = VALUE.pack, Scope.EXACT, 0
    for target, value in found:
        if isinstance(target, NameTarget | WireName):
            if isinstance(target, NameTarget):
                name = wire(target.name.text)
                (exact if target.scope is exactly else subtree).add(name, at)
            else:
                name = target.name
                (exact if target.exact else subtree).add(name, at)
                subtree.stops += not target.exact and grounds[value & GROUND_MASK].bound is Bound.STOP
            record = pack(value) + name
            at += len(record)
            if at > NONE:
                raise Rejected(_("these are more names than an image holds"), kept=_("the release in force stays"))
            yield record
        elif isinstance(target, ClientPrefix):
            prefixes.clients.setdefault(target.prefix, value)
        else:
            prefixes.answers.setdefault(target, value)
    yield PADDING


class _Writing:
    """A file written from front to end, summed on the way; the head is written last."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._sum = new_sum()
        self._places = [(0, 0)] * len(Section)
        self._at = HEAD_BYTES

    def put(self, section: Section, pieces: Iterable[bytes | bytearray]) -> None:
        """Write a section."""
        start = self._at
        held = bytearray()
        for piece in pieces:
            held += piece
            if len(held) >= CHUNK_BYTES:
                self._write(held)
                held = bytearray()
        size = self._at + len(held) - start
        self._places[section] = (start, size)
        self._write(held + bytes(-size % ALIGNMENT))

    def name_at(self, place: int) -> bytes:
        """The name of a record."""
        start = self._places[Section.RECORDS][0] + place + VALUE.size
        data = os.pread(self._descriptor, MAX_NAME_BYTES, start)
        end = 0
        while data[end]:
            end += data[end] + 1
        return data[:end]

    def finish(self, prime: int, made_from: bytes) -> None:
        head = Head(self._at, prime, made_from, self._sum.digest(), tuple(self._places))
        write_at(self._descriptor, head.to_bytes(), 0)

    def _write(self, data: bytearray) -> None:
        self._sum.update(data)
        write_at(self._descriptor, data, self._at)
        self._at += len(data)


class _Names:
    """The names of one scope: of each its hash and the place of its record, which rise. `stops` are no rules."""

    def __init__(self, prime: int) -> None:
        self.stops = 0
        self._prime = prime
        self._hashes = array("I")
        self._places = array("I")

    def add(self, name: bytes, place: int) -> None:
        self._hashes.append(hashed(name, self._prime))
        self._places.append(place)

    def placed(self, file: _Writing) -> tuple[bytearray, bytearray, int]:
        """The filter, the table, and how many names are in it."""
        hashes, places = self._hashes, self._places
        bits = 1 << (len(hashes) * BITS_A_NAME - 1).bit_length() if hashes else 0
        buckets = -(-len(hashes) // NAMES_A_BUCKET)
        passing = bytearray(-(-bits // 8))
        table = bytearray(BUCKET_BYTES * buckets)
        numbers = memoryview(table).cast("I")
        first, count = BUCKET_NAMES // 4, 0
        for found, place in zip(hashes, places, strict=True):
            passing[(found & bits - 1) >> 3] |= 1 << (found & 7)
            mix = spread(found)
            tag = tag_of(mix)
            start = (mix * buckets >> 32) * BUCKET_BYTES
            seat = -1
            while seat < 0:
                end = start + BUCKET_NAMES
                seat = table.find(tag, start, end)
                while seat >= 0 and not self._same(place, numbers[(start >> 2) + first + seat - start], file):
                    seat = table.find(tag, seat + 1, end)
                if seat < 0:
                    seat = table.find(0, start, end)
                    count += seat >= 0
                if seat < 0:
                    # Full: from now on whoever looks here looks further, too.
                    numbers[(end + BUCKET_BYTES - BUCKET_NAMES >> 2) - 1] = 1
                    start = (start + BUCKET_BYTES) % len(table)
            table[seat] = tag
            numbers[(start >> 2) + first + seat - start] = place
        numbers.release()
        return passing, table, count

    def _same(self, place: int, other: int, file: _Writing) -> bool:
        """Do two records hold one name? Only where the hashes agree are the names read."""
        hashes = (self._hashes[bisect_left(self._places, at)] for at in (place, other))
        return next(hashes) == next(hashes) and file.name_at(place) == file.name_at(other)


def _spans(spans: PrefixSpans, version: int) -> tuple[bytes, bytes, bytes]:
    """First addresses, owners and rules of one family."""
    size = 4 if version == 4 else 16
    starts = b"".join(start.to_bytes(size) for start in spans.starts)
    owners = array("I", (owner if owner >= 0 else NONE for owner in spans.owners))
    rules = b"".join(
        PREFIX.pack(prefix.network.to_bytes(16), value, wider if wider >= 0 else NONE, prefix.length)
        for prefix, value, wider in spans.rules
    )
    return starts, owners.tobytes(), rules


def _grounds(grounds: list[Ground]) -> tuple[bytes, bytes, bytes]:
    """Grounds, starts of texts, texts."""
    texts: dict[str, int] = {}
    packed = b"".join(
        GROUND.pack(
            min(ground.expires, NONE),
            ACTIONS.index(ground.action),
            NO_CATEGORY if ground.category is None else CATEGORIES.index(ground.category),
            COUNTED * ground.counted | BOUNDS[ground.bound] | RECORDS * ground.as_records,
            texts.setdefault(ground.data, len(texts)),
            texts.setdefault(ground.decision, len(texts)),
        )
        for ground in grounds
    )
    encoded = [text.encode() for text in texts]
    starts = array("I", accumulate(map(len, encoded), initial=0))
    return packed, starts.tobytes(), b"".join(encoded)
