"""BIRD 2: static protocols with blackhole routes, and Flowspec routes where asked for.

The communities are added on export, not here: BIRD keeps a route that already carries no-export from every external
neighbour (`interpret communities`), so it would never reach the upstream that shall discard.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from feeds.ipfilter.filter import BITS
from feeds.ipfilter.routers.form import Flow, Form, Order, Setup, flow_of, limited_flows, list_name, prefixes

_NUMBER = {"tcp": 6, "udp": 17}
_NAME = {"6": "tcp", "17": "udp"}
# RFC 8955 section 7.3: traffic-rate-bytes of zero, discard.
_FLOW = re.compile(
    r"route flow[46] \{ dst (?P<prefix>\S+); (?:proto|next header) (?P<protocol>\d+);"
    r"(?: dport (?P<low>\d+)\.\.(?P<high>\d+);)? \}"
)
_DISCARD = "bgp_ext_community.add((generic, 0x80060000, 0x0));"


def write(order: Order) -> Iterator[str]:
    for version in BITS:
        yield f"protocol static {list_name(version)} {{"
        yield f"\tipv{version};"
        yield from (f"\troute {prefix} blackhole;" for prefix in prefixes(order.filter, version))
        yield "}"
    if not order.flowspec:
        return
    found = list(limited_flows(order.filter))
    for version in BITS:
        yield f"protocol static flow_{list_name(version)} {{"
        yield f"\tflow{version};"
        for flow in (flow for flow in found if flow.version == version):
            protocol = "proto" if version == 4 else "next header"
            ports = "" if flow.all_ports else f" dport {flow.low}..{flow.high};"
            match = f"dst {flow.prefix}; {protocol} {_NUMBER[flow.protocol]};{ports}"
            yield f"\troute flow{version} {{ {match} }} {{ {_DISCARD} }};"
        yield "}"


def setup(setup: Setup) -> Iterator[str]:
    if setup.flowspec:
        yield from (f"flow{version} table flowtab{version};" for version in BITS)
    # BIRD wants an include on its own line.
    yield 'include "/etc/bird/blocker.conf";'
    if not (setup.rtbh or setup.flowspec):
        yield '# Your `protocol kernel` must export these routes: export where proto ~ "blocked*";'
        return
    for version in BITS:
        if setup.rtbh and version in setup.next_hops:
            yield f"filter rtbh_{list_name(version)} {{"
            yield f'\tif proto != "{list_name(version)}" then reject;'
            yield "\tbgp_community.add((65535, 666));"
            yield "\tbgp_community.add((65535, 65281));"
            yield f"\tbgp_next_hop = {setup.next_hops[version]};"
            yield "\taccept;"
            yield "}"
    yield "protocol bgp blocker_out {"
    yield f"\tlocal as {setup.asn};"
    yield f"\tneighbor {setup.peer} as {setup.peer_asn};"
    for version in BITS:
        if setup.rtbh and version in setup.next_hops:
            yield f"\tipv{version} {{ import none; export filter rtbh_{list_name(version)}; }};"
    if setup.flowspec:
        for version in BITS:
            where = f'proto = "flow_{list_name(version)}"'
            yield f"\tflow{version} {{ import none; export where {where}; }};"
    yield "}"


def flow(line: str) -> Flow | None:
    found = _FLOW.search(line)
    made = flow_of(found)
    return replace(made, protocol=_NAME[made.protocol]) if made else None


FORM = Form("bird", write, setup, announces=frozenset({"rtbh", "flowspec"}), flow_of=flow)
