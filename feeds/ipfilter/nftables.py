"""nftables: one table `inet blocker`, a set and a counter for each kind of target, one chain a hook.

The table holds nothing but ours. A script declares all of it (which changes nothing where it is there already),
empties chains and sets and fills them again; nft commits a file as one transaction, so a packet meets the old filter
or the new one. Counters are declared and not touched: they go on counting. A small change of a large set goes through
`feeds.ipfilter.netlink` instead.

Packets are matched by destination: an answer to a blocked address cannot arrive when nothing can be sent to it, and
a filter by source would also cut connections that a listed address opens to the ISP's own services.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from feeds.errors import Unavailable
from feeds.ipfilter import netlink
from feeds.ipfilter.intervals import differing, intersect, merged
from feeds.ipfilter.kernel import InKernel, Run, address_of, address_text
from feeds.ipfilter.lifetime import Lasting
from feeds.ipfilter.plan import Plan
from feeds.ipfilter.wanted import BITS, PROTOCOLS, SET_NAMES, Box, Filter
from feeds.language import _

NAME = "nftables"
TABLE = "blocker"
# `forward` is what a router passes on; `output` is what the machine itself sends, for a proxy or a resolver;
# `prerouting` is what comes in, dropped before connections are tracked; `ingress` is the same for named devices only,
# before anything else looks at the packet.
INGRESS = "ingress"
# Before the usual filter chains (priority 0), so that an `accept` there does not come first; -300 is `raw`.
PRIORITY = {"forward": -10, "output": -10, "prerouting": -300, INGRESS: -300}
HOOKS = tuple(PRIORITY)
_SELECT = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}


def places(hooks: Sequence[str], devices: Sequence[str]) -> tuple[str, ...]:
    """Hooks in their order, with the devices that `ingress` is for: `forward`, `ingress@eth0,eth1`."""
    return tuple(f"{hook}@{','.join(sorted(devices))}" if hook == INGRESS else hook for hook in HOOKS if hook in hooks)


def script(filter_: Filter, hooks: Sequence[str], heading: Sequence[str] = (), lasting: Lasting = ()) -> str:
    """What `nft -f` reads: the whole table with this filter, used at these places and no other."""
    return "\n".join(_lines(filter_, hooks, heading, lasting)) + "\n"


def change(plan: Plan) -> bool:
    """Carry out a small plan element by element; False where the whole script is the way, raises Unavailable."""
    held = plan.held
    if held.generation is None or held.uses != plan.uses or plan.ageing:
        return False
    edits = _edits(held.filter, plan.wanted, plan.lasting)
    if edits is None:
        return False
    netlink.send(TABLE, edits, held.generation)
    return True


def uses(hooks: Sequence[str]) -> tuple[str, ...]:
    """The uses (see `InKernel`) of a table whose chains stand at these hooks."""
    return tuple(sorted(f"{hook}:{name}" for hook in hooks for name in SET_NAMES))


def read(run: Run) -> InKernel:
    """What the kernel holds in our table; raises Unavailable where nft cannot say."""
    tables = _json(run(["nft", "-j", "list", "tables", "inet"], ""))
    if not any(item.get("table", {}).get("name") == TABLE for item in tables):
        return InKernel(Filter(), (), {})
    generation = netlink.generation()
    text = run(["nft", "-j", "list", "table", "inet", TABLE], "")
    # The JSON of nft 1.0 does not say for which devices a chain is.
    listed = run(["nft", "list", "chain", "inet", TABLE, INGRESS], "") if f'"hook": "{INGRESS}"' in text else ""
    return parse(text, _devices(listed), generation)


def parse(text: str, devices: Sequence[str] = (), generation: int | None = None) -> InKernel:
    """Read the JSON of `nft -j list table`; raises Unavailable where it is not what nft writes."""
    items = _json(text)
    sets: dict[str, Any] = {}
    lives: dict[int, int] = {}
    hook_of, found, packets, eternal, alone = {}, set(), {}, False, True
    try:
        for item in items:
            if "set" in item and item["set"]["name"] in SET_NAMES:
                name, elements = item["set"]["name"], item["set"].get("elem", [])
                sets[name] = _elements(name, elements)
                alone = alone and len(sets[name]) == len(elements)
                eternal = _note_lives(elements, lives) or eternal
            elif "chain" in item:
                hook = item["chain"].get("hook", "")
                hook_of[item["chain"]["name"]] = "".join(places([hook], devices)) if hook in HOOKS else hook
            elif "counter" in item:
                packets[item["counter"]["name"]] = int(item["counter"]["packets"])
        for item in items:
            if "rule" in item:
                found.add(f"{hook_of[item['rule']['chain']]}:{_drops_by(item['rule']['expr'])}")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError) as error:
        raise _unreadable(f"{type(error).__name__} {error}") from None
    left = math.inf if eternal else lives[max(lives)] if lives else None
    return InKernel(Filter(**sets), tuple(sorted(found)), packets, left, generation if alone else None)


def _note_lives(elements: list[Any], lives: dict[int, int]) -> bool:
    """Note the least time left for each length of life; returns whether any element stays for ever."""
    eternal = False
    for element in elements:
        timed = element.get("elem", {}) if isinstance(element, dict) else {}
        if "timeout" in timed:
            life, left = int(timed["timeout"]), int(timed["expires"])
            lives[life] = min(left, lives.get(life, left))
        else:
            eternal = True
    return eternal


def _devices(listed: str) -> list[str]:
    found = re.search(r"hook ingress (.*) priority", listed)
    return re.findall(r'"([^"]+)"', found.group(1)) if found else []


def _edits(held: Filter, wanted: Filter, lasting: Lasting) -> list[netlink.Edit] | None:
    """What takes the whole sets from one to the other; None where that is too much, or other sets differ, too."""
    if any(
        held.boxes(protocol, version) != wanted.boxes(protocol, version) for protocol in PROTOCOLS for version in BITS
    ):
        return None
    edits = []
    for version in BITS:
        removed, added = differing(held.whole(version), wanted.whole(version))
        lives: list[int | None] = [None] * len(added)
        if lasting:
            timed = sorted(
                (span, seconds) for seconds, part in lasting for span in intersect(added, part.whole(version))
            )
            added, lives = tuple(span for span, _seconds in timed), [seconds for _span, seconds in timed]
        edits.append(netlink.Edit(f"blocked{version}", removed, added, lives))
    if sum(len(edit.removed) + len(edit.added) for edit in edits) > netlink.MOST_CHANGES:
        return None
    return edits


def _lines(filter_: Filter, hooks: Sequence[str], heading: Sequence[str], lasting: Lasting) -> Iterator[str]:
    for line in heading:
        yield f"# {line}"
    yield f"table inet {TABLE} {{"
    for name in SET_NAMES:
        select = _SELECT[int(name[-1])][1]
        limited = not name.startswith("blocked")
        yield f"\tset {name} {{"
        yield f"\t\ttype {select}{' . inet_service' if limited else ''}"
        yield "\t\tflags interval,timeout"
        yield "\t}"
        yield f"\tcounter {name} {{"
        yield "\t}"
    yield "}"
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
    for name in SET_NAMES:
        yield f"flush set inet {TABLE} {name}"
        yield from _filling(name, list(_texts(filter_, name, lasting)))
    for hook in wanted:
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


def _quoted(devices: str) -> list[str]:
    return [f'"{device}"' for device in devices.split(",")]


def _texts(filter_: Filter, name: str, lasting: Lasting) -> Iterator[str]:
    """The elements of one set as nft reads them."""
    if not lasting:
        yield from _plain_texts(filter_, name)
    for seconds, part in lasting:
        yield from (f"{text} timeout {seconds}s" for text in _plain_texts(part, name))


def _plain_texts(filter_: Filter, name: str) -> Iterator[str]:
    protocol, version = name[:-1], int(name[-1])
    if protocol not in PROTOCOLS:
        # An interval is one element, even where it takes several prefixes: so `_edits` can take it out again.
        for first, last in filter_.whole(version):
            size, text = last - first + 1, address_text(version, first)
            if size > 1 and not size & (size - 1) and not first % size:
                yield f"{text}/{BITS[version] - size.bit_length() + 1}"
            else:
                yield _range(text, address_text(version, last))
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
