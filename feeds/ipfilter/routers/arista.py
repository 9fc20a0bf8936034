"""Arista EOS: numbered prefix lists as bgpq4 writes them."""

from collections.abc import Iterator

from feeds.ipfilter.routers.form import Form, Order, Setup, list_name, prefixes
from feeds.ipfilter.routers.ios import EVERYTHING, WORD, paste_lists


def write(order: Order) -> Iterator[str]:
    for version, word in WORD.items():
        name = list_name(version)
        yield f"no {word} prefix-list {name}"
        yield f"{word} prefix-list {name}"
        number = 0
        for number, prefix in enumerate(prefixes(order.filter, version), 1):
            yield f"   seq {number} permit {prefix}"
        if not number:
            yield f"   seq 1 deny {EVERYTHING[version]}"


def setup(_setup: Setup) -> Iterator[str]:
    yield from paste_lists()


FORM = Form("arista", write, setup, comment="!")
