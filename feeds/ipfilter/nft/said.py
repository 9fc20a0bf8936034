"""What our table holds, from the JSON of `nft -j list table`.

Slow with a large map, and always right: `feeds.ipfilter.nft.dump` asks the kernel itself and leaves to this what it
does not know.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from feeds.errors import Unavailable
from feeds.ipfilter.filter import Box, Filter
from feeds.ipfilter.intervals import merged
from feeds.ipfilter.kernel import Count, InKernel, address_of
from feeds.ipfilter.nft.layout import COUNTERS, HOOKS, MAPS, Map, places
from feeds.language import _


def parse(text: str, devices: Sequence[str] = (), generation: int | None = None) -> InKernel:
    """Read it; raises Unavailable where it is not what nft writes."""
    items = items_of(text)
    found: dict[str, dict[str, list[Any]]] = {}
    lives: dict[int, float] = {}
    hook_of, uses, counts, eternal, alone = {}, set(), {}, False, True
    try:
        for item in items:
            kind, about = next(iter(item.items()))
            if kind == "map" and about["name"] in MAPS:
                elements = about.get("elem", [])
                alone = _sort_in(about["name"], elements, found) and alone
                eternal = _note_lives(elements, lives) or eternal
            elif kind == "chain":
                hook = about.get("hook", "")
                hook_of[about["name"]] = "".join(places([hook], devices)) if hook in HOOKS else hook
            elif kind == "counter" and about["name"] in COUNTERS:
                counts[about["name"]] = Count(int(about["packets"]), int(about["bytes"]))
        for item in items:
            if "rule" in item:
                uses.add(f"{hook_of[item['rule']['chain']]}:{_drops_by(item['rule']['expr'])}")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError, StopIteration) as error:
        raise unreadable(f"{type(error).__name__} {error}") from None
    left = math.inf if eternal else lives[max(lives)] if lives else None
    filter_ = filter_of(found)
    return InKernel(filter_, tuple(sorted(uses)), counts, left, generation if alone else None)


def filter_of(found: dict[str, dict[str, list[Any]]]) -> Filter:
    """From elements by category and map; intervals as pairs, what has ports as boxes."""
    parts = []
    for category, maps in found.items():
        sets: dict[str, list[Any]] = {}
        for name, elements in maps.items():
            sets.setdefault(MAPS[name].set_name, []).extend(elements)
        parts.append((category, Filter(**{name: _in_order(name, elements) for name, elements in sets.items()})))
    return Filter.of_parts(parts)


def items_of(text: str) -> list[dict[str, Any]]:
    """The objects that nft lists; raises Unavailable."""
    try:
        items = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(str(error)) from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise unreadable(_("there is no list of objects"))
    return items


def devices_of(listed: str) -> list[str]:
    """The devices of a chain at ingress, from `nft list chain`: the JSON of nft 1.0 leaves them out."""
    found = re.search(r"hook ingress (.*) priority", listed)
    return re.findall(r'"([^"]+)"', found.group(1)) if found else []


def unreadable(why: str) -> Unavailable:
    return Unavailable(
        _("what nft prints cannot be read: {why}").format(why=why[:300]),
        kept=_("the filter is as it was"),
        then=_("look at `nft -j list table inet blocker`; was it changed by hand?"),
    )


def _in_order(set_name: str, elements: list[Any]) -> tuple[Any, ...]:
    return merged(elements) if set_name.startswith("blocked") else tuple(sorted(elements))


def _sort_in(name: str, elements: list[Any], found: dict[str, dict[str, list[Any]]]) -> bool:
    """Sort elements in by category; returns whether each interval of whole addresses stands by itself."""
    protocol, version = MAPS[name].protocol, MAPS[name].version
    held: dict[str, list[Any]] = {}
    for element, counter in elements:
        value = element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element
        made = Box(*_span(value["concat"][0]), *_span(value["concat"][1])) if protocol else _span(value)
        held.setdefault(str(counter).removesuffix(str(version)), []).append(made)
    for category, spans in held.items():
        found.setdefault(category, {})[name] = spans
    return bool(protocol) or all(len(merged(spans)) == len(spans) for spans in held.values())


def _note_lives(elements: list[Any], lives: dict[int, float]) -> bool:
    """Note the least time left for each length of life; returns whether any element stays for ever."""
    eternal = False
    for element, _counter in elements:
        timed = element.get("elem", {}) if isinstance(element, dict) else {}
        if "timeout" in timed:
            life, left = int(timed["timeout"]), int(timed["expires"])
            lives[life] = min(left, lives.get(life, left))
        else:
            eternal = True
    return eternal


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
    """The map by which a rule of ours counts and drops. Any other rule is `?`, and to be removed."""
    if len(expressions) >= 2 and isinstance(expressions[-2], dict) and isinstance(expressions[-2].get("counter"), dict):
        name = str(expressions[-2]["counter"].get("map", {}).get("data", "")).removeprefix("@")
        if name in MAPS and _is_rule(expressions, MAPS[name]):
            return name
    return "?"


def _is_rule(expressions: list[Any], about: Map) -> bool:
    """Is this the rule that uses that map? A range may be written as the prefix that it is."""
    address = {"payload": {"protocol": "ip" if about.version == 4 else "ip6", "field": "daddr"}}
    port = {"payload": {"protocol": about.protocol, "field": "dport"}}
    key = {"concat": [address, port]} if about.protocol else address
    *near, counted, dropped = expressions
    if counted != {"counter": {"map": {"key": key, "data": f"@{about.name}"}}} or dropped != {"drop": None}:
        return False
    if about.protocol:
        return not near
    match = near[0].get("match", {}) if len(near) == 1 else {}
    alike = match.get("op") == "==" and match.get("left") == address
    return alike and _span(match.get("right")) == (about.first, about.last)
