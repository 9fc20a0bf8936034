"""Nokia SR OS, model-driven CLI: match lists as bgpq4 writes them; with RTBH, tagged blackhole routes."""

from collections.abc import Iterator

from feeds.ipfilter.filter import BITS
from feeds.ipfilter.routers.form import BLACKHOLE, RTBH_TAG, Form, Order, Setup, list_name, prefixes

_WORD = {4: "ip", 6: "ipv6"}
_ROUTE = '/configure router "Base" static-routes route '
_TAIL = f" blackhole admin-state enable tag {RTBH_TAG}"


def write(order: Order) -> Iterator[str]:
    if order.rtbh:
        # The whole path on each line: a line can be taken back by itself.
        for version in BITS:
            for prefix in prefixes(order.filter, version):
                yield f"{_ROUTE}{prefix} route-type unicast{_TAIL}"
        return
    for version, word in _WORD.items():
        name = list_name(version)
        yield "/configure filter match-list"
        yield f'delete {word}-prefix-list "{name}"'
        yield f'{word}-prefix-list "{name}" {{'
        yield from (f"    prefix {prefix} {{ }}" for prefix in prefixes(order.filter, version))
        yield "}"


def undo(line: str) -> str | None:
    """`delete` of the whole route."""
    return f"delete {line.removesuffix(_TAIL)}" if line.startswith(_ROUTE) else None


def setup(setup: Setup) -> Iterator[str]:
    if setup.rtbh:
        yield from _announce(setup)
        return
    for version, word in _WORD.items():
        yield f'/configure filter {word}-filter "blocker{version}" default-action accept'
        entry = f'/configure filter {word}-filter "blocker{version}" entry 10'
        yield f'{entry} match dst-ip {word}-prefix-list "{list_name(version)}"'
        yield f"{entry} action drop"


def _announce(setup: Setup) -> Iterator[str]:
    community = '/configure policy-options community "blocker-rtbh" member'
    yield f'{community} "{BLACKHOLE}" {{ }}'
    yield f'{community} "no-export" {{ }}'
    # A policy of export is the way out: the neighbour hears of the route, whoever is behind it does not.
    policy = '/configure policy-options policy-statement "blocker-rtbh"'
    for version, next_hop in setup.next_hops.items():
        entry = f"{policy} entry {10 * version}"
        yield f"{entry} from protocol name [static]"
        yield f"{entry} from tag {RTBH_TAG}"
        yield f"{entry} from family [ipv{version}]"
        yield f'{entry} action community add ["blocker-rtbh"]'
        yield f"{entry} action next-hop {next_hop}"
        yield f"{entry} action action-type accept"
    yield f"{policy} default-action action-type reject"
    bgp = '/configure router "Base" bgp'
    yield f'/configure router "Base" autonomous-system {setup.asn}'
    yield f'{bgp} group "blocker-rtbh" export policy ["blocker-rtbh"]'
    for version in setup.next_hops:
        yield f'{bgp} group "blocker-rtbh" family ipv{version} true'
    yield f'{bgp} neighbor "{setup.peer}" group "blocker-rtbh"'
    yield f'{bgp} neighbor "{setup.peer}" peer-as {setup.peer_asn}'


FORM = Form("nokia", write, setup, announces=frozenset({"rtbh"}), undo=undo)
