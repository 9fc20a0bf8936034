"""How long each part of a filter may last, for targets whose entries lapse by themselves."""

from collections.abc import Iterable

from feeds.ipfilter.intervals import intersect, subtract
from feeds.ipfilter.wanted import Filter, wanted
from feeds.prefix import Prefix
from feeds.rule import Rule

HOUR_SECONDS = 3600


def lifetimes(
    rules: Iterable[Rule], exceptions: Iterable[Prefix], now_seconds: int, longest_seconds: int
) -> tuple[tuple[int, Filter], ...]:
    """Disjoint parts of what `rules` in force want dropped whole, with the seconds after which each must be gone.

    No part outlives a rule that it needs, nor `longest_seconds`. `now_seconds` is Unix time.
    """
    alive, free = list(rules), tuple(exceptions)
    left = wanted(alive, free).filter
    parts: list[tuple[int, Filter]] = []
    ends = {rule.expires * HOUR_SECONDS for rule in alive if isinstance(rule.target, Prefix)}
    for end in sorted(end for end in ends if now_seconds < end < now_seconds + longest_seconds):
        alive = [rule for rule in alive if rule.expires * HOUR_SECONDS > end]
        then = wanted(alive, free).filter
        stays = Filter(intersect(left.blocked4, then.blocked4), intersect(left.blocked6, then.blocked6))
        goes = Filter(subtract(left.blocked4, stays.blocked4), subtract(left.blocked6, stays.blocked6))
        if goes != Filter():
            parts.append((end - now_seconds, goes))
        left = stays
    rest = Filter(left.blocked4, left.blocked6)
    return tuple(parts) if rest == Filter() else (*parts, (longest_seconds, rest))
