"""ipset: `blocked4` and `blocked6`, for iptables rules that the operator writes.

Both new sets are filled under other names first; then both are swapped in. `ipset restore` stops at the first line
that fails, and whatever can fail stands before the first swap, so the old sets stay whole. Rules limited to ports are
left out: `hash:net,port` keeps one element for every single port, and iptables would need a rule of its own.

Each entry counts what it drops and carries its category as a comment; the kernel counts anew after a swap.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from feeds.errors import Unavailable
from feeds.ipfilter.bulk import interval_texts, intervals_of
from feeds.ipfilter.filter import BITS, OTHER, Filter
from feeds.ipfilter.intervals import intersect
from feeds.ipfilter.kernel import Count, InKernel, Run
from feeds.ipfilter.lifetime import Lasting
from feeds.language import _
from feeds.rule import Category

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
    found: dict[str, dict[str, list[str]]] = {}
    counts = {f"{name}{version}": [0, 0] for name in (*Category, OTHER) for version in BITS}
    left: list[float] = []
    for name, text in saved.items():
        version = name[-1]
        for line in text.splitlines():
            words = line.split()
            if words[:1] == ["create"]:
                _check_type(name, words)
            if words[:2] != ["add", name]:
                continue
            about = dict(zip(words[3::2], words[4::2], strict=False))
            category = about.get("comment", f'"{OTHER}"').strip('"')
            found.setdefault(category, {}).setdefault(name, []).append(words[2])
            if f"{category}{version}" in counts:
                counted = counts[f"{category}{version}"]
                counted[0] += int(about.get("packets", "0"))
                counted[1] += int(about.get("bytes", "0"))
            # Zero is an entry that stays.
            left.append(int(about.get("timeout", "0")) or math.inf)
    held = Filter.of_parts((category, _filter(sets)) for category, sets in found.items())
    # The sets are always loaded whole, so what lives longest is as old as the rest.
    return InKernel(held, (), {name: Count(*counted) for name, counted in counts.items()}, max(left, default=None))


def sayable(filter_: Filter) -> Filter:
    """The part of a filter that these sets can hold."""
    return Filter.of_parts((name, Filter(part.blocked4, part.blocked6)) for name, part in filter_.by_category())


def _filter(sets: Mapping[str, Sequence[str]]) -> Filter:
    four, six = (intervals_of(sets.get(f"blocked{version}", ()), bits) for version, bits in BITS.items())
    return Filter(four, six)


def _check_type(name: str, words: Sequence[str]) -> None:
    if words[2:3] != ["hash:net"]:
        raise Unavailable(
            _("the set {name} is of type {type}, not hash:net").format(name=name, type=words[2]),
            kept=_("the filter is as it was"),
            then=_("destroy that set if it is not in use, and try again"),
        )


def _lines(filter_: Filter, heading: Sequence[str], lasting: Lasting) -> Iterator[str]:
    for line in heading:
        yield f"# {line}"
    for version, family in _FAMILIES.items():
        name = f"blocked{version}"
        for each in (name, f"{name}_new"):
            # `timeout 0`: entries may lapse, and stay where they are given no life.
            kind = f"hash:net family {family} maxelem {MAX_ELEMENTS} timeout 0 counters comment"
            yield f"create {each} {kind} -exist"
        yield f"flush {name}_new"
        for category, part in filter_.by_category():
            for seconds, timed in lasting or ((0, part),):
                for prefix in interval_texts(intersect(part.whole(version), timed.whole(version)), BITS[version]):
                    yield f'add {name}_new {prefix}{f" timeout {seconds}" if seconds else ""} comment "{category}"'
    for version in BITS:
        yield f"swap blocked{version}_new blocked{version}"
    for version in BITS:
        yield f"destroy blocked{version}_new"
