"""iptables and ip6tables: the chain `BLOCKER`, for rules that the operator writes.

Both tools try the whole file before either loads it, so what one of them would refuse changes nothing. A chain is
searched rule by rule and counts by rule, not by category: thousands of prefixes belong into nftables or ipset.
"""

from collections.abc import Sequence

from feeds.ipfilter.carried.told import filter_of
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.kernel import InKernel, Run
from feeds.ipfilter.routers.form import Order
from feeds.ipfilter.routers.iptables import CHAIN, FORM

NAME = "iptables"
LOAD = (
    "sh",
    "-c",
    'set -e; f=$(mktemp); trap \'rm -f "$f"\' EXIT; cat > "$f"; '
    'for t in iptables ip6tables; do $t-restore --test --noflush "$f"; done; '
    'for t in iptables ip6tables; do $t-restore --noflush "$f"; done',
)


def script(filter_: Filter, heading: Sequence[str] = ()) -> str:
    """What both tools read."""
    lines = [*(f"# {line}" for line in heading), *FORM.write(Order(filter_, 0, 0))]
    return "\n".join(lines) + "\n"


def rules_hint() -> tuple[str, ...]:
    """The rules that use the chain; they are the operator's to place."""
    return tuple(f"{tool} -I FORWARD -j {CHAIN}" for tool in ("iptables", "ip6tables"))


def read(run: Run) -> InKernel:
    """What the kernel holds in our chain; raises Unavailable where the tools cannot say."""
    saved = [run([f"{tool}-save", "-t", "filter"], "") for tool in ("iptables", "ip6tables")]
    rules = [line for text in saved for line in text.splitlines() if line.startswith(f"-A {CHAIN} ")]
    ours = [line for line in rules if FORM.flow_of(line) is not None]
    return InKernel(filter_of(ours, FORM), ("?",) if len(ours) < len(rules) else (), {})
