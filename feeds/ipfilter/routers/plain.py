"""Plain text: a prefix a line, both families, for firewalls that fetch a list."""

from collections.abc import Iterator

from feeds.ipfilter.filter import BITS
from feeds.ipfilter.routers.form import Form, Order, Setup, prefixes


def write(order: Order) -> Iterator[str]:
    for version in BITS:
        yield from prefixes(order.filter, version)


def setup(_setup: Setup) -> Iterator[str]:
    yield "# blocker ip render plain > /srv/blocker/blocked.txt.new && mv /srv/blocker/blocked.txt.new \\"
    yield "#   /srv/blocker/blocked.txt"
    yield "# Serve that file over HTTPS and give its address to the firewall as an external list (EDL, threat feed)."


FORM = Form("plain", write, setup)
