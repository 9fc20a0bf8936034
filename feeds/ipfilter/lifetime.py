"""How long each part of a filter may last, for targets whose entries lapse by themselves."""

from collections.abc import Iterable

from feeds.ipfilter.filter import BITS, PROTOCOLS, Box, Filter
from feeds.ipfilter.intervals import intersect, subtract
from feeds.ipfilter.wanted import wanted
from feeds.prefix import Prefix
from feeds.rule import Rule

HOUR_SECONDS = 3600

# Disjoint parts of a filter, with the seconds that each may last. None of them: the filter does not lapse.
Lasting = tuple[tuple[int, Filter], ...]


def lifetimes(rules: Iterable[Rule], exceptions: Iterable[Prefix], now_seconds: int, longest_seconds: int) -> Lasting:
    """The parts of what `rules` in force want dropped, with the seconds after which each must be gone.

    No part outlives a rule that it needs, nor `longest_seconds`. What is limited to ports may go earlier: as soon as
    its box changes its form. `now_seconds` is Unix time.
    """
    alive, free = list(rules), tuple(exceptions)
    left = wanted(alive, free).filter
    parts: list[tuple[int, Filter]] = []
    ends = {rule.expires * HOUR_SECONDS for rule in alive if isinstance(rule.target, Prefix)}
    for end in sorted(end for end in ends if now_seconds < end < now_seconds + longest_seconds):
        alive = [rule for rule in alive if rule.expires * HOUR_SECONDS > end]
        then = wanted(alive, free).filter
        goes, left = _split(left, then)
        if goes != Filter():
            parts.append((end - now_seconds, goes))
    return tuple(parts) if left == Filter() else (*parts, (longest_seconds, left))


def _split(left: Filter, then: Filter) -> tuple[Filter, Filter]:
    """(what of `left` is not in `then`, what is)."""
    stay4, stay6 = intersect(left.blocked4, then.blocked4), intersect(left.blocked6, then.blocked6)
    gone: list[tuple[Box, ...]] = []
    stay: list[tuple[Box, ...]] = []
    for protocol in PROTOCOLS:
        for version in BITS:
            there, boxes = set(then.boxes(protocol, version)), left.boxes(protocol, version)
            gone.append(tuple(box for box in boxes if box not in there))
            stay.append(tuple(box for box in boxes if box in there))
    goes = Filter(subtract(left.blocked4, stay4), subtract(left.blocked6, stay6), *gone)
    return goes, Filter(stay4, stay6, *stay)
