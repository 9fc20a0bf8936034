"""MikroTik RouterOS: a new address list for each rendering, filled part by part; then the drop rule is pointed at it.

`timeout=` keeps the entries in RAM and lets them lapse by themselves if nothing new comes. The swap is the change of
one rule, so packets meet the old list or the new one. RouterOS imports long scripts badly, so they come in parts.
"""

from collections.abc import Iterator

from feeds.ipfilter.filter import BITS
from feeds.ipfilter.routers.form import Form, Order, Setup, list_name, prefixes

PART_LINES = 500
_MENU = {4: "/ip", 6: "/ipv6"}


def write(order: Order) -> Iterator[str]:
    names = {version: f"{list_name(version)}-{order.serial}-{order.stamp}" for version in BITS}
    for version, menu in _MENU.items():
        rule = f"{menu} firewall raw find comment={list_name(version)} dst-address-list={names[version]}"
        yield f':if ([:len [{rule}]] > 0) do={{ :error "{names[version]} is in use already" }}'
        yield f"{menu} firewall address-list remove [find list={names[version]}]"
    for version, menu in _MENU.items():
        for seconds, part in order.lifetimes:
            for prefix in prefixes(part, version):
                entry = f"list={names[version]} address={prefix} timeout={seconds}s"
                yield f"{menu} firewall address-list add {entry}"
    for version, menu in _MENU.items():
        yield f"{menu} firewall raw set [find comment={list_name(version)}] dst-address-list={names[version]}"
        old = f'list~"^{list_name(version)}-" and list!="{names[version]}"'
        yield f"{menu} firewall address-list remove [find {old}]"


def setup(_setup: Setup) -> Iterator[str]:
    for version, menu in _MENU.items():
        name = list_name(version)
        rule = f"chain=prerouting action=drop dst-address-list={name}-none comment={name}"
        yield f"{menu} firewall raw add {rule}"


FORM = Form("routeros", write, setup, part_lines=PART_LINES, times_out=True)
