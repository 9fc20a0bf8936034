"""A delta: rules removed and rules added between two serials of one authority.

Laws: apply(between(a, b), a) == b; merge(between(a, b), between(b, c)) == between(a, c).
A rule whose action, expiry or decision changed stands once in each list.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from feeds.errors import Untrusted
from feeds.language import _
from feeds.release import Release
from feeds.rule import Rule, Serial


@dataclass(frozen=True, slots=True)
class Delta:
    """Both tuples in strictly rising order of `Rule.key`; no rule stands in both."""

    authority: str
    from_serial: Serial
    to_serial: Serial
    removed: tuple[Rule, ...]
    added: tuple[Rule, ...]


def between(old: Release, new: Release) -> Delta:
    """The delta from `old` to `new`."""
    return _made(old.authority, old.serial, new.serial, set(old.rules), set(new.rules))


def apply(delta: Delta, release: Release) -> Release:
    """The release that `delta` makes of `release`; raises Untrusted where the two do not fit."""
    if (delta.authority, delta.from_serial) != (release.authority, release.serial):
        raise _unfit(delta, _("it starts from release {n}").format(n=int(delta.from_serial)))
    rules = list(release.rules)
    if 8 * (len(delta.removed) + len(delta.added)) < len(rules):
        for rule in delta.removed:
            place = bisect_left(rules, rule.key, key=lambda r: r.key)
            if place == len(rules) or rules[place] != rule:
                raise _unfit(delta, _("it removes {target}, which is not there").format(target=rule.target))
            del rules[place]
        for rule in delta.added:
            rules.insert(bisect_left(rules, rule.key, key=lambda r: r.key), rule)
    else:
        removed = set(delta.removed)
        kept = [rule for rule in rules if rule not in removed]
        if len(kept) + len(removed) != len(rules):
            raise _unfit(delta, _("it removes rules that are not there"))
        rules = sorted([*kept, *delta.added], key=lambda r: r.key)
    return Release(release.authority, delta.to_serial, tuple(rules))


def merge(first: Delta, second: Delta) -> Delta:
    """One delta that does what `first` and then `second` do; raises Untrusted where they do not fit."""
    if (first.authority, first.to_serial) != (second.authority, second.from_serial):
        raise _unfit(second, _("it does not follow the one before"))
    # What both add and take away again cancels out, in either order.
    gone, come = set(first.removed), set(first.added)
    out, new = set(second.removed), set(second.added)
    return _made(
        first.authority,
        first.from_serial,
        second.to_serial,
        (gone - new) | (out - come),
        (come - out) | (new - gone),
    )


def _made(authority: str, old: Serial, new: Serial, before: Iterable[Rule], after: Iterable[Rule]) -> Delta:
    before, after = set(before), set(after)
    return Delta(
        authority,
        old,
        new,
        tuple(sorted(before - after, key=lambda r: r.key)),
        tuple(sorted(after - before, key=lambda r: r.key)),
    )


def _unfit(delta: Delta, why: str) -> Untrusted:
    return Untrusted(
        _("the delta {a}-{b} does not fit: {why}").format(a=int(delta.from_serial), b=int(delta.to_serial), why=why)
    )
