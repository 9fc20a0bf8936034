"""nftables: one table `inet blocker`, a set and a counter for each kind of target, one chain a hook.

The table holds nothing but ours. A script declares all of it (which changes nothing where it is there already),
empties chains and sets and fills them again; nft commits a file as one transaction, so a packet meets the old filter
or the new one. Counters are declared and not touched: they go on counting.

Packets are matched by destination: an answer to a blocked address cannot arrive when nothing can be sent to it, and
a filter by source would also cut connections that a listed address opens to the ISP's own services.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from feeds.errors import Unavailable
from feeds.ipfilter.intervals import cidrs, merged
from feeds.ipfilter.kernel import InKernel, Run, address_of, address_text
from feeds.ipfilter.wanted import BITS, PROTOCOLS, SET_NAMES, Box, Filter
from feeds.language import _

NAME = "nftables"
TABLE = "blocker"
# `forward` is what a router passes on; `output` is what the machine itself sends, for a proxy or a resolver.
HOOKS = ("forward", "output")
# Before the usual filter chains (priority 0), so that an `accept` there does not come first.
PRIORITY = -10
_SELECT = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}


def script(filter_: Filter, hooks: Sequence[str], heading: Sequence[str] = ()) -> str:
    """What `nft -f` reads: the whole table with this filter, used at these hooks and no other."""
    return "\n".join(_lines(filter_, hooks, heading)) + "\n"


def uses(hooks: Sequence[str]) -> tuple[str, ...]:
    """The uses (see `InKernel`) of a table whose chains stand at these hooks."""
    return tuple(sorted(f"{hook}:{name}" for hook in hooks for name in SET_NAMES))


def read(run: Run) -> InKernel:
    """What the kernel holds in our table; raises Unavailable where nft cannot say."""
    tables = _json(run(["nft", "-j", "list", "tables", "inet"], ""))
    if not any(item.get("table", {}).get("name") == TABLE for item in tables):
        return InKernel(Filter(), (), {})
    return parse(run(["nft", "-j", "list", "table", "inet", TABLE], ""))


def parse(text: str) -> InKernel:
    """Read the JSON of `nft -j list table`; raises Unavailable where it is not what nft writes."""
    items = _json(text)
    sets: dict[str, Any] = {}
    hook_of, found, packets = {}, set(), {}
    try:
        for item in items:
            if "set" in item and item["set"]["name"] in SET_NAMES:
                sets[item["set"]["name"]] = _elements(item["set"]["name"], item["set"].get("elem", []))
            elif "chain" in item:
                hook_of[item["chain"]["name"]] = item["chain"].get("hook", "")
            elif "counter" in item:
                packets[item["counter"]["name"]] = int(item["counter"]["packets"])
        for item in items:
            if "rule" in item:
                found.add(f"{hook_of[item['rule']['chain']]}:{_drops_by(item['rule']['expr'])}")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError) as error:
        raise _unreadable(f"{type(error).__name__} {error}") from None
    return InKernel(Filter(**sets), tuple(sorted(found)), packets)


def _lines(filter_: Filter, hooks: Sequence[str], heading: Sequence[str]) -> Iterator[str]:
    for line in heading:
        yield f"# {line}"
    yield f"table inet {TABLE} {{"
    for name in SET_NAMES:
        select = _SELECT[int(name[-1])][1]
        limited = not name.startswith("blocked")
        yield f"\tset {name} {{"
        yield f"\t\ttype {select}{' . inet_service' if limited else ''}"
        yield "\t\tflags interval"
        if not limited:
            yield "\t\tauto-merge"
        yield "\t}"
        yield f"\tcounter {name} {{"
        yield "\t}"
    # Both chains are declared, so that the one not wanted can be deleted whether or not it was there.
    for hook in HOOKS:
        yield f"\tchain {hook} {{"
        yield f"\t\ttype filter hook {hook} priority {PRIORITY}; policy accept;"
        yield "\t}"
    yield "}"
    for hook in HOOKS:
        yield f"flush chain inet {TABLE} {hook}"
        if hook not in hooks:
            yield f"delete chain inet {TABLE} {hook}"
    for name in SET_NAMES:
        yield f"flush set inet {TABLE} {name}"
        yield from _filling(name, list(_texts(filter_, name)))
    for hook in hooks:
        for name in SET_NAMES:
            yield f"add rule inet {TABLE} {hook} {_match(name)} @{name} counter name {name} drop"


def _filling(name: str, elements: list[str]) -> Iterator[str]:
    if elements:
        yield f"add element inet {TABLE} {name} {{"
        for element in elements:
            yield f"\t{element},"
        yield "}"


def _match(name: str) -> str:
    protocol, version = name[:-1], int(name[-1])
    address = f"{_SELECT[version][0]} daddr"
    return address if protocol == "blocked" else f"{address} . {protocol} dport"


def _texts(filter_: Filter, name: str) -> Iterator[str]:
    """The elements of one set as nft reads them."""
    protocol, version = name[:-1], int(name[-1])
    if protocol not in PROTOCOLS:
        for network, length in cidrs(filter_.whole(version), BITS[version]):
            text = address_text(version, network)
            yield text if length == BITS[version] else f"{text}/{length}"
        return
    for first, last, low, high in filter_.boxes(protocol, version):
        addresses = _range(address_text(version, first), address_text(version, last))
        yield f"{addresses} . {_range(str(low), str(high))}"


def _range(first: str, last: str) -> str:
    return first if first == last else f"{first}-{last}"


def _elements(name: str, elements: list[Any]) -> tuple[Any, ...]:
    values = [e["elem"]["val"] if isinstance(e, dict) and "elem" in e else e for e in elements]
    if name.startswith("blocked"):
        return merged(_span(value) for value in values)
    return tuple(sorted(Box(*_span(v["concat"][0]), *_span(v["concat"][1])) for v in values))


def _span(value: Any) -> tuple[int, int]:
    if isinstance(value, dict) and "range" in value:
        first, last = value["range"]
        return _number(first), _number(last)
    if isinstance(value, dict):
        first = _number(value["prefix"]["addr"])
        bits = 128 if ":" in value["prefix"]["addr"] else 32
        return first, first | ((1 << (bits - int(value["prefix"]["len"]))) - 1)
    return _number(value), _number(value)


def _number(value: str | int) -> int:
    return value if isinstance(value, int) else address_of(value)


def _drops_by(expressions: list[Any]) -> str:
    """The set by which a rule of ours drops: one match, a counter, drop. Any other rule is `?`, and to be removed."""
    if len(expressions) == 3 and "drop" in expressions[2] and "counter" in expressions[1]:
        match = expressions[0].get("match", {})
        right = match.get("right")
        if match.get("op") == "==" and isinstance(right, str) and right.startswith("@") and right[1:] in SET_NAMES:
            return right[1:]
    return "?"


def _json(text: str) -> list[dict[str, Any]]:
    try:
        items = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(str(error)) from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _unreadable(_("there is no list of objects"))
    return items


def _unreadable(why: str) -> Unavailable:
    return Unavailable(
        _("what nft prints cannot be read: {why}").format(why=why[:300]),
        kept=_("the filter in the kernel is as it was"),
        then=_("look at `nft -j list table inet blocker`; was it changed by hand?"),
    )
