"""Sets of integers as intervals: what address filters, and port filters, are computed with.

`Intervals` are (first, last) pairs, both inclusive, rising, disjoint and not adjacent: each set of integers has exactly
one such form, so equality of forms is equality of sets. Integers know no IP version; the caller keeps the two apart.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import itemgetter
from typing import NamedTuple


class Span(NamedTuple):
    """All integers from `first` to `last`, both included."""

    first: int
    last: int


Intervals = tuple[Span, ...]
# A named tuple's own constructor is a Python function: with hundreds of thousands of spans it takes half of the time.
_span: Callable[[tuple[int, int]], Span] = partial(tuple.__new__, Span)
_start, _end = itemgetter(0), itemgetter(1)
# Beyond every address, for a walk that has come to its end.
_PAST = Span(1 << 130, 1 << 130)
# As many intervals are compared at once.
_BLOCK = 256


def merged(pairs: Iterable[tuple[int, int]]) -> Intervals:
    """The set of all integers of these pairs (first <= last), which may come in any order, overlap and touch."""
    starts: list[int] = []
    ends: list[int] = []
    reach = -2
    for first, last in sorted(pairs):
        if first > reach + 1:
            starts.append(first)
            ends.append(last)
            reach = last
        elif last > reach:
            ends[-1] = reach = last
    return spans(zip(starts, ends, strict=True))


def spans(pairs: Iterable[tuple[int, int]]) -> Intervals:
    """These pairs, which have the one form of their set already."""
    return tuple(map(_span, pairs))


def subtract(whole: Intervals, part: Intervals) -> Intervals:
    """The integers of `whole` that are not in `part`."""
    if not part:
        return whole
    out: list[Span] = []
    place, count = 0, len(part)
    low, high = part[0]
    for span in whole:
        first, last = span
        while high < first and place < count:
            place += 1
            low, high = part[place] if place < count else _PAST
        if low > last:
            out.append(span)
            continue
        here = place
        while here < count and part[here].first <= last:
            if part[here].first > first:
                out.append(Span(first, part[here].first - 1))
            first = part[here].last + 1
            here += 1
        if first <= last:
            out.append(Span(first, last))
    return tuple(out)


def intersect(one: Intervals, other: Intervals) -> Intervals:
    """The integers that are in both."""
    if one == other:
        return one
    return subtract(one, subtract(one, other))


def cut(intervals: Intervals, first: int, last: int) -> Intervals:
    """What lies from `first` to `last`; quick, for it looks only there."""
    begin = bisect_left(intervals, first, key=_end)
    end = bisect_right(intervals, last, key=_start)
    found = list(intervals[begin:end])
    if found and found[0].first < first:
        found[0] = Span(first, found[0].last)
    if found and found[-1].last > last:
        found[-1] = Span(found[-1].first, last)
    return tuple(found)


def differing(before: Intervals, after: Intervals) -> tuple[Intervals, Intervals]:
    """(intervals that only `before` has as they are, those that only `after` has); quick where they differ little."""
    gone: list[Span] = []
    come: list[Span] = []
    here, there = 0, 0
    while here < len(before) and there < len(after):
        if before[here : here + _BLOCK] == after[there : there + _BLOCK]:
            here, there = here + _BLOCK, there + _BLOCK
            continue
        end = here + _BLOCK
        while here < min(end, len(before)) and there < len(after):
            old, new = before[here], after[there]
            here += old <= new
            there += new <= old
            if old < new:
                gone.append(old)
            elif new < old:
                come.append(new)
    return (*gone, *before[here:]), (*come, *after[there:])


def size(intervals: Intervals) -> int:
    """How many integers."""
    return sum(last - first + 1 for first, last in intervals)


def cidrs(intervals: Intervals, bits: int) -> Iterator[tuple[int, int]]:
    """The fewest (network, length) prefixes of `bits`-bit addresses that make up the set, in rising order."""
    for first, last in intervals:
        if first == last:
            yield first, bits
            continue
        while first <= last:
            # The largest block that begins here: as aligned as `first` allows and no longer than what is left.
            free = min((first & -first).bit_length() - 1 if first else bits, (last - first + 1).bit_length() - 1)
            yield first, bits - free
            first += 1 << free
