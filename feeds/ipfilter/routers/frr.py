"""FRR: prefix lists, or with RTBH static routes to Null0 with tag 666 and the route maps that announce them."""

from collections.abc import Iterator

from feeds.ipfilter.routers import ios
from feeds.ipfilter.routers.form import RTBH_TAG, Form, Order, Setup, no_before, prefixes

_ROUTES = ("ip route ", "ipv6 route ")


def write(order: Order) -> Iterator[str]:
    if not order.rtbh:
        yield from ios.lists(order)
        return
    for version, word in ios.WORD.items():
        yield from (f"{word} route {prefix} Null0 tag {RTBH_TAG}" for prefix in prefixes(order.filter, version))


def setup(setup: Setup) -> Iterator[str]:
    yield from ios.setup_of(setup, "bgp")


def live(printed: str) -> Iterator[str]:
    """From `show running-config`: the static routes of our tag, whoever else has others."""
    for line in printed.splitlines():
        if line.startswith(_ROUTES) and line.endswith(f" tag {RTBH_TAG}"):
            yield line.replace(" blackhole ", " Null0 ")


FORM = Form(
    "frr",
    write,
    setup,
    comment="!",
    announces=frozenset({"rtbh"}),
    undo=no_before(*_ROUTES),
    live=live,
)
