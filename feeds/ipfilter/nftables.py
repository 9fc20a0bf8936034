"""nftables: one table `inet blocker`; `feeds.ipfilter.nft.layout` says what is in it.

The table holds nothing but ours. A script declares all of it (which changes nothing where it is there already),
empties chains and maps and fills them again; nft commits a file as one transaction, so a packet meets the old filter
or the new one. Counters are declared and not touched: they go on counting. A small change of a large map goes through
`feeds.ipfilter.nft.changes` instead.

Packets are matched by destination: an answer to a blocked address cannot arrive when nothing can be sent to it, and
a filter by source would also cut connections that a listed address opens to the ISP's own services.
"""

from collections.abc import Callable, Iterator, Sequence

from feeds.ipfilter.filter import BITS, Filter
from feeds.ipfilter.intervals import cut
from feeds.ipfilter.kernel import InKernel, Run, address_text
from feeds.ipfilter.lifetime import Lasting
from feeds.ipfilter.nft import dump
from feeds.ipfilter.nft.changes import edits_of, generation, send
from feeds.ipfilter.nft.layout import COUNTERS, HOOKS, INGRESS, MAPS, PRIORITY, TABLE, Map, places, uses
from feeds.ipfilter.nft.said import devices_of, items_of, parse
from feeds.ipfilter.plan import Plan

__all__ = ["HOOKS", "INGRESS", "NAME", "TABLE", "change", "parse", "places", "read", "script", "uses"]

NAME = "nftables"
_SELECT = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}


def script(filter_: Filter, hooks: Sequence[str], heading: Sequence[str] = (), lasting: Lasting = ()) -> str:
    """What `nft -f` reads: the whole table with this filter, used at these places and no other."""
    return "\n".join(_lines(filter_, hooks, heading, lasting)) + "\n"


def change(plan: Plan) -> bool:
    """Carry out a small plan element by element; False where the whole script is the way, raises Unavailable."""
    held = plan.held
    if held.generation is None or held.uses != plan.uses or plan.ageing:
        return False
    edits = edits_of(held.filter, plan.wanted, plan.lasting)
    if edits is None:
        return False
    send(edits, held.generation)
    return True


def read(run: Run, dump: Callable[[], InKernel | None] = dump.held) -> InKernel:
    """What the kernel holds in our table; raises Unavailable where nft cannot say. `dump` is the quick way."""
    return dump() or _said(run)


def _said(run: Run) -> InKernel:
    tables = items_of(run(["nft", "-j", "list", "tables", "inet"], ""))
    if not any(item.get("table", {}).get("name") == TABLE for item in tables):
        return InKernel(Filter(), (), {})
    number = generation()
    text = run(["nft", "-j", "list", "table", "inet", TABLE], "")
    listed = run(["nft", "list", "chain", "inet", TABLE, INGRESS], "") if f'"hook": "{INGRESS}"' in text else ""
    return parse(text, devices_of(listed), number)


def _lines(filter_: Filter, hooks: Sequence[str], heading: Sequence[str], lasting: Lasting) -> Iterator[str]:
    for line in heading:
        yield f"# {line}"
    yield f"table inet {TABLE} {{"
    for name in COUNTERS:
        yield f"\tcounter {name} {{"
        yield "\t}"
    for name, about in MAPS.items():
        yield f"\tmap {name} {{"
        yield f"\t\ttype {_SELECT[about.version][1]}{' . inet_service' if about.protocol else ''} : counter"
        yield "\t\tflags interval,timeout"
        yield "\t}"
    yield "}"
    parts = list(_parts(filter_, lasting))
    wanted = dict(place.partition("@")[::2] for place in hooks)
    for hook, priority in PRIORITY.items():
        # A chain cannot be given other devices, so that of `ingress` is made anew.
        if hook == INGRESS or hook not in wanted:
            # Added bare, so that it can be deleted whether or not it was there.
            yield f"add chain inet {TABLE} {hook}"
            yield f"flush chain inet {TABLE} {hook}"
            yield f"delete chain inet {TABLE} {hook}"
        if hook in wanted:
            devices = f" devices = {{ {', '.join(_quoted(wanted[hook]))} }}" if hook == INGRESS else ""
            body = f"type filter hook {hook}{devices} priority {priority}; policy accept;"
            yield f"add chain inet {TABLE} {hook} {{ {body} }}"
            yield f"flush chain inet {TABLE} {hook}"
    for name, about in MAPS.items():
        yield f"flush map inet {TABLE} {name}"
        elements = [
            f'\t{text}{life} : "{category}{about.version}",'
            for life, category, part in parts
            for text in _plain_texts(part, about)
        ]
        if elements:
            yield f"add element inet {TABLE} {name} {{"
            yield from elements
            yield "}"
    for hook in wanted:
        for about in MAPS.values():
            yield f"add rule inet {TABLE} {hook} {_rule(about)} drop"


def _rule(about: Map) -> str:
    address = f"{_SELECT[about.version][0]} daddr"
    if about.protocol:
        return f"counter name {address} . {about.protocol} dport map @{about.name}"
    ends = _range(address_text(about.version, about.first), address_text(about.version, about.last))
    return f"{address} {ends} counter name {address} map @{about.name}"


def _quoted(devices: str) -> list[str]:
    return [f'"{device}"' for device in devices.split(",")]


def _parts(filter_: Filter, lasting: Lasting) -> Iterator[tuple[str, str, Filter]]:
    """(life as nft reads it, category, what is dropped for it that long)."""
    for category, part in filter_.by_category():
        if not lasting:
            yield "", category, part
        for seconds, timed in lasting:
            yield f" timeout {seconds}s", category, part.common(timed)


def _plain_texts(filter_: Filter, about: Map) -> Iterator[str]:
    version = about.version
    if not about.protocol:
        # An interval is one element, even where it takes several prefixes: so `changes` can take it out again.
        for first, last in cut(filter_.whole(version), about.first, about.last):
            size, text = last - first + 1, address_text(version, first)
            if size > 1 and not size & (size - 1) and not first % size:
                yield f"{text}/{BITS[version] - size.bit_length() + 1}"
            else:
                yield _range(text, address_text(version, last))
        return
    for first, last, low, high in filter_.boxes(about.protocol, version):
        addresses = _range(address_text(version, first), address_text(version, last))
        yield f"{addresses} . {_range(str(low), str(high))}"


def _range(first: str, last: str) -> str:
    return first if first == last else f"{first}-{last}"
