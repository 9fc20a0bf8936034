"""iptables-restore and ip6tables-restore: one file that both read, with --noflush.

`-4` and `-6` make each of the two skip the other's lines (iptables-restore(8)). Declaring the chain empties it, and
each family is one transaction. A chain is searched rule by rule: thousands of prefixes belong into ipset.
"""

import re
from collections.abc import Iterator

from feeds.ipfilter.filter import BITS
from feeds.ipfilter.routers.form import Form, Order, Setup, flow_of, limited_flows, prefixes

CHAIN = "BLOCKER"
# As it is written here, and as iptables-save prints it.
_FLOW = re.compile(
    rf"(?:-[46] )?-A {CHAIN} -d (?P<prefix>\S+)(?: -p (?P<protocol>tcp|udp))?(?: -m (?:tcp|udp))?"
    r"(?: --dport (?P<low>\d+)(?::(?P<high>\d+))?)? -j DROP$"
)


def write(order: Order) -> Iterator[str]:
    yield "*filter"
    yield f":{CHAIN} - [0:0]"
    for version in BITS:
        for prefix in prefixes(order.filter, version):
            yield f"-{version} -A {CHAIN} -d {prefix} -j DROP"
    for flow in limited_flows(order.filter):
        ports = "" if flow.all_ports else f" --dport {flow.low}:{flow.high}"
        yield f"-{flow.version} -A {CHAIN} -d {flow.prefix} -p {flow.protocol}{ports} -j DROP"
    yield "COMMIT"


def setup(_setup: Setup) -> Iterator[str]:
    yield "# Load: iptables-restore --noflush FILE; ip6tables-restore --noflush FILE"
    yield "# Once, after the first load:"
    for tool in ("iptables", "ip6tables"):
        yield f"{tool} -I FORWARD -j {CHAIN}"


FORM = Form("iptables", write, setup, limited=True, flow_of=lambda line: flow_of(_FLOW.match(line)))
