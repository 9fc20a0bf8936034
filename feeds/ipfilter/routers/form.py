"""What every written form shares: what it is given, and prefixes and flows as text."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from feeds.ipfilter.bulk import interval_texts
from feeds.ipfilter.filter import ALL_PORTS, BITS, PROTOCOLS, Filter
from feeds.ipfilter.intervals import Span, cidrs
from feeds.ipfilter.kernel import address_text

# RFC 7999 section 5 and RFC 1997: discard it, and tell no neighbour of yours.
BLACKHOLE, NO_EXPORT = "65535:666", "65535:65281"
RTBH_TAG = 666
_PREFIX = re.compile(r"(?<![\w.:])([0-9a-f:.]+/\d{1,3})(?![\w/])")


@dataclass(frozen=True, slots=True)
class Order:
    """What a form shall write.

    `stamp` tells it from others of the same serial. `lifetimes` are disjoint parts of `filter` with the seconds that
    each may last.
    """

    filter: Filter
    serial: int
    stamp: int
    rtbh: bool = False
    flowspec: bool = False
    next_hops: Mapping[int, str] = field(default_factory=dict)
    lifetimes: tuple[tuple[int, Filter], ...] = ()


@dataclass(frozen=True, slots=True)
class Setup:
    """What a router is told once. `peer` is the BGP neighbour that hears the routes, `local` the speaker's address."""

    rtbh: bool
    flowspec: bool
    next_hops: Mapping[int, str]
    asn: int
    peer: str
    peer_asn: int
    local: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """Packets to a prefix; of one protocol where `protocol` is not empty, to ports from `low` to `high`."""

    version: int
    prefix: str
    protocol: str = ""
    low: int = 0
    high: int = 65535

    @property
    def all_ports(self) -> bool:
        return (self.low, self.high) == ALL_PORTS[0]


def prefix_in(line: str) -> str | None:
    """The ADDRESS/LENGTH in a line that lets nothing pass."""
    found = None if " deny " in line else _PREFIX.search(line)
    return found[1] if found else None


@dataclass(frozen=True, slots=True)
class Form:
    """One target that a file, a script or a paste reaches.

    `announces` are the options of RTBH and Flowspec that it knows, `must_announce` that it is nothing without one,
    `needs_local` that its config names the speaker's own address. `limited` says that it can drop single ports
    without Flowspec. `undo` turns a line into the one that takes it back, None for lines that need none. `part_lines`
    bounds what one import may hold, where there is a bound. `times_out` says that its entries lapse by themselves.
    `flow_of` reads a line that drops single ports, or all of a prefix by Flowspec, `prefix_of` one that drops a
    whole prefix; None for any other line. `live` makes lines of what the program itself prints of ours.
    """

    name: str
    write: Callable[[Order], Iterator[str]]
    setup: Callable[[Setup], Iterator[str]]
    comment: str = "#"
    announces: frozenset[str] = frozenset()
    must_announce: bool = False
    needs_local: bool = False
    limited: bool = False
    undo: Callable[[str], str | None] | None = None
    part_lines: int | None = None
    times_out: bool = False
    flow_of: Callable[[str], Flow | None] = lambda _line: None
    prefix_of: Callable[[str], str | None] = prefix_in
    live: Callable[[str], Iterator[str]] = lambda _printed: iter(())


def prefixes(filter_: Filter, version: int) -> Iterator[str]:
    """What is dropped whole, as the fewest ADDRESS/LENGTH, rising."""
    return interval_texts(filter_.whole(version), BITS[version])


def limited_flows(filter_: Filter) -> Iterator[Flow]:
    """What is dropped of one protocol only."""
    for version in BITS:
        for protocol in PROTOCOLS:
            for first, last, low, high in filter_.boxes(protocol, version):
                for network, length in cidrs((Span(first, last),), BITS[version]):
                    yield Flow(version, f"{address_text(version, network)}/{length}", protocol, low, high)


def flows(order: Order) -> Iterator[Flow]:
    """What Flowspec shall carry: what is limited, and the whole prefixes that RTBH does not carry."""
    if not order.rtbh:
        for version in BITS:
            yield from (Flow(version, prefix) for prefix in prefixes(order.filter, version))
    yield from limited_flows(order.filter)


def flow_of(found: re.Match[str] | None) -> Flow | None:
    """From a match with the groups `prefix` and, where it is limited, `protocol`, `low` and `high`."""
    if found is None:
        return None
    said = {"protocol": None, "low": None, "high": None, **found.groupdict()}
    version = 6 if ":" in found["prefix"] else 4
    if said["low"] is None:
        return Flow(version, found["prefix"], said["protocol"] or "")
    return Flow(version, found["prefix"], said["protocol"] or "", int(said["low"]), int(said["high"] or said["low"]))


def list_name(version: int) -> str:
    return f"blocked{version}"


def no_before(*starts: str) -> Callable[[str], str | None]:
    """An `undo` that puts `no` before lines that begin so."""
    return lambda line: f"no {line}" if line.startswith(starts) else None
