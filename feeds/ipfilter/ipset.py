"""ipset: `blocked4` and `blocked6`, for iptables rules that the operator writes.

Both new sets are filled under other names first; then both are swapped in. `ipset restore` stops at the first line
that fails, and whatever can fail stands before the first swap, so the old sets stay whole. Rules limited to ports are
left out: `hash:net,port` keeps one element for every single port, and iptables would need a rule of its own.
"""

import math
from collections.abc import Iterator, Sequence

from feeds.errors import Unavailable
from feeds.ipfilter.bulk import interval_texts, intervals_of
from feeds.ipfilter.intervals import Intervals
from feeds.ipfilter.kernel import InKernel, Run
from feeds.ipfilter.lifetime import Lasting
from feeds.ipfilter.wanted import BITS, Filter
from feeds.language import _

NAME = "ipset"
# The default of 65,536 is too small, and a set can only be declared again with the very same figure.
MAX_ELEMENTS = 1 << 20
_FAMILIES = {4: "inet", 6: "inet6"}


def script(filter_: Filter, heading: Sequence[str] = (), lasting: Lasting = ()) -> str:
    """What `ipset restore` reads."""
    return "\n".join(_lines(filter_, heading, lasting)) + "\n"


def rules_hint() -> tuple[str, ...]:
    """The rules that use the sets; they are the operator's to place."""
    return tuple(
        f"{tool} -I FORWARD -m set --match-set blocked{version} dst -j DROP"
        for version, tool in ((4, "iptables"), (6, "ip6tables"))
    )


def read(run: Run) -> InKernel:
    """What the kernel holds in our two sets; raises Unavailable where ipset cannot say."""
    names = run(["ipset", "list", "-n"], "").split()
    held = {f"blocked{v}": run(["ipset", "save", f"blocked{v}"], "") for v in BITS if f"blocked{v}" in names}
    return parse(held)


def parse(saved: dict[str, str]) -> InKernel:
    """Read what `ipset save` printed of each set; raises Unavailable where it is not what ipset writes."""
    sets: dict[str, Intervals] = {}
    left: list[float] = []
    for name, text in saved.items():
        found = []
        for line in text.splitlines():
            words = line.split()
            if words[:1] == ["create"] and words[2:3] != ["hash:net"]:
                raise Unavailable(
                    _("the set {name} is of type {type}, not hash:net").format(name=name, type=words[2]),
                    kept=_("the filter in the kernel is as it was"),
                    then=_("destroy that set if it is not in use, and try again"),
                )
            if words[:2] == ["add", name]:
                found.append(words[2])
                # Zero is an entry that stays.
                left.append(int(words[4]) or math.inf if words[3:4] == ["timeout"] else math.inf)
        sets[name] = intervals_of(found, BITS[int(name[-1])])
    # The sets are always loaded whole, so what lives longest is as old as the rest.
    held = Filter(sets.get("blocked4", ()), sets.get("blocked6", ()))
    return InKernel(held, (), {}, max(left, default=None))


def sayable(filter_: Filter) -> Filter:
    """The part of a filter that these sets can hold."""
    return Filter(filter_.blocked4, filter_.blocked6)


def _lines(filter_: Filter, heading: Sequence[str], lasting: Lasting) -> Iterator[str]:
    for line in heading:
        yield f"# {line}"
    for version, family in _FAMILIES.items():
        name = f"blocked{version}"
        for each in (name, f"{name}_new"):
            # `timeout 0`: entries may lapse, and stay where they are given no life.
            yield f"create {each} hash:net family {family} maxelem {MAX_ELEMENTS} timeout 0 -exist"
        yield f"flush {name}_new"
        if not lasting:
            for prefix in interval_texts(filter_.whole(version), BITS[version]):
                yield f"add {name}_new {prefix}"
        for seconds, part in lasting:
            for prefix in interval_texts(part.whole(version), BITS[version]):
                yield f"add {name}_new {prefix} timeout {seconds}"
    for version in BITS:
        yield f"swap blocked{version}_new blocked{version}"
    for version in BITS:
        yield f"destroy blocked{version}_new"
