"""Cisco IOS XR: prefix sets as bgpq4 writes them."""

from collections.abc import Iterator

from feeds.ipfilter.routers.form import Form, Order, Setup, list_name, prefixes
from feeds.ipfilter.wanted import BITS


def write(order: Order) -> Iterator[str]:
    for version in BITS:
        name = list_name(version)
        yield f"no prefix-set {name}"
        yield f"prefix-set {name}"
        # The comma stands between entries: after the last one the set is refused.
        held = None
        for prefix in prefixes(order.filter, version):
            if held is not None:
                yield f" {held},"
            held = prefix
        if held is not None:
            yield f" {held}"
        yield "end-set"


def setup(_setup: Setup) -> Iterator[str]:
    yield "route-policy blocker-in"
    yield f"  if destination in {list_name(4)} or destination in {list_name(6)} then"
    yield "    drop"
    yield "  endif"
    yield "  pass"
    yield "end-policy"


FORM = Form("iosxr", write, setup, comment="!")
