"""Laws of intervals, against plain sets of integers and against netaddr and ipaddress."""

import ipaddress
from itertools import pairwise

import netaddr
from hypothesis import given
from hypothesis import strategies as st

from feeds.ipfilter.filter import Filter
from feeds.ipfilter.intervals import Intervals, cidrs, cut, differing, intersect, merged, size, subtract
from feeds.ipfilter.kernel import InKernel
from feeds.ipfilter.plan import Plan
from feeds.ipfilter.wanted import wanted
from feeds.prefix import Prefix
from feeds.rule import Action, Rule
from tests.golden.sample import rule

# Small numbers collide often; the families' ends are where arithmetic breaks.
small = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda t: (t[0], t[0] + t[1])), max_size=12)
spans4 = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)).map(lambda t: (min(t), max(t))), max_size=6
)
spans6 = st.lists(
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1)).map(lambda t: (min(t), max(t))), max_size=4
)


def integers(intervals: Intervals) -> set[int]:
    return {n for first, last in intervals for n in range(first, last + 1)}


@given(small)
def test_merged_is_the_union_in_its_one_form(pairs: list[tuple[int, int]]) -> None:
    made = merged(pairs)
    assert integers(made) == {n for first, last in pairs for n in range(first, last + 1)}
    assert all(a.last + 1 < b.first for a, b in pairwise(made))
    assert merged(reversed(pairs)) == made
    assert size(made) == len(integers(made))


@given(small, small)
def test_subtract_and_intersect_are_those_of_sets(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    a, b = merged(one), merged(other)
    assert integers(subtract(a, b)) == integers(a) - integers(b)
    assert integers(intersect(a, b)) == integers(a) & integers(b)
    assert subtract(a, b) == merged(subtract(a, b))
    assert merged([*subtract(a, b), *intersect(a, b)]) == a


@given(small, st.integers(0, 70), st.integers(0, 70))
def test_what_is_cut_out_is_what_lies_there(pairs: list[tuple[int, int]], one: int, other: int) -> None:
    made, first, last = merged(pairs), min(one, other), max(one, other)
    assert cut(made, first, last) == intersect(made, merged([(first, last)]))


few = st.sets(st.integers(0, 1200), max_size=9)


@given(few, few)
def test_differing_is_the_difference_of_the_sets_of_intervals(one: set[int], other: set[int]) -> None:
    # Even numbers do not touch: a thousand intervals each, past the blocks in which they are compared.
    before, after = (merged((2 * n, 2 * n) for n in range(1000) if n not in gaps) for gaps in (one, other))
    assert differing(before, after) == (tuple(sorted({*before} - {*after})), tuple(sorted({*after} - {*before})))
    assert differing(before, before) == ((), ())
    assert differing((), before) == ((), before)


@given(small, small)
def test_differing_speaks_of_whole_intervals(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    before, after = merged(one), merged(other)
    assert differing(before, after) == (tuple(sorted({*before} - {*after})), tuple(sorted({*after} - {*before})))


@given(spans4)
def test_cidrs_are_netaddr_s_minimal_ones_in_ipv4(pairs: list[tuple[int, int]]) -> None:
    made = merged(pairs)
    theirs = [
        (int(block.first), int(block.prefixlen))
        for first, last in made
        for block in netaddr.iprange_to_cidrs(netaddr.IPAddress(first, 4), netaddr.IPAddress(last, 4))
    ]
    assert list(cidrs(made, 32)) == theirs


@given(spans6)
def test_cidrs_are_ipaddress_s_minimal_ones_in_ipv6(pairs: list[tuple[int, int]]) -> None:
    made = merged(pairs)
    theirs = [
        (int(block.network_address), block.prefixlen)
        for first, last in made
        for block in ipaddress.summarize_address_range(ipaddress.IPv6Address(first), ipaddress.IPv6Address(last))
    ]
    assert list(cidrs(made, 128)) == theirs


@given(spans4, spans4)
def test_difference_is_netaddr_s(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    sets = [netaddr.IPSet([netaddr.IPRange(f, n) for f, n in _texts(pairs)]) for pairs in (one, other)]
    theirs = [(int(r.first), int(r.last)) for r in (sets[0] - sets[1]).iter_ipranges()]
    assert [tuple(span) for span in subtract(merged(one), merged(other))] == theirs


def _texts(pairs: list[tuple[int, int]]) -> list[tuple[netaddr.IPAddress, netaddr.IPAddress]]:
    return [(netaddr.IPAddress(first, 4), netaddr.IPAddress(last, 4)) for first, last in pairs]


BASE = int(ipaddress.IPv4Address("192.0.2.0"))


@st.composite
def prefix_rules(draw: st.DrawFn) -> list[Rule]:
    made: dict[tuple[object, ...], Rule] = {}
    for number in range(draw(st.integers(0, 9))):
        length = draw(st.integers(28, 32))
        network = BASE + (draw(st.integers(0, 15)) >> (32 - length) << (32 - length))
        limits = draw(st.sampled_from(["-", "-", "tcp", "tcp/80", "tcp/79-81", "udp/53,80", "tcp/1-65535"]))
        action = draw(st.sampled_from([Action.NXDOMAIN, Action.NXDOMAIN, Action.PASSTHRU, Action.NODATA, Action.DROP]))
        one = rule(f"{ipaddress.IPv4Address(network)}/{length}", action, limits=limits, number=number + 1)
        made[one.key] = one
    return list(made.values())


def drops(rules: list[Rule], address: int, protocol: str, port: int) -> bool:
    """The reference: the longest prefix that speaks of this packet, the rule with ports, the one that passes."""
    speaking = [
        (one.target.length, bool(one.limits.protocol), one.action not in (Action.NXDOMAIN, Action.DROP))
        for one in rules
        if isinstance(one.target, Prefix)
        and one.target.network <= address <= one.target.last
        and one.limits.protocol in ("", protocol)
        and (not one.limits.ports or any(low <= port <= high for low, high in one.limits.ports))
    ]
    return bool(speaking) and not max(speaking)[2]


@given(prefix_rules())
def test_a_filter_drops_what_the_longest_prefix_says_and_nothing_else(rules: list[Rule]) -> None:
    made = wanted(rules).filter
    for address in range(BASE - 1, BASE + 17):
        for protocol in ("tcp", "udp"):
            for port in (0, 52, 53, 79, 80, 81, 65535):
                dropped = any(s.first <= address <= s.last for s in made.blocked4) or any(
                    b.first <= address <= b.last and b.low <= port <= b.high for b in made.boxes(protocol, 4)
                )
                assert dropped == drops(rules, address, protocol, port), (address - BASE, protocol, port)


@given(prefix_rules())
def test_the_boxes_of_a_filter_are_disjoint_and_outside_what_is_dropped_whole(rules: list[Rule]) -> None:
    made = wanted(rules).filter
    for protocol in ("tcp", "udp"):
        points = [
            (address, port)
            for box in made.boxes(protocol, 4)
            for address in range(box.first, box.last + 1)
            for port in {box.low, box.high}
        ]
        assert len(points) == len(set(points))
        assert not {address for address, _port in points} & integers(made.blocked4)


@given(prefix_rules(), prefix_rules())
def test_a_lapse_leaves_what_is_both_held_and_wanted(held: list[Rule], wish: list[Rule]) -> None:
    before, after = wanted(held).filter, wanted(wish).filter
    left = Plan("nftables", 1, InKernel(before, (), {}), after, ()).lapsing().wanted
    for address in range(BASE - 1, BASE + 17):
        assert _whole(left, address) == (_whole(before, address) and _whole(after, address))
        for port in (52, 53, 79, 80, 81):
            both = _boxed(before, address, port) and _boxed(after, address, port)
            assert _boxed(left, address, port) == both


def _whole(made: Filter, address: int) -> bool:
    return any(span.first <= address <= span.last for span in made.blocked4)


def _boxed(made: Filter, address: int, port: int) -> bool:
    return any(box.first <= address <= box.last and box.low <= port <= box.high for box in made.tcp4)
