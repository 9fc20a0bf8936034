"""How our table is laid out: maps from addresses to counters, one counter a category and family, one chain a hook.

Each element names the counter of its category, so that one look into a map finds what to drop and counts it, whatever
the number of categories: `counter name ip daddr map @blocked4 drop`.
"""

from collections.abc import Sequence

from feeds.ipfilter.filter import BITS, OTHER, PROTOCOLS, SET_NAMES
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


def places(hooks: Sequence[str], devices: Sequence[str]) -> tuple[str, ...]:
    """Hooks in their order, with the devices that `ingress` is for: `forward`, `ingress@eth0,eth1`."""
    return tuple(f"{hook}@{','.join(sorted(devices))}" if hook == INGRESS else hook for hook in HOOKS if hook in hooks)


def uses(hooks: Sequence[str]) -> tuple[str, ...]:
    """The uses (see `InKernel`) of a table whose chains stand at these hooks."""
    return tuple(sorted(f"{hook}:{name}" for hook in hooks for name in SET_NAMES))


def kind_of(set_name: str) -> tuple[str, int]:
    """(protocol, IP version) of a set; the protocol is empty where everything is dropped."""
    kind, version = set_name[:-1], int(set_name[-1])
    return (kind if kind in PROTOCOLS else ""), version
