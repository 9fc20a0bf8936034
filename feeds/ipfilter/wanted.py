"""Rules -> what a packet filter shall drop. Pure.

A filter can do one thing, drop, so it carries out `nxdomain` (blocked) and `drop`. `nodata`, `tcp_only` and `local`
shape a DNS answer; a filter leaves them to the resolver. As in RPZ the longest prefix decides: whatever is not dropped
is cut out of a wider prefix that is, so that a filter never drops more than was decided. At one prefix a rule with
ports decides over one without, for its protocol and ports, and of two with ports the one that lets pass.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

from feeds.errors import Held, Problem
from feeds.floor import FLOOR_WORDS, crossed
from feeds.ipfilter.intervals import Intervals, Span, merged, size, subtract
from feeds.language import _
from feeds.prefix import Prefix
from feeds.rule import Action, Rule

DROPPED = frozenset({Action.NXDOMAIN, Action.DROP})
BITS = {4: 32, 6: 128}
ALL_PORTS: Intervals = (Span(0, 65535),)
PROTOCOLS = ("tcp", "udp")


class Box(NamedTuple):
    """Addresses from `first` to `last`, to destination ports from `low` to `high`."""

    first: int
    last: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Filter:
    """What is dropped, by destination. The field names are the names of the sets in the kernel.

    The boxes of one set are disjoint and in rising order.
    """

    blocked4: Intervals = ()
    blocked6: Intervals = ()
    tcp4: tuple[Box, ...] = ()
    tcp6: tuple[Box, ...] = ()
    udp4: tuple[Box, ...] = ()
    udp6: tuple[Box, ...] = ()

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
        return merged([*self.whole(version), *boxes])


SET_NAMES = tuple(field.name for field in fields(Filter))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be dropped, and of what it was made.

    `rules` is how many prefix rules are in force, `dns_only` how many of them only a resolver can carry out,
    `excepted` how many addresses the ISP's own exceptions freed, by IP version.
    """

    filter: Filter
    rules: int
    dns_only: int
    excepted: dict[int, int]


def wanted(rules: Iterable[Rule], exceptions: Iterable[Prefix] = ()) -> Wanted:
    """What rules in force want dropped, without the ISP's own exceptions."""
    prefixed = [rule for rule in rules if isinstance(rule.target, Prefix)]
    free = tuple(exceptions)
    sets: dict[str, tuple[Span, ...] | tuple[Box, ...]] = {}
    excepted: dict[int, int] = {}
    for version in BITS:
        own = merged((p.network, p.last) for p in free if p.version == version)
        painted = _Painted()
        for first, last, stack in _segments(rule for rule in prefixed if _prefix(rule).version == version):
            painted.paint(first, last, stack)
        whole = merged(painted.whole)
        left = subtract(whole, own)
        sets[f"blocked{version}"] = left
        excepted[version] = size(whole) - size(left)
        for protocol in PROTOCOLS:
            sets[f"{protocol}{version}"] = tuple(_boxes(painted.limited[protocol], own))
    return Wanted(
        Filter(**sets),  # type: ignore[arg-type]  # the names say which set has which kind of element
        len(prefixed),
        sum(rule.action not in DROPPED for rule in prefixed),
        excepted,
    )


def check_safe(rules: Iterable[Rule], training: bool, made: Wanted, most4: int, most6: int) -> None:
    """Raise Held where a filter would cross the floor, or cover more than anybody can have decided.

    `most4` bounds IPv4 addresses, `most6` IPv6 networks of /64. The feed's client checks the floor at every pull;
    a filter in the kernel is checked once more, since its mistakes cut networks off.
    """
    problems = [
        Problem(str(rule.target), word, _(FLOOR_WORDS[word]))
        for rule in rules
        if isinstance(rule.target, Prefix)
        and rule.action in DROPPED
        and (word := crossed(rule.target, training)) is not None
    ]
    covered4 = size(made.filter.covered(4))
    covered6 = size(merged((first >> 64, last >> 64) for first, last in made.filter.covered(6)))
    for rule, unit, count, most in (
        ("ipfilter.too-many-4", _("IPv4 addresses"), covered4, most4),
        ("ipfilter.too-many-6", _("IPv6 networks of /64"), covered6, most6),
    ):
        if count > most:
            message = _("{count} {unit} would be dropped, the limit is {most}").format(
                count=count, unit=unit, most=most
            )
            problems.append(Problem("", rule, message))
    if problems:
        raise Held(
            _("this filter is not safe to apply"),
            kept=_("the filter in the kernel is as it was"),
            then=_("look at the rules named; if the size is right, raise --max-addresses or --max-networks"),
            problems=problems,
        )


class _Painted:
    """Collects segments: addresses dropped whole, and per protocol (first, last, ports)."""

    def __init__(self) -> None:
        self.whole: list[tuple[int, int]] = []
        self.limited: dict[str, list[tuple[int, int, Intervals]]] = {protocol: [] for protocol in PROTOCOLS}

    def paint(self, first: int, last: int, stack: list[Rule]) -> None:
        if len(stack) == 1 and not stack[0].limits.protocol:
            if stack[0].action in DROPPED:
                self.whole.append((first, last))
            return
        rest = False
        ports: dict[str, Intervals] = dict.fromkeys(PROTOCOLS, ())
        for rule in stack:
            drops, protocol = rule.action in DROPPED, rule.limits.protocol
            if not protocol:
                rest = drops
                ports = dict.fromkeys(PROTOCOLS, ALL_PORTS if drops else ())
                continue
            these = merged(rule.limits.ports) or ALL_PORTS
            ports[protocol] = merged([*ports[protocol], *these]) if drops else subtract(ports[protocol], these)
        if rest and all(ports[protocol] == ALL_PORTS for protocol in PROTOCOLS):
            self.whole.append((first, last))
            return
        # With an exception for some ports of a blocked prefix, protocols without ports pass: less, never more.
        for protocol, these in ports.items():
            runs = self.limited[protocol]
            if runs and runs[-1][1] == first - 1 and runs[-1][2] == these:
                runs[-1] = (runs[-1][0], last, these)
            elif these:
                runs.append((first, last, these))


def _boxes(runs: list[tuple[int, int, Intervals]], own: Intervals) -> Iterator[Box]:
    for first, last, ports in runs:
        for span in subtract((Span(first, last),), own):
            for low, high in ports:
                yield Box(*span, low, high)


def _segments(rules: Iterable[Rule]) -> Iterator[tuple[int, int, list[Rule]]]:
    """(first, last, rules whose prefixes hold all of it, widest first), rising, disjoint, gaps left out."""
    stack: list[Rule] = []
    ends: list[int] = []
    place = 0
    for rule in sorted(rules, key=lambda rule: (_prefix(rule).network, *weight(rule))):
        prefix = _prefix(rule)
        start = prefix.network
        while ends and ends[-1] < start:
            last = ends.pop()
            if place <= last:
                yield place, last, stack
                place = last + 1
            stack.pop()
        if stack and place < start:
            yield place, start - 1, stack
        place = start
        stack.append(rule)
        ends.append(prefix.last)
    while stack:
        last = ends.pop()
        if place <= last:
            yield place, last, stack
            place = last + 1
        stack.pop()


def weight(rule: Rule) -> tuple[int, bool, bool]:
    """Of two prefix rules that speak of the same packet, the one of greater weight decides."""
    return _prefix(rule).length, bool(rule.limits.protocol), rule.action not in DROPPED


def _prefix(rule: Rule) -> Prefix:
    assert isinstance(rule.target, Prefix)  # noqa: S101 - only prefix rules are asked
    return rule.target
