"""Rules -> what a packet filter shall drop. Pure.

A filter can do one thing, drop, so it carries out `nxdomain` (blocked) and `drop`. `nodata`, `tcp_only` and `local`
shape a DNS answer; a filter leaves them to the resolver. As in RPZ the longest prefix decides: whatever is not dropped
is cut out of a wider prefix that is, so that a filter never drops more than was decided. At one prefix a rule with
ports decides over one without, for its protocol and ports, and of two with ports the one that lets pass.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from feeds.errors import Held, Problem
from feeds.floor import FLOOR_WORDS, crossed
from feeds.ipfilter.filter import ALL_PORTS, BITS, PROTOCOLS, Box, Filter
from feeds.ipfilter.intervals import Intervals, Span, merged, size, subtract
from feeds.language import _
from feeds.prefix import Prefix
from feeds.rule import Action, Rule

DROPPED = frozenset({Action.NXDOMAIN, Action.DROP})


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
    sets: dict[str, dict[str, tuple[Span, ...] | tuple[Box, ...]]] = {}
    excepted: dict[int, int] = {}
    for version in BITS:
        own = merged((p.network, p.last) for p in free if p.version == version)
        painted = _Painted()
        for first, last, stack in _segments(rule for rule in prefixed if _prefix(rule).version == version):
            painted.paint(first, last, stack)
        excepted[version] = 0
        for category, pairs in painted.whole.items():
            whole = merged(pairs)
            left = subtract(whole, own)
            sets.setdefault(category, {})[f"blocked{version}"] = left
            excepted[version] += size(whole) - size(left)
        for (category, protocol), runs in painted.limited.items():
            sets.setdefault(category, {})[f"{protocol}{version}"] = tuple(_boxes(runs, own))
    # The names say which set has which kind of element.
    parts = [(category, Filter(**held)) for category, held in sets.items()]  # type: ignore[arg-type]
    return Wanted(Filter.of_parts(parts), len(prefixed), sum(rule.action not in DROPPED for rule in prefixed), excepted)


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
            kept=_("the filter is as it was"),
            then=_("look at the rules named; if the size is right, raise --max-addresses or --max-networks"),
            problems=problems,
        )


class _Painted:
    """Collects segments by the category of the rule that decides: dropped whole, and limited to ports.

    `limited` holds (first, last, ports) by category and protocol.
    """

    def __init__(self) -> None:
        self.whole: dict[str, list[tuple[int, int]]] = {}
        self.limited: dict[tuple[str, str], list[tuple[int, int, Intervals]]] = {}

    def paint(self, first: int, last: int, stack: list[Rule]) -> None:
        if len(stack) == 1 and not stack[0].limits.protocol:
            if stack[0].action in DROPPED:
                self.whole.setdefault(stack[0].category.value, []).append((first, last))
            return
        rest = ""
        ports: dict[str, dict[str, Intervals]] = {protocol: {} for protocol in PROTOCOLS}
        for rule in stack:
            category = rule.category.value if rule.action in DROPPED else ""
            if not rule.limits.protocol:
                rest = category
                ports = {protocol: {category: ALL_PORTS} if category else {} for protocol in PROTOCOLS}
                continue
            these = merged(rule.limits.ports) or ALL_PORTS
            left = {name: subtract(held, these) for name, held in ports[rule.limits.protocol].items()}
            if category:
                left[category] = merged([*left.get(category, ()), *these])
            ports[rule.limits.protocol] = left
        if rest and all(merged(chain.from_iterable(held.values())) == ALL_PORTS for held in ports.values()):
            self.whole.setdefault(rest, []).append((first, last))
            return
        # With an exception for some ports of a blocked prefix, protocols without ports pass: less, never more.
        for protocol, held in ports.items():
            for category, these in held.items():
                self._limit(first, last, category, protocol, these)

    def _limit(self, first: int, last: int, category: str, protocol: str, these: Intervals) -> None:
        runs = self.limited.setdefault((category, protocol), [])
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
