"""ExaBGP: commands of its process API, one a line."""

import re
from collections.abc import Iterator

from feeds.ipfilter.routers.form import BLACKHOLE, NO_EXPORT, Flow, Form, Order, Setup, flow_of, flows, prefixes

_FLOW = re.compile(
    r"flow route \{ match \{ destination (?P<prefix>\S+);(?: (?:protocol|next-header) (?P<protocol>\w+);)?"
    r"(?: destination-port >?=(?P<low>\d+)(?:&<=(?P<high>\d+))?;)? \}"
)


def write(order: Order) -> Iterator[str]:
    if order.rtbh:
        for version, next_hop in order.next_hops.items():
            for prefix in prefixes(order.filter, version):
                yield f"announce route {prefix} next-hop {next_hop} community [{BLACKHOLE} {NO_EXPORT}]"
    if order.flowspec:
        yield from (
            f"announce flow route {{ match {{ {_match(flow)} }} then {{ discard; }} }}" for flow in flows(order)
        )


def undo(line: str) -> str | None:
    """`withdraw` for `announce`."""
    return "withdraw" + line.removeprefix("announce") if line.startswith("announce ") else None


def setup(setup: Setup) -> Iterator[str]:
    yield "# Changes are appended to that file: blocker ip render exabgp --previous LAST ... >> FILE"
    yield "process blocker {"
    yield "\trun /usr/bin/tail --lines=+1 --follow=name --retry /run/exabgp/blocker.commands;"
    yield "\tencoder text;"
    yield "}"
    yield f"neighbor {setup.peer} {{"
    yield f"\tlocal-as {setup.asn};"
    yield f"\tpeer-as {setup.peer_asn};"
    yield f"\tlocal-address {setup.local};"
    yield "\tfamily {"
    if setup.rtbh:
        yield from (f"\t\tipv{version} unicast;" for version in setup.next_hops)
    if setup.flowspec:
        yield "\t\tipv4 flow;"
        yield "\t\tipv6 flow;"
    yield "\t}"
    yield "\tapi {"
    yield "\t\tprocesses [ blocker ];"
    yield "\t}"
    yield "}"


def _match(flow: Flow) -> str:
    match = f"destination {flow.prefix};"
    if flow.protocol:
        match += f" {'protocol' if flow.version == 4 else 'next-header'} {flow.protocol};"
        if not flow.all_ports:
            ports = f"={flow.low}" if flow.low == flow.high else f">={flow.low}&<={flow.high}"
            match += f" destination-port {ports};"
    return match


FORM = Form(
    "exabgp",
    write,
    setup,
    announces=frozenset({"rtbh", "flowspec"}),
    must_announce=True,
    needs_local=True,
    undo=undo,
    flow_of=lambda line: flow_of(_FLOW.search(line)),
)
