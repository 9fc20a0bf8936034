"""Image: a mapped file as a layer of a policy."""

import json
import mmap
import os
from bisect import bisect_right
from collections.abc import Iterable
from typing import Literal, Self

from feeds.language import _
from feeds.prefix import Prefix
from resolver.image.form import (
    ACTIONS,
    BELOW,
    BUCKET_BYTES,
    BUCKET_NAMES,
    CATEGORIES,
    COUNTED,
    GROUND,
    HEAD_BYTES,
    NO_CATEGORY,
    NONE,
    PREFIX,
    RECORDS,
    STOP,
    VALUE,
    About,
    Head,
    Section,
    damaged,
    new_sum,
    spread,
    tag_of,
)
from resolver.policy.layer import GROUND_BITS, GROUND_MASK, NEVER, Bound, Ground, Hit, as_client, nearest

_TAGS = [bytes([tag]) for tag in range(256)]


class Image:
    """A compiled list, mapped and not read: opening it costs the same whatever its size."""

    __slots__ = ("_clients", "_exact", "_grounds", "_prefixes", "_subtree", "_text_starts", "about", "data", "head")

    def __init__(self, data: mmap.mmap, *, verify: bool = False) -> None:
        """Raises Untrusted for what is no whole image. Only the head is checked; with `verify` every octet is."""
        self.head = head = Head.of_bytes(data[:HEAD_BYTES], len(data))
        if verify:
            with memoryview(data) as whole, whole[HEAD_BYTES:] as body:
                if new_sum(body).digest() != head.body:
                    raise damaged(_("its checksum is wrong"))
        self.data = data
        self.about = About.of_json(json.loads(self._section(Section.ABOUT)))
        self._exact = _Names(data, head, Section.EXACT_FILTER, Section.EXACT_TABLE)
        self._subtree = _Names(data, head, Section.SUBTREE_FILTER, Section.SUBTREE_TABLE)
        self._prefixes = {
            4: _Prefixes(data, head, 4, Section.IPV4_STARTS),
            6: _Prefixes(data, head, 6, Section.IPV6_STARTS),
        }
        self._clients = {
            4: _Prefixes(data, head, 4, Section.CLIENT_IPV4_STARTS),
            6: _Prefixes(data, head, 6, Section.CLIENT_IPV6_STARTS),
        }
        self._text_starts = _numbers(data, head, Section.TEXT_STARTS, "I")
        self._grounds: dict[int, Ground] = {}

    @classmethod
    def of_descriptor(cls, descriptor: int, *, verify: bool = False) -> Self:
        """Map an open file, which may be closed afterwards; raises Untrusted, OSError.

        Nobody may cut the file short while it is mapped: reading past its end would end the process.
        """
        if os.fstat(descriptor).st_size < HEAD_BYTES:
            raise damaged(_("it is cut off"))
        return cls(mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ), verify=verify)

    @property
    def has_names(self) -> bool:
        return bool(self._exact or self._subtree)

    @property
    def has_prefixes(self) -> bool:
        return any(self._prefixes.values())

    @property
    def has_clients(self) -> bool:
        return any(self._clients.values())

    def __len__(self) -> int:
        """How many rules it holds."""
        return self.about.rules

    def by_name(self, key: bytes, hour: int) -> Hit | None:
        """The exact rule at the name, else the subtree rule of its nearest ancestor or itself, if in force."""
        if self._exact:
            value = self._exact.find(key)
            if value >= 0:
                ground = self.ground(value & GROUND_MASK)
                if hour < ground.expires:
                    return Hit(ground, value >> GROUND_BITS, key, True)
        climb = self._subtree.climb
        found = climb(key)
        while found is not None:
            name, value = found
            ground = self.ground(value & GROUND_MASK)
            if hour < ground.expires:
                if ground.bound and (ground.bound is Bound.STOP or len(name) == len(key)):
                    return None
                return Hit(ground, value >> GROUND_BITS, name)
            found = climb(name[name[0] + 1 :])
        return None

    def by_addresses(self, addresses: Iterable[tuple[int, int]], hour: int) -> Hit | None:
        """Of all (version, address) the one under the longest prefix; an IPv4 length counts 96 more, as in RPZ."""
        return nearest(addresses, lambda version, address: self._under(self._prefixes[version], address, hour))

    def by_client(self, version: int, address: int, hour: int) -> Hit | None:
        """The longest prefix of clients in force that holds the address."""
        return as_client(self._under(self._clients[version], address, hour))

    def _under(self, prefixes: "_Prefixes", address: int, hour: int) -> Hit | None:
        owner = prefixes.owner(address)
        while owner != NONE:
            prefix, value, owner = prefixes.rule(owner)
            ground = self.ground(value & GROUND_MASK)
            if hour < ground.expires:
                return Hit(ground, value >> GROUND_BITS, prefix)
        return None

    @property
    def ground_count(self) -> int:
        return self.head.places[Section.GROUNDS][1] // GROUND.size

    def ground(self, index: int) -> Ground:
        """The ground of that number; made when first hit, since a release may have as many grounds as rules."""
        ground = self._grounds.get(index)
        if ground is None:
            start = self.head.places[Section.GROUNDS][0] + index * GROUND.size
            expires, action, category, flags, data, decision = GROUND.unpack_from(self.data, start)
            ground = self._grounds[index] = Ground(
                self.about.source,
                ACTIONS[action],
                self._text(data),
                None if category == NO_CATEGORY else CATEGORIES[category],
                self._text(decision),
                NEVER if expires == NONE else expires,
                bool(flags & COUNTED),
                Bound.STOP if flags & STOP else Bound.BELOW if flags & BELOW else Bound.NONE,
                bool(flags & RECORDS),
            )
        return ground

    def _text(self, number: int) -> str:
        start = self.head.places[Section.TEXTS][0]
        return self.data[start + self._text_starts[number] : start + self._text_starts[number + 1]].decode()

    def _section(self, section: Section) -> bytes:
        start, size = self.head.places[section]
        return self.data[start : start + size]


class _Names:
    """A filter and its table. Not true where it holds no name."""

    __slots__ = ("_buckets", "_data", "_filter", "_mask", "_numbers", "_prime", "_records", "_start")

    def __init__(self, data: mmap.mmap, head: Head, passing: Section, table: Section) -> None:
        self._data = data
        self._prime = head.prime
        start, size = head.places[passing]
        self._filter = memoryview(data)[start : start + size]
        self._mask = 8 * size - 1
        self._start, size = head.places[table]
        self._buckets = size // BUCKET_BYTES
        self._numbers = _numbers(data, head, table, "I")
        self._records = head.places[Section.RECORDS][0]

    def __bool__(self) -> bool:
        return self._buckets > 0

    def find(self, key: bytes) -> int:
        """The value of a name, -1 if it is not there. There must be one name at least."""
        found = int.from_bytes(key) % self._prime
        if self._filter[(found & self._mask) >> 3] >> (found & 7) & 1:
            return self._look_up(key, found)
        return -1

    def climb(self, key: bytes) -> tuple[bytes, int] | None:
        """The name itself or the nearest above it (the root is none) that is there, with its value."""
        if not self._buckets:
            return None
        prime, mask, passing, number = self._prime, self._mask, self._filter, int.from_bytes
        while len(key) > 1:
            found = number(key) % prime
            if passing[(found & mask) >> 3] >> (found & 7) & 1:
                value = self._look_up(key, found)
                if value >= 0:
                    return key, value
            key = key[key[0] + 1 :]
        return None

    def _look_up(self, key: bytes, found: int) -> int:
        data, mix = self._data, spread(found)
        tag = _TAGS[tag_of(mix)]
        bucket = mix * self._buckets >> 32
        for _bucket in range(self._buckets):
            start = self._start + bucket * BUCKET_BYTES
            end = start + BUCKET_NAMES
            seat = data.find(tag, start, end)
            while seat >= 0:
                record = self._records + self._numbers[bucket * 16 + 3 + seat - start]
                name = record + VALUE.size
                if data[name : name + len(key)] == key:
                    return int(VALUE.unpack_from(data, record)[0])
                seat = data.find(tag, seat + 1, end)
            if not self._numbers[bucket * 16 + 15]:
                break
            bucket = (bucket + 1) % self._buckets
        return -1


class _Prefixes:
    """Spans of one family. Not true where there are none."""

    __slots__ = ("_data", "_owners", "_rules", "_size", "_start", "_version")

    def __init__(self, data: mmap.mmap, head: Head, version: int, first: Section) -> None:
        self._data = data
        self._version = version
        self._size = 4 if version == 4 else 16
        self._start = head.places[first][0]
        self._owners = _numbers(data, head, Section(first + 1), "I")
        self._rules = head.places[first + 2][0]

    def __bool__(self) -> bool:
        return len(self._owners) > 0

    def owner(self, address: int) -> int:
        """The number of the longest prefix that holds an address, NONE if there is none."""
        wanted = address.to_bytes(self._size)
        place = bisect_right(range(len(self._owners)), wanted, key=self._first)
        return self._owners[place - 1] if place else NONE

    def rule(self, number: int) -> tuple[Prefix, int, int]:
        """A prefix, its value and the number of the next wider one that holds it."""
        network, value, wider, length = PREFIX.unpack_from(self._data, self._rules + number * PREFIX.size)
        return Prefix(self._version, int.from_bytes(network), length), value, wider

    def _first(self, span: int) -> bytes:
        start = self._start + span * self._size
        return self._data[start : start + self._size]


def _numbers(data: mmap.mmap, head: Head, section: Section, form: Literal["I"]) -> "memoryview[int]":
    start, size = head.places[section]
    return memoryview(data)[start : start + size].cast(form)
