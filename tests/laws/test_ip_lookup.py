"""Laws of the lookup by longest match: against ipaddress, and against the filter that is enforced."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from feeds.ipfilter.lookup import Lookup
from feeds.ipfilter.wanted import DROPPED, wanted
from feeds.prefix import Prefix
from feeds.rule import Rule
from tests.golden.sample import rule
from tests.laws.test_intervals import BASE, prefix_rules

addresses = st.one_of(st.integers(0, 2**32 - 1), st.integers(BASE, BASE + 255))
lists = st.lists(st.tuples(addresses, st.integers(0, 32)), max_size=20)


@given(lists, addresses)
def test_the_first_rule_is_the_longest_prefix_that_ipaddress_finds(pairs: list[tuple[int, int]], asked: int) -> None:
    networks = {ipaddress.IPv4Network((number, length), strict=False) for number, length in pairs}
    rules = [rule(str(network), number=n) for n, network in enumerate(sorted(networks), 1)]
    there = [network for network in networks if ipaddress.IPv4Address(asked) in network]
    found = Lookup(rules).match(Prefix(4, asked, 32))
    assert [str(one.target) for one in found.rules] == [
        str(network) for network in sorted(there, key=lambda network: -network.prefixlen)
    ]


@given(prefix_rules())
def test_the_rule_that_decides_says_what_the_filter_does(rules: list[Rule]) -> None:
    made, lookup = wanted(rules).filter, Lookup(rules)
    for address in range(BASE - 1, BASE + 17):
        match = lookup.match(Prefix(4, address, 32))
        for protocol, port in (("tcp", 79), ("tcp", 80), ("tcp", 82), ("udp", 53), ("udp", 80)):
            dropped = any(first <= address <= last for first, last in made.blocked4) or any(
                b.first <= address <= b.last and b.low <= port <= b.high for b in made.boxes(protocol, 4)
            )
            deciding = match.deciding(protocol, port)
            assert dropped == (deciding is not None and deciding.action in DROPPED)


@given(lists, lists)
def test_rules_for_parts_are_exactly_those_inside(pairs: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    networks = sorted({ipaddress.IPv4Network((number, length), strict=False) for number, length in pairs})
    lookup = Lookup(rule(str(network), number=n) for n, network in enumerate(networks, 1))
    for number, length in asked:
        target = ipaddress.IPv4Network((number, length), strict=False)
        inside = lookup.within(Prefix(4, int(target.network_address), target.prefixlen))
        assert [str(one.target) for one in inside] == [
            str(network) for network in networks if network != target and network.subnet_of(target)
        ]
