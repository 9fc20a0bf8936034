"""Huawei VRP: prefix lists as bgpq4 writes them; with RTBH, tagged static routes to NULL0 for a trigger router."""

import re
from collections.abc import Iterator

from feeds.ipfilter.routers.form import BLACKHOLE, RTBH_TAG, Form, Order, Setup, list_name, prefixes

_WORD = {4: "ip-prefix", 6: "ipv6-prefix"}
_ROUTE = {4: "ip route-static", 6: "ipv6 route-static"}
_PREFIX = re.compile(r"(?:permit|route-static) (\S+) (\d+)")
_NOTHING = {4: "0.0.0.0 0", 6: ":: 0"}


def write(order: Order) -> Iterator[str]:
    if order.rtbh:
        for version, word in _ROUTE.items():
            for prefix in prefixes(order.filter, version):
                yield f"{word} {prefix.replace('/', ' ')} NULL0 tag {RTBH_TAG}"
        return
    for version, word in _WORD.items():
        name = list_name(version)
        yield f"undo ip {word} {name}"
        found = False
        for prefix in prefixes(order.filter, version):
            found = True
            yield f"ip {word} {name} permit {prefix.replace('/', ' ')}"
        if not found:
            yield f"ip {word} {name} deny {_NOTHING[version]}"


def undo(line: str) -> str | None:
    """`undo` before a route; it takes no tag."""
    return f"undo {line.removesuffix(f' tag {RTBH_TAG}')}" if line.startswith(tuple(_ROUTE.values())) else None


def setup(setup: Setup) -> Iterator[str]:
    if setup.rtbh:
        yield from _announce(setup)
        return
    yield "route-policy blocker-in deny node 5"
    yield f" if-match ip-prefix {list_name(4)}"
    yield "route-policy blocker-in deny node 6"
    yield f" if-match ipv6 address prefix-list {list_name(6)}"
    yield "route-policy blocker-in permit node 100"


def _announce(setup: Setup) -> Iterator[str]:
    for version, next_hop in setup.next_hops.items():
        yield f"route-policy blocker-rtbh{version} permit node 10"
        yield f" if-match tag {RTBH_TAG}"
        yield f" apply {'ip-address' if version == 4 else 'ipv6'} next-hop {next_hop}"
        yield f" apply community {BLACKHOLE}"
    # no-export (65535:65281) is added on the way out, or the neighbour would never hear of the route.
    yield f"ip community-filter basic blocker-rtbh permit {BLACKHOLE}"
    yield "route-policy blocker-out permit node 10"
    yield " if-match community-filter blocker-rtbh"
    yield " apply community no-export additive"
    yield f"bgp {setup.asn}"
    yield f" peer {setup.peer} as-number {setup.peer_asn}"
    for version in setup.next_hops:
        yield f" ipv{version}-family unicast"
        yield f"  import-route static route-policy blocker-rtbh{version}"
        yield f"  peer {setup.peer} enable"
        yield f"  peer {setup.peer} route-policy blocker-out export"
        yield f"  peer {setup.peer} advertise-community"


def prefix_of(line: str) -> str | None:
    found = _PREFIX.search(line)
    return f"{found[1]}/{found[2]}" if found else None


FORM = Form("huawei", write, setup, announces=frozenset({"rtbh"}), undo=undo, prefix_of=prefix_of)
