"""OpenBSD pf: a file for one table, which holds both families."""

from collections.abc import Iterator

from feeds.ipfilter.routers import plain
from feeds.ipfilter.routers.form import Form, Setup


def setup(_setup: Setup) -> Iterator[str]:
    yield "# /etc/pf.conf"
    yield 'table <blocked> persist file "/etc/pf.blocked"'
    yield "block drop quick from any to <blocked>"
    yield "# After each new /etc/pf.blocked, which replaces the table in one step:"
    yield "#   pfctl -t blocked -T replace -f /etc/pf.blocked"


FORM = Form("pf", plain.write, setup)
