"""Junos: prefix lists of at most 85,325 entries each, for `load replace`; with RTBH, lines for `load set`.

How many lists there are changes with the release, so the filter terms that use them are written, too: a list without a
term would block nothing, a term without a list does not commit.
"""

from collections.abc import Iterator, Sequence

from feeds.ipfilter.filter import BITS
from feeds.ipfilter.routers.form import (
    BLACKHOLE,
    NO_EXPORT,
    RTBH_TAG,
    Form,
    Order,
    Setup,
    list_name,
    prefixes,
)

MOST_ENTRIES = 85_325
_ROUTES = {4: "routing-options static", 6: "routing-options rib inet6.0 static"}
_FAMILY = {4: "inet", 6: "inet6"}


def write(order: Order) -> Iterator[str]:
    if order.rtbh:
        for version, where in _ROUTES.items():
            for prefix in prefixes(order.filter, version):
                yield f"set {where} route {prefix} discard tag {RTBH_TAG}"
        return
    lists = {version: _split(list(prefixes(order.filter, version))) for version in BITS}
    yield "policy-options {"
    for version, parts in lists.items():
        for number, part in enumerate(parts, 1):
            yield "replace:"
            yield f"    prefix-list {list_name(version)}-{number} {{"
            yield from (f"        {prefix};" for prefix in part)
            yield "    }"
    yield "}"
    yield "firewall {"
    for version, parts in lists.items():
        yield f"    family {_FAMILY[version]} {{"
        yield "replace:"
        yield f"        filter blocker{version} {{"
        # A `from` without a list would match everything.
        if parts:
            yield from _term(version, len(parts))
        yield "            term rest {"
        yield "                then accept;"
        yield "            }"
        yield "        }"
        yield "    }"
    yield "}"


def undo(line: str) -> str | None:
    """`delete` for `set`, of the whole route."""
    if not line.startswith("set routing-options "):
        return None
    return "delete" + line.removeprefix("set").removesuffix(f" discard tag {RTBH_TAG}")


def setup(setup: Setup) -> Iterator[str]:
    if setup.rtbh:
        yield from _announce(setup)
        return
    yield "# On each interface that faces subscribers:"
    for version, family in _FAMILY.items():
        yield f"#   set interfaces INTERFACE unit 0 family {family} filter input blocker{version}"


def _announce(setup: Setup) -> Iterator[str]:
    policy = "set policy-options policy-statement blocker-rtbh"
    # A policy of export is the way out: the neighbour hears of the route, whoever is behind it does not.
    yield f"set policy-options community blocker-rtbh members [ {BLACKHOLE} {NO_EXPORT} ]"
    for version, next_hop in setup.next_hops.items():
        term = f"{policy} term ipv{version}"
        yield f"{term} from family {_FAMILY[version]}"
        yield f"{term} from protocol static"
        yield f"{term} from tag {RTBH_TAG}"
        yield f"{term} then community add blocker-rtbh"
        yield f"{term} then next-hop {next_hop}"
        yield f"{term} then accept"
    yield f"{policy} term rest then reject"
    group = "set protocols bgp group blocker-rtbh"
    yield f"set routing-options autonomous-system {setup.asn}"
    yield f"{group} neighbor {setup.peer} peer-as {setup.peer_asn}"
    for version in setup.next_hops:
        yield f"{group} neighbor {setup.peer} family {_FAMILY[version]} unicast"
    yield f"{group} neighbor {setup.peer} export blocker-rtbh"


def _term(version: int, count: int) -> Iterator[str]:
    yield "            term blocked {"
    yield "                from {"
    yield "                    destination-prefix-list {"
    yield from (f"                        {list_name(version)}-{n};" for n in range(1, count + 1))
    yield "                    }"
    yield "                }"
    yield "                then {"
    yield f"                    count {list_name(version)};"
    yield "                    discard;"
    yield "                }"
    yield "            }"


def _split(found: Sequence[str]) -> list[Sequence[str]]:
    return [found[n : n + MOST_ENTRIES] for n in range(0, len(found), MOST_ENTRIES)]


FORM = Form("junos", write, setup, announces=frozenset({"rtbh"}), undo=undo)
