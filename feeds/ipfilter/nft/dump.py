"""What our table holds, from the kernel itself: half a second for 168,000 addresses, of which nft(8) makes two to five.

Everything is listed between two looks at the number of the rule set: if it is the same, nobody changed anything
meanwhile. Rules are known by their expressions, exactly as nft writes ours. Whatever looks different in any way is
left to nft: `held` returns None then.
"""

import math
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from feeds.collector import without_collector
from feeds.ipfilter.filter import BITS, Box
from feeds.ipfilter.intervals import cut
from feeds.ipfilter.kernel import Count, InKernel
from feeds.ipfilter.nft import wire
from feeds.ipfilter.nft.changes import generation
from feeds.ipfilter.nft.layout import COUNTERS, HOOKS, INGRESS, MAPS, TABLE, Map, places
from feeds.ipfilter.nft.said import filter_of

_TRIES = 3
_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_ELEMENTS, _GET_OBJECTS = 1, 4, 7, 13, 19
# NF_INET_...
_HOOK_NUMBERS = {0: "prerouting", 2: "forward", 3: "output", 5: INGRESS}
_COUNTER = struct.pack(">I", 1)
_NUMBER = {"tcp": 6, "udp": 17}
_INTERVAL_END = 1
# Offsets of destination address and port in their headers.
_ADDRESS = {4: "payload 1 16 4", 6: "payload 1 24 16"}
_PORT = "payload 2 2 2"
_FAMILY = {4: 2, 6: 10}


def _rule(about: Map) -> tuple[str, ...]:
    """The expressions of the rule that uses a map, as nft makes them; `cmp` is NFT_CMP_EQ 0, LTE 3, GTE 5."""
    address = _ADDRESS[about.version]
    family = ("meta 15", f"cmp 0 {_FAMILY[about.version]:02x}")
    if about.protocol:
        matches = ("meta 16", f"cmp 0 {_NUMBER[about.protocol]:02x}", address, _PORT)
    else:
        low, high = (end.to_bytes(BITS[about.version] // 8).hex() for end in (about.first, about.last))
        matches = (address, f"cmp 5 {low}", f"cmp 3 {high}", address)
    return (*family, *matches, f"@{about.name}", "drop")


_RULES = {_rule(about): name for name, about in MAPS.items()}


def held() -> InKernel | None:
    """What the kernel holds of ours, or None where it cannot be read this way."""
    with without_collector():
        return _held()


def _held() -> InKernel | None:
    for _turn in range(_TRIES):
        before = generation()
        if before is None:
            return None
        try:
            with wire.link() as link:
                made = _listed(link)
        except FileNotFoundError:
            made = _Listed()
        except wire.Interrupted:
            continue
        except (OSError, ValueError, KeyError, IndexError, struct.error):
            return None
        if generation() == before:
            return made.in_kernel(before)
    return None


@dataclass
class _Listed:
    found: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    uses: set[str] = field(default_factory=set)
    counts: dict[str, Count] = field(default_factory=dict)
    lives: dict[int, float] = field(default_factory=dict)
    eternal: bool = False

    def in_kernel(self, generation: int) -> InKernel:
        filter_ = filter_of(self.found)
        left = math.inf if self.eternal else self.lives[max(self.lives)] if self.lives else None
        # Two intervals that touch are one in the filter, and cannot be taken out as one.
        alone = all(
            len(cut(part.whole(about.version), about.first, about.last)) == len(self.found[category].get(name, ()))
            for category, part in filter_.by_category()
            if category in self.found
            for name, about in MAPS.items()
            if not about.protocol
        )
        return InKernel(filter_, tuple(sorted(self.uses)), self.counts, left, generation if alone else None)


def _listed(link: socket.socket) -> _Listed:
    """Raises FileNotFoundError where there is no such table, ValueError for anything unknown."""
    made = _Listed()
    ours = wire.attribute(1, TABLE.encode() + b"\0")
    # Only this one says that the table is missing.
    list(wire.answers(link, wire.of_nf_tables(_GET_TABLE, wire.REQUEST, ours)))
    hooks = dict(_hooks(link))
    for body in wire.answers(link, wire.of_nf_tables(_GET_RULE, wire.REQUEST | wire.DUMP, ours)):
        about = dict(wire.attributes(body))
        if _text(about[1]) == TABLE:
            made.uses.add(f"{hooks[_text(about[2])]}:{_drops_by(about[4])}")
    for body in wire.answers(link, wire.of_nf_tables(_GET_OBJECTS, wire.REQUEST | wire.DUMP, ours)):
        about = dict(wire.attributes(body))
        if about[3] == _COUNTER and _text(about[1]) == TABLE and (name := _text(about[2])) in COUNTERS:
            counted = dict(wire.attributes(about[4]))
            made.counts[name] = Count(*(int.from_bytes(counted[kind]) for kind in (2, 1)))
    for each in MAPS.values():
        _read_map(link, each, ours, made)
    return made


def _hooks(link: socket.socket) -> Iterator[tuple[str, str]]:
    """(chain, its place) of our table, as `InKernel.uses` names it."""
    for body in wire.answers(link, wire.of_nf_tables(_GET_CHAIN, wire.REQUEST | wire.DUMP)):
        about = dict(wire.attributes(body))
        if _text(about[1]) != TABLE:
            continue
        hook, devices = "", []
        if 4 in about:
            at = dict(wire.attributes(about[4]))
            hook = _HOOK_NUMBERS.get(int.from_bytes(at[1]), "?")
            devices = [_text(name) for kind, name in wire.attributes(at.get(4, b"")) if kind == 1]
            devices = devices or ([_text(at[3])] if 3 in at else [])
        yield _text(about[3]), "".join(places([hook], devices)) if hook in HOOKS else hook


def _drops_by(listed: bytes) -> str:
    """The map by which a rule of ours counts and drops; raises ValueError for any other rule, which nft can name."""
    said = tuple(_expression(dict(wire.attributes(each))) for _kind, each in wire.attributes(listed))
    name = _RULES.get(said)
    if name is not None:
        return name
    raise ValueError("a rule of somebody else")


def _expression(about: dict[int, bytes]) -> str:
    name, data = _text(about[1]), dict(wire.attributes(about.get(2, b"")))
    match name:
        case "meta" if 2 in data:
            return f"meta {int.from_bytes(data[2])}"
        case "cmp":
            return f"cmp {int.from_bytes(data[2])} {dict(wire.attributes(data[3]))[1].hex()}"
        case "payload":
            return "payload " + " ".join(str(int.from_bytes(data[kind])) for kind in (2, 3, 4))
        case "objref" if 4 in data:
            return f"@{_text(data[4])}"
        case "immediate" if not int.from_bytes(data[1]):
            verdict = dict(wire.attributes(dict(wire.attributes(data[2]))[2]))
            return "drop" if not int.from_bytes(verdict[1]) else "?"
    return "?"


def _read_map(link: socket.socket, about: Map, ours: bytes, made: _Listed) -> None:
    asked = ours + wire.attribute(2, about.name.encode() + b"\0")
    width = BITS[about.version] // 8
    pieces, kinds = _pieces(link, asked, width + (4 if about.protocol else 0))
    for counter, elements in (_boxes if about.protocol else _intervals)(pieces, width).items():
        made.found.setdefault(counter.removesuffix(str(about.version)), {})[about.name] = elements
    for rest in kinds:
        if rest.life_seconds:
            made.lives[rest.life_seconds] = min(rest.left_seconds, made.lives.get(rest.life_seconds, math.inf))
        elif not rest.ends:
            made.eternal = True


@dataclass(frozen=True, slots=True)
class _Rest:
    """What follows the key of an element. `ends`: it is the end of an interval; `last` is that of a box."""

    last: bytes = b""
    ends: bool = False
    counter: str = ""
    life_seconds: int = 0
    left_seconds: float = 0.0


# Elements as (key, what follows it), in any order.
_Pieces = list[tuple[bytes, _Rest]]


def _pieces(link: socket.socket, asked: bytes, width: int) -> tuple[_Pieces, Iterable[_Rest]]:
    """Every element of a map, and each kind of what follows a key once.

    All begin alike and few differ in what follows, so they are cut rather than parsed.
    """
    key_at, rest_at = 12, 12 + width
    known: dict[bytes, _Rest] = {}
    # Kernels differ in whether they mark what is nested.
    starts = {struct.pack("=HHHH", 8 + width, 1 | mark, 4 + width, 1) for mark in (0, wire.NESTED)}
    size_at = struct.Struct("=H").unpack_from
    found: _Pieces = []
    for body in wire.answers(link, wire.of_nf_tables(_GET_ELEMENTS, wire.REQUEST | wire.DUMP, asked)):
        listed = dict(wire.attributes(body)).get(3, b"")
        place = 0
        while place < len(listed):
            (size,) = size_at(listed, place)
            if size < rest_at or listed[place + 4 : place + key_at] not in starts:
                raise ValueError("an element of another form")
            rest = listed[place + rest_at : place + size]
            if rest not in known:
                known[rest] = _rest(rest)
            found.append((listed[place + key_at : place + rest_at], known[rest]))
            place += size + 3 & ~3
    return found, known.values()


def _rest(listed: bytes) -> _Rest:
    about = dict(wire.attributes(listed))
    flags = int.from_bytes(about.get(3, b""))
    if flags not in (0, _INTERVAL_END):
        raise ValueError("an element of another kind")
    return _Rest(
        dict(wire.attributes(about[10]))[1] if 10 in about else b"",
        flags == _INTERVAL_END,
        _text(about.get(9, b"")),
        int.from_bytes(about.get(4, b"")) // 1000,
        int.from_bytes(about.get(5, b"")) / 1000,
    )


def _intervals(pieces: _Pieces, width: int) -> dict[str, list[Any]]:
    """By counter. Ends come before the starts at the same address: there one interval ends and the next begins."""
    number = int.from_bytes
    counter_at = {number(key): rest.counter for key, rest in pieces if not rest.ends}
    edges = sorted([number(key) << 1 | (not rest.ends) for key, rest in pieces])
    found: dict[str, list[Any]] = {counter: [] for counter in set(counter_at.values())}
    begun = None
    for edge in edges:
        address = edge >> 1
        if begun is not None:
            found[counter_at[begun]].append((begun, address - 1))
        # An end without a start is nft's mark that nothing is dropped from the first address on.
        begun = address if edge & 1 else None
    if begun is not None:
        found[counter_at[begun]].append((begun, (1 << 8 * width) - 1))
    return found


def _boxes(pieces: _Pieces, width: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for key, rest in pieces:
        ends = (key, rest.last or key)
        first, last = (int.from_bytes(each[:width]) for each in ends)
        low, high = (int.from_bytes(each[width : width + 2]) for each in ends)
        found.setdefault(rest.counter, []).append(Box(first, last, low, high))
    return found


def _text(value: bytes) -> str:
    return value.removesuffix(b"\0").decode()
