"""Nokia SR OS, model-driven CLI: match lists of packet filters as bgpq4 writes them."""

from collections.abc import Iterator

from feeds.ipfilter.routers.form import Form, Order, Setup, list_name, prefixes

_WORD = {4: "ip", 6: "ipv6"}


def write(order: Order) -> Iterator[str]:
    for version, word in _WORD.items():
        name = list_name(version)
        yield "/configure filter match-list"
        yield f'delete {word}-prefix-list "{name}"'
        yield f'{word}-prefix-list "{name}" {{'
        yield from (f"    prefix {prefix} {{ }}" for prefix in prefixes(order.filter, version))
        yield "}"


def setup(_setup: Setup) -> Iterator[str]:
    for version, word in _WORD.items():
        yield f'/configure filter {word}-filter "blocker{version}" default-action accept'
        entry = f'/configure filter {word}-filter "blocker{version}" entry 10'
        yield f'{entry} match dst-ip {word}-prefix-list "{list_name(version)}"'
        yield f"{entry} action drop"


FORM = Form("nokia", write, setup)
