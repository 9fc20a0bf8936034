"""Huawei VRP: prefix lists as bgpq4 writes them."""

from collections.abc import Iterator

from feeds.ipfilter.routers.form import Form, Order, Setup, list_name, prefixes

_WORD = {4: "ip-prefix", 6: "ipv6-prefix"}
_NOTHING = {4: "0.0.0.0 0", 6: ":: 0"}


def write(order: Order) -> Iterator[str]:
    for version, word in _WORD.items():
        name = list_name(version)
        yield f"undo ip {word} {name}"
        found = False
        for prefix in prefixes(order.filter, version):
            found = True
            yield f"ip {word} {name} permit {prefix.replace('/', ' ')}"
        if not found:
            yield f"ip {word} {name} deny {_NOTHING[version]}"


def setup(_setup: Setup) -> Iterator[str]:
    yield "route-policy blocker-in deny node 5"
    yield f" if-match ip-prefix {list_name(4)}"
    yield "route-policy blocker-in deny node 6"
    yield f" if-match ipv6 address prefix-list {list_name(6)}"
    yield "route-policy blocker-in permit node 100"


FORM = Form("huawei", write, setup)
