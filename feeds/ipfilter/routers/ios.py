"""Cisco IOS: prefix lists as bgpq4 writes them; with RTBH, tagged static routes to Null0 for a trigger router."""

import re
from collections.abc import Iterator

from feeds.ipfilter.filter import BITS
from feeds.ipfilter.intervals import cidrs
from feeds.ipfilter.kernel import address_of, address_text
from feeds.ipfilter.routers.form import (
    BLACKHOLE,
    NO_EXPORT,
    RTBH_TAG,
    Form,
    Order,
    Setup,
    list_name,
    no_before,
    prefix_in,
    prefixes,
)

_ROUTE = re.compile(r"ip route (\S+) (\S+) Null0")
WORD = {4: "ip", 6: "ipv6"}
EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}


def lists(order: Order) -> Iterator[str]:
    """The two prefix lists. An empty one would permit everything, so it denies everything instead."""
    for version, word in WORD.items():
        name = list_name(version)
        yield f"no {word} prefix-list {name}"
        found = False
        for prefix in prefixes(order.filter, version):
            found = True
            yield f"{word} prefix-list {name} permit {prefix}"
        if not found:
            yield f"{word} prefix-list {name} deny {EVERYTHING[version]}"


def write(order: Order) -> Iterator[str]:
    if not order.rtbh:
        yield from lists(order)
        return
    for network, length in cidrs(order.filter.whole(4), BITS[4]):
        mask = address_text(4, (1 << 32) - (1 << (32 - length)))
        yield f"ip route {address_text(4, network)} {mask} Null0 tag {RTBH_TAG}"
    for prefix in prefixes(order.filter, 6):
        yield f"ipv6 route {prefix} Null0 tag {RTBH_TAG}"


def setup(setup: Setup) -> Iterator[str]:
    yield from setup_of(setup, "ip")


def setup_of(setup: Setup, word: str) -> Iterator[str]:
    """`word` begins the command that names communities."""
    if not setup.rtbh:
        yield from paste_lists()
        return
    yield from route_maps(setup, word)
    yield f"router bgp {setup.asn}"
    yield f" neighbor {setup.peer} remote-as {setup.peer_asn}"
    for version in setup.next_hops:
        yield f" address-family ipv{version} unicast"
        yield f"  redistribute static route-map {rtbh_map(version)}"
        yield f"  neighbor {setup.peer} activate"
        yield f"  neighbor {setup.peer} send-community"
        yield f"  neighbor {setup.peer} route-map blocker-out out"
        yield " exit-address-family"


def paste_lists() -> Iterator[str]:
    """A use of the lists: take no route to what is blocked."""
    yield "route-map blocker-in deny 5"
    yield f" match ip address prefix-list {list_name(4)}"
    yield "route-map blocker-in deny 6"
    yield f" match ipv6 address prefix-list {list_name(6)}"
    yield "route-map blocker-in permit 100"


def route_maps(setup: Setup, word: str) -> Iterator[str]:
    """Tag -> next hop and community; no-export is added on the way out, or the neighbour would never hear of it."""
    for version, next_hop in setup.next_hops.items():
        yield f"route-map {rtbh_map(version)} permit 10"
        yield f" match tag {RTBH_TAG}"
        yield f" set {WORD[version]} next-hop {'global ' if version == 6 else ''}{next_hop}"
        yield f" set community {BLACKHOLE}"
    yield f"{word} community-list standard blocker-rtbh permit {BLACKHOLE}"
    yield "route-map blocker-out permit 10"
    yield " match community blocker-rtbh"
    yield f" set community {NO_EXPORT} additive"


def rtbh_map(version: int) -> str:
    return f"blocker-rtbh{version}"


def prefix_of(line: str) -> str | None:
    found = _ROUTE.match(line)
    return f"{found[1]}/{address_of(found[2]).bit_count()}" if found else prefix_in(line)


FORM = Form(
    "ios",
    write,
    setup,
    comment="!",
    announces=frozenset({"rtbh"}),
    undo=no_before("ip route ", "ipv6 route "),
    prefix_of=prefix_of,
)
