"""How our table is laid out: maps from addresses to counters, one counter a category and family, one chain a hook.

Each element names the counter of its category, so that one look into a map finds what to drop and counts it, whatever
the number of categories: `counter name ip daddr map @blocked4_6 drop`. Whole addresses lie in several maps by where
they begin, each asked only for its own range: the kernel's time to list a map grows with the square of its size.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from feeds.ipfilter.filter import BITS, OTHER, PROTOCOLS
from feeds.rule import Category

TABLE = "blocker"
# `forward` is what a router passes on; `output` is what the machine itself sends, for a proxy or a resolver;
# `prerouting` is what comes in, dropped before connections are tracked; `ingress` is the same for named devices only,
# before anything else looks at the packet.
INGRESS = "ingress"
# Before the usual filter chains (priority 0), so that an `accept` there does not come first; -300 is `raw`.
PRIORITY = {"forward": -10, "output": -10, "prerouting": -300, INGRESS: -300}
HOOKS = tuple(PRIORITY)
COUNTERS = tuple(f"{name}{version}" for name in (*Category, OTHER) for version in BITS)
# Where the maps of whole addresses begin: IPv4 in eighths, IPv6 by what the registries gave out.
_STARTS = {
    4: tuple(n << 29 for n in range(8)),
    6: tuple(int(ipaddress.IPv6Address(a)) for a in ("::", "2400::", "2600::", "2a00::", "2a04::", "2c00::")),
}


@dataclass(frozen=True, slots=True)
class Map:
    """One map of the kernel. `set_name` is the field of `Filter` that it is of, `protocol` empty for whole addresses,
    `first` and `last` the ends of the range that it is asked for."""

    name: str
    set_name: str
    version: int
    protocol: str
    first: int
    last: int


def _maps() -> tuple[Map, ...]:
    made = []
    for version, starts in _STARTS.items():
        end = 1 << BITS[version]
        for number, (first, after) in enumerate(zip(starts, (*starts[1:], end), strict=True)):
            made.append(Map(f"blocked{version}_{number}", f"blocked{version}", version, "", first, after - 1))
        made += [Map(f"{p}{version}_0", f"{p}{version}", version, p, 0, end - 1) for p in PROTOCOLS]
    return tuple(made)


MAPS = {each.name: each for each in _maps()}


def places(hooks: Sequence[str], devices: Sequence[str]) -> tuple[str, ...]:
    """Hooks in their order, with the devices that `ingress` is for: `forward`, `ingress@eth0,eth1`."""
    return tuple(f"{hook}@{','.join(sorted(devices))}" if hook == INGRESS else hook for hook in HOOKS if hook in hooks)


def uses(hooks: Sequence[str]) -> tuple[str, ...]:
    """The uses (see `InKernel`) of a table whose chains stand at these hooks."""
    return tuple(sorted(f"{hook}:{name}" for hook in hooks for name in MAPS))
