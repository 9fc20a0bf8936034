"""Arista EOS: numbered prefix lists as bgpq4 writes them; with RTBH, tagged static routes to Null0."""

from collections.abc import Iterator

from feeds.ipfilter.routers.form import RTBH_TAG, Form, Order, Setup, list_name, no_before, prefixes
from feeds.ipfilter.routers.ios import EVERYTHING, WORD, paste_lists, route_maps, rtbh_map


def write(order: Order) -> Iterator[str]:
    if order.rtbh:
        for version, word in WORD.items():
            yield from (f"{word} route {prefix} Null0 tag {RTBH_TAG}" for prefix in prefixes(order.filter, version))
        return
    for version, word in WORD.items():
        name = list_name(version)
        yield f"no {word} prefix-list {name}"
        yield f"{word} prefix-list {name}"
        number = 0
        for number, prefix in enumerate(prefixes(order.filter, version), 1):
            yield f"   seq {number} permit {prefix}"
        if not number:
            yield f"   seq 1 deny {EVERYTHING[version]}"


def setup(setup: Setup) -> Iterator[str]:
    if not setup.rtbh:
        yield from paste_lists()
        return
    yield from (line.replace("next-hop global ", "next-hop ") for line in route_maps(setup, "ip"))
    yield f"router bgp {setup.asn}"
    yield f"   neighbor {setup.peer} remote-as {setup.peer_asn}"
    yield f"   neighbor {setup.peer} send-community"
    for version in setup.next_hops:
        yield f"   address-family ipv{version}"
        yield f"      redistribute static route-map {rtbh_map(version)}"
        yield f"      neighbor {setup.peer} activate"
        yield f"      neighbor {setup.peer} route-map blocker-out out"


FORM = Form(
    "arista",
    write,
    setup,
    comment="!",
    announces=frozenset({"rtbh"}),
    undo=no_before("ip route ", "ipv6 route "),
)
