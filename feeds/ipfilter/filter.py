"""What a packet filter drops, as a value: addresses, addresses with ports, and for what crime."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

from feeds.ipfilter.intervals import Intervals, Span, intersect, merged

BITS = {4: 32, 6: 128}
ALL_PORTS: Intervals = (Span(0, 65535),)
PROTOCOLS = ("tcp", "udp")
SET_NAMES = ("blocked4", "blocked6", "tcp4", "tcp6", "udp4", "udp6")
# What is dropped for a reason that nobody gave.
OTHER = "other"

# (category, what is dropped for it), disjoint, by name of category, none of them empty
Parts = tuple[tuple[str, "Filter"], ...]


class Box(NamedTuple):
    """Addresses from `first` to `last`, to destination ports from `low` to `high`."""

    first: int
    last: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Filter:
    """What is dropped, by destination. The names of the first six fields are the names of the sets in the kernel.

    The boxes of one set are disjoint and in rising order. `parts` are the same by category; there are none where
    nobody counts by category.
    """

    blocked4: Intervals = ()
    blocked6: Intervals = ()
    tcp4: tuple[Box, ...] = ()
    tcp6: tuple[Box, ...] = ()
    udp4: tuple[Box, ...] = ()
    udp6: tuple[Box, ...] = ()
    parts: Parts = field(default=(), kw_only=True)

    @classmethod
    def of_parts(cls, parts: Iterable[tuple[str, "Filter"]]) -> "Filter":
        """All of what these disjoint parts drop."""
        held = tuple(sorted(((name, part) for name, part in parts if part != Filter()), key=lambda each: each[0]))
        if len(held) == 1:
            ((name, only),) = held
            return only if name == OTHER else replace(only, parts=held)
        return cls(
            merged(chain.from_iterable(part.blocked4 for _name, part in held)),
            merged(chain.from_iterable(part.blocked6 for _name, part in held)),
            *(
                tuple(sorted(chain.from_iterable(part.boxes(protocol, version) for _name, part in held)))
                for protocol in PROTOCOLS
                for version in BITS
            ),
            parts=held,
        )

    @property
    def plain(self) -> "Filter":
        """The same without categories."""
        return replace(self, parts=()) if self.parts else self

    def by_category(self) -> Parts:
        """The parts; all of it as `other` where there are none."""
        return self.parts or ((OTHER, self),)

    def whole(self, version: int) -> Intervals:
        """The addresses of that IP version to which everything is dropped."""
        return self.blocked4 if version == 4 else self.blocked6

    def boxes(self, protocol: str, version: int) -> tuple[Box, ...]:
        """What is dropped of one protocol only."""
        boxes: tuple[Box, ...] = getattr(self, f"{protocol}{version}")
        return boxes

    def covered(self, version: int) -> Intervals:
        """Every address of that IP version to which anything is dropped."""
        boxes = [(b.first, b.last) for protocol in PROTOCOLS for b in self.boxes(protocol, version)]
        return merged([*self.whole(version), *boxes]) if boxes else self.whole(version)

    def joined(self) -> "Filter":
        """The same without categories, boxes of the same ports that touch as one: the form that is compared."""
        return Filter(self.blocked4, self.blocked6, *map(_joined, (self.tcp4, self.tcp6, self.udp4, self.udp6)))

    def common(self, other: "Filter") -> "Filter":
        """What both drop, by the categories of this one."""
        return Filter.of_parts((name, _common(part, other)) for name, part in self.by_category())


def _joined(boxes: Iterable[Box]) -> tuple[Box, ...]:
    by_ports: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for first, last, low, high in boxes:
        by_ports.setdefault((low, high), []).append((first, last))
    return tuple(sorted(Box(*span, *ports) for ports, spans in by_ports.items() for span in merged(spans)))


def _common(one: Filter, other: Filter) -> Filter:
    return Filter(
        intersect(one.blocked4, other.blocked4),
        intersect(one.blocked6, other.blocked6),
        *(_pieces(one.boxes(p, v), other.boxes(p, v)) for p in PROTOCOLS for v in BITS),
    )


def _pieces(one: tuple[Box, ...], other: tuple[Box, ...]) -> tuple[Box, ...]:
    """What is in both; each side's boxes are disjoint, so the pieces are, too."""
    same = set(one) & set(other)
    there = [box for box in other if box not in same]
    pieces = (
        Box(max(a.first, b.first), min(a.last, b.last), max(a.low, b.low), min(a.high, b.high))
        for a in one
        if a not in same
        for b in there
    )
    return tuple(sorted([*same, *(p for p in pieces if p.first <= p.last and p.low <= p.high)]))
