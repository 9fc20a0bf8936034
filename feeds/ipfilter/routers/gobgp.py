"""GoBGP: a shell script of its command line tool."""

import json
import re
from collections.abc import Iterator

from feeds.ipfilter.routers.form import BLACKHOLE, NO_EXPORT, Flow, Form, Order, Setup, flow_of, flows, prefixes

_FLOW = re.compile(
    r"-a ipv[46]-flowspec match destination (?P<prefix>\S+)(?: protocol '==(?P<protocol>\w+)')?"
    r"(?: destination-port '[>=]=(?P<low>\d+)(?:&<=(?P<high>\d+))?')? then"
)
# Its own name of a Flowspec rule; of IPv6 the offset into the address follows the length.
_LIVE = re.compile(
    r"\[destination: (?P<prefix>[0-9a-f:.]+/\d+)(?:/0)?\](?:\[protocol: ==(?P<protocol>tcp|udp)\])?"
    r"(?:\[destination-port: [>=]=(?P<low>\d+)(?:&<=(?P<high>\d+))?\])?"
)
_COMMUNITIES = {(high << 16) + low for high, low in (map(int, c.split(":")) for c in (BLACKHOLE, NO_EXPORT))}
_ADD = "gobgp global rib add "


def write(order: Order) -> Iterator[str]:
    yield "set -e"
    if order.rtbh:
        for version, next_hop in order.next_hops.items():
            yield from (_route(version, prefix, next_hop) for prefix in prefixes(order.filter, version))
    if order.flowspec:
        yield from (_announced(flow) for flow in flows(order))


def undo(line: str) -> str | None:
    """`rib del` for `rib add`."""
    return line.replace(" add ", " del ", 1) if line.startswith(_ADD) else None


def live(printed: str) -> Iterator[str]:
    """From `gobgp global rib -j`: the blackhole routes and Flowspec rules that were put in here."""
    for name, paths in json.loads(printed or "{}").items():
        for path in paths:
            # What a neighbour told is not ours.
            if "neighbor-ip" in path or "source-id" in path:
                continue
            flow = flow_of(_LIVE.fullmatch(name))
            about = {key: value for attribute in path["attrs"] for key, value in attribute.items()}
            if flow is not None:
                yield _announced(flow)
            elif set(about.get("communities", ())) >= _COMMUNITIES:
                yield _route(6 if ":" in name else 4, name, about["nexthop"])


def setup(setup: Setup) -> Iterator[str]:
    yield "[global.config]"
    yield f"as = {setup.asn}"
    yield f'router-id = "{setup.next_hops.get(4, "192.0.2.1")}"'
    yield "[[neighbors]]"
    yield "[neighbors.config]"
    yield f'neighbor-address = "{setup.peer}"'
    yield f"peer-as = {setup.peer_asn}"
    families = [f"ipv{version}-unicast" for version in setup.next_hops] if setup.rtbh else []
    if setup.flowspec:
        families += ["ipv4-flowspec", "ipv6-flowspec"]
    for family in families:
        yield "[[neighbors.afi-safis]]"
        yield "[neighbors.afi-safis.config]"
        yield f'afi-safi-name = "{family}"'


def _route(version: int, prefix: str, next_hop: str) -> str:
    return f"{_ADD}-a ipv{version} {prefix} nexthop {next_hop} community {BLACKHOLE},{NO_EXPORT}"


def _announced(flow: Flow) -> str:
    return f"{_ADD}-a ipv{flow.version}-flowspec match {_match(flow)} then discard"


def _match(flow: Flow) -> str:
    match = f"destination {flow.prefix}"
    if flow.protocol:
        match += f" protocol '=={flow.protocol}'"
        if not flow.all_ports:
            ports = f"=={flow.low}" if flow.low == flow.high else f">={flow.low}&<={flow.high}"
            match += f" destination-port '{ports}'"
    return match


def _flow(line: str) -> Flow | None:
    return flow_of(_FLOW.search(line))


FORM = Form(
    "gobgp",
    write,
    setup,
    announces=frozenset({"rtbh", "flowspec"}),
    must_announce=True,
    undo=undo,
    flow_of=_flow,
    live=live,
)
