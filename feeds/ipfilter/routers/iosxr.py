"""Cisco IOS XR: prefix sets as bgpq4 writes them; with RTBH, tagged static routes to Null0 for a trigger router."""

from collections.abc import Iterator

from feeds.ipfilter.filter import BITS
from feeds.ipfilter.routers.form import (
    BLACKHOLE,
    RTBH_TAG,
    Form,
    Order,
    Setup,
    list_name,
    no_before,
    prefixes,
)


def write(order: Order) -> Iterator[str]:
    if order.rtbh:
        # The whole path on each line: a line can be taken back by itself.
        for version in BITS:
            for prefix in prefixes(order.filter, version):
                yield f"router static address-family ipv{version} unicast {prefix} Null0 tag {RTBH_TAG}"
        return
    for version in BITS:
        name = list_name(version)
        yield f"no prefix-set {name}"
        yield f"prefix-set {name}"
        # The comma stands between entries: after the last one the set is refused.
        held = None
        for prefix in prefixes(order.filter, version):
            if held is not None:
                yield f" {held},"
            held = prefix
        if held is not None:
            yield f" {held}"
        yield "end-set"


def setup(setup: Setup) -> Iterator[str]:
    if setup.rtbh:
        yield from _announce(setup)
        return
    yield "route-policy blocker-in"
    yield f"  if destination in {list_name(4)} or destination in {list_name(6)} then"
    yield "    drop"
    yield "  endif"
    yield "  pass"
    yield "end-policy"


def _announce(setup: Setup) -> Iterator[str]:
    for version, next_hop in setup.next_hops.items():
        yield f"route-policy blocker-rtbh{version}"
        yield f"  if tag is {RTBH_TAG} then"
        yield f"    set next-hop {next_hop}"
        yield f"    set community ({BLACKHOLE})"
        yield "    pass"
        yield "  endif"
        yield "end-policy"
    # no-export (65535:65281) is added on the way out, or the neighbour would never hear of the route.
    yield "route-policy blocker-out"
    yield f"  if community matches-any ({BLACKHOLE}) then"
    yield "    set community (no-export) additive"
    yield "    pass"
    yield "  endif"
    yield "end-policy"
    yield f"router bgp {setup.asn}"
    for version in setup.next_hops:
        yield f" address-family ipv{version} unicast"
        yield f"  redistribute static route-policy blocker-rtbh{version}"
        yield " !"
    yield f" neighbor {setup.peer}"
    yield f"  remote-as {setup.peer_asn}"
    for version in setup.next_hops:
        yield f"  address-family ipv{version} unicast"
        yield "   route-policy blocker-out out"
        yield "   send-community-ebgp"
        yield "  !"
    yield " !"


FORM = Form(
    "iosxr",
    write,
    setup,
    comment="!",
    announces=frozenset({"rtbh"}),
    undo=no_before("router static "),
)
