"""A plan: what the kernel holds, what it shall hold, and a checksum over both.

`apply` carries out a plan only by its checksum, so what happens is what a person has looked at. The checksum is in
parts, `nftables-7-KERNEL-WANTED`, so that it tells what changed since: the release, the kernel, or the wish.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from feeds.errors import Held
from feeds.ipfilter.bulk import interval_texts
from feeds.ipfilter.bulk import prefix_count as bulk_count
from feeds.ipfilter.filter import BITS, PROTOCOLS, SET_NAMES, Filter
from feeds.ipfilter.intervals import Intervals, intersect, size, subtract
from feeds.ipfilter.kernel import InKernel, address_text
from feeds.ipfilter.lifetime import Lasting
from feeds.language import _

_DIGITS = 16
# Between the reading of the clock and the loading of the set; a life is whole hours.
_SLACK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Change:
    """Of one set: the elements to add and to remove as text, and how many of the wanted ones are there already."""

    name: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    kept: int


@dataclass(frozen=True, slots=True)
class Plan:
    """`held` is what the kernel holds now; `wanted` and `uses` are what it shall hold (see `InKernel`).

    `lasting` are the lives of all of it, `lifetime_seconds` the longest that was asked for; None where entries stay.
    """

    target: str
    serial: int
    held: InKernel
    wanted: Filter
    uses: tuple[str, ...]
    lifetime_seconds: int | None = None
    lasting: Lasting = ()

    @property
    def checksum(self) -> str:
        """What `apply` must be given."""
        held, wanted = _digest(self.held.filter, self.held.uses), _digest(self.wanted, self.uses, self.lifetime_seconds)
        return f"{self.target}-{self.serial}-{held}-{wanted}"

    @property
    def empty(self) -> bool:
        """Is the kernel as it shall be?"""
        return self.held.filter == self.wanted and self.held.uses == self.uses and not self.ageing

    @property
    def recounted(self) -> bool:
        """Is the very same dropped already, but some of it counted under another category?"""
        return self.held.filter != self.wanted and self.held.filter.plain == self.wanted.plain

    @property
    def ageing(self) -> bool:
        """Do the entries have less than half of their life left, or another life than was asked for?"""
        left = self.held.left_seconds
        if left is None:
            return False
        longest = max((seconds for seconds, _part in self.lasting), default=math.inf)
        return not longest / 2 <= left <= longest + _SLACK_SECONDS

    def lapsing(self) -> "Plan":
        """The part of this plan that only unblocks: what is held and no longer wanted goes, nothing comes."""
        left = self.wanted.common(self.held.filter)
        lasting = tuple((seconds, part.common(left)) for seconds, part in self.lasting)
        return replace(self, wanted=left, lasting=lasting)

    def changes(self) -> tuple[Change, ...]:
        """Set by set, those without elements before and after left out."""
        made = (_change(name, self.held.filter, self.wanted) for name in SET_NAMES)
        return tuple(change for change in made if change.added or change.removed or change.kept)

    def check(self, checksum: str) -> None:
        """Raise Held, saying what changed, unless this is the plan of that checksum."""
        if checksum == self.checksum:
            return
        mine, given = self.checksum.split("-"), checksum.split("-")
        differs = [a != b for a, b in zip(mine, given, strict=False)]
        if len(given) != len(mine) or differs[0]:
            why = [_("it is no checksum of a plan for {target}").format(target=self.target)]
        else:
            sentences = (
                _("the release is now {now}, it was {then}").format(now=mine[1], then=given[1]),
                _("what {target} holds was changed").format(target=self.target),
                _("what is wanted changed: rules lapsed or came, or exceptions or options differ"),
            )
            why = [sentence for sentence, yes in zip(sentences, differs[1:], strict=True) if yes]
        raise Held(
            _("this is not the plan that was looked at: {why}").format(why="; ".join(why)),
            kept=_("the filter is as it was"),
            then=_("look at `blocker ip plan {target}` again and give its checksum").format(target=self.target),
        )


def prefix_count(filter_: Filter, version: int) -> int:
    """Elements of that IP version: the fewest prefixes of what is dropped whole, and the boxes with ports."""
    whole = bulk_count(filter_.whole(version), BITS[version])
    return whole + sum(len(filter_.boxes(protocol, version)) for protocol in PROTOCOLS)


def address_count(filter_: Filter, version: int) -> int:
    """How many addresses of that IP version are covered."""
    return size(filter_.covered(version))


def _change(name: str, held: Filter, wanted: Filter) -> Change:
    protocol, version = name[:-1], int(name[-1])
    if protocol not in PROTOCOLS:
        now, then = held.whole(version), wanted.whole(version)
        return Change(
            name,
            _prefixes(subtract(then, now), version),
            _prefixes(subtract(now, then), version),
            bulk_count(intersect(now, then), BITS[version]),
        )
    before, after = held.boxes(protocol, version), wanted.boxes(protocol, version)
    here, there = set(before), set(after)
    return Change(
        name,
        _boxes([box for box in after if box not in here], version),
        _boxes([box for box in before if box not in there], version),
        len(here & there),
    )


def _prefixes(intervals: Intervals, version: int) -> tuple[str, ...]:
    return tuple(interval_texts(intervals, BITS[version]))


def _boxes(boxes: Sequence[tuple[int, int, int, int]], version: int) -> tuple[str, ...]:
    return tuple(
        f"{_range(address_text(version, first), address_text(version, last))} {_range(str(low), str(high))}"
        for first, last, low, high in boxes
    )


def _range(first: str, last: str) -> str:
    return first if first == last else f"{first}-{last}"


def _digest(filter_: Filter, uses: tuple[str, ...], lifetime_seconds: int | None = None) -> str:
    lives = [] if lifetime_seconds is None else [lifetime_seconds]
    sets = [[name, *(getattr(part, each) for each in SET_NAMES)] for name, part in filter_.by_category()]
    form = json.dumps([sets, uses, *lives], separators=(",", ":"))
    return hashlib.sha256(form.encode()).hexdigest()[:_DIGITS]
