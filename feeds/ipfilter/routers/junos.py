"""Junos: prefix lists of at most 85,325 entries each, for `load replace`.

How many lists there are changes with the release, so the filter terms that use them are written, too: a list without a
term would block nothing, a term without a list does not commit.
"""

from collections.abc import Iterator, Sequence

from feeds.ipfilter.routers.form import Form, Order, Setup, list_name, prefixes
from feeds.ipfilter.wanted import BITS

MOST_ENTRIES = 85_325
_FAMILY = {4: "inet", 6: "inet6"}


def write(order: Order) -> Iterator[str]:
    lists = {version: _split(list(prefixes(order.filter, version))) for version in BITS}
    yield "policy-options {"
    for version, parts in lists.items():
        for number, part in enumerate(parts, 1):
            yield "replace:"
            yield f"    prefix-list {list_name(version)}-{number} {{"
            yield from (f"        {prefix};" for prefix in part)
            yield "    }"
    yield "}"
    yield "firewall {"
    for version, parts in lists.items():
        yield f"    family {_FAMILY[version]} {{"
        yield "replace:"
        yield f"        filter blocker{version} {{"
        # A `from` without a list would match everything.
        if parts:
            yield from _term(version, len(parts))
        yield "            term rest {"
        yield "                then accept;"
        yield "            }"
        yield "        }"
        yield "    }"
    yield "}"


def setup(_setup: Setup) -> Iterator[str]:
    yield "# On each interface that faces subscribers:"
    for version, family in _FAMILY.items():
        yield f"#   set interfaces INTERFACE unit 0 family {family} filter input blocker{version}"


def _term(version: int, count: int) -> Iterator[str]:
    yield "            term blocked {"
    yield "                from {"
    yield "                    destination-prefix-list {"
    yield from (f"                        {list_name(version)}-{n};" for n in range(1, count + 1))
    yield "                    }"
    yield "                }"
    yield "                then {"
    yield f"                    count {list_name(version)};"
    yield "                    discard;"
    yield "                }"
    yield "            }"


def _split(found: Sequence[str]) -> list[Sequence[str]]:
    return [found[n : n + MOST_ENTRIES] for n in range(0, len(found), MOST_ENTRIES)]


FORM = Form("junos", write, setup)
