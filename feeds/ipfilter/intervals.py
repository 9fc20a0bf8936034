"""Sets of integers as intervals: what address filters, and port filters, are computed with.

`Intervals` are (first, last) pairs, both inclusive, rising, disjoint and not adjacent: each set of integers has exactly
one such form, so equality of forms is equality of sets. Integers know no IP version; the caller keeps the two apart.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Span(NamedTuple):
    """All integers from `first` to `last`, both included."""

    first: int
    last: int


Intervals = tuple[Span, ...]


def merged(pairs: Iterable[tuple[int, int]]) -> Intervals:
    """The set of all integers of these pairs, which may come in any order, overlap and touch."""
    out: list[Span] = []
    for first, last in sorted(pairs):
        if out and first <= out[-1].last + 1:
            if last > out[-1].last:
                out[-1] = Span(out[-1].first, last)
        else:
            out.append(Span(first, last))
    return tuple(out)


def subtract(whole: Intervals, part: Intervals) -> Intervals:
    """The integers of `whole` that are not in `part`."""
    out: list[Span] = []
    place = 0
    for first, last in whole:
        while place < len(part) and part[place].last < first:
            place += 1
        here = place
        while here < len(part) and part[here].first <= last:
            if part[here].first > first:
                out.append(Span(first, part[here].first - 1))
            first = part[here].last + 1
            here += 1
        if first <= last:
            out.append(Span(first, last))
    return tuple(out)


def intersect(one: Intervals, other: Intervals) -> Intervals:
    """The integers that are in both."""
    return subtract(one, subtract(one, other))


def size(intervals: Intervals) -> int:
    """How many integers."""
    return sum(last - first + 1 for first, last in intervals)


def cidrs(intervals: Intervals, bits: int) -> Iterator[tuple[int, int]]:
    """The fewest (network, length) prefixes of `bits`-bit addresses that make up the set, in rising order."""
    for first, last in intervals:
        while first <= last:
            # The largest block that begins here: as aligned as `first` allows and no longer than what is left.
            free = min((first & -first).bit_length() - 1 if first else bits, (last - first + 1).bit_length() - 1)
            yield first, bits - free
            first += 1 << free
