"""`ADDRESS:PORT` and names as people write them."""

import ipaddress

import click

from feeds.errors import Rejected
from feeds.language import _
from feeds.name import DomainName
from resolver.upstream import Address


class AddressPort(click.ParamType[Address | None]):
    """`127.0.0.1:5353`, `[::1]:53`, `::1`, `127.0.0.1` (with the default port). Names are refused."""

    name = "address:port"

    def __init__(self, default_port: int = 53, word_for_none: str = "") -> None:
        self._port = default_port
        self._none = word_for_none

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address | None:
        if isinstance(value, tuple):
            return value
        text = str(value).strip()
        if self._none and text == self._none:
            return None
        host, port = text, self._port
        if text.startswith("["):
            host, _bracket, rest = text[1:].partition("]")
            digits = rest.removeprefix(":")
        elif text.count(":") == 1:
            host, _colon, digits = text.partition(":")
        else:
            digits = ""
        if digits:
            if not (digits.isascii() and digits.isdigit() and int(digits) < 65_536):
                self.fail(_("«{text}»: a port is a number up to 65535").format(text=text), param, ctx)
            port = int(digits)
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            self.fail(_("«{text}» is not ADDRESS:PORT, such as 127.0.0.1:53 or [::1]:53").format(text=text), param, ctx)
        return str(address), port


class NameOrRoot(click.ParamType[bytes]):
    """A domain name or `.`, as a wire name in lower case."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        if str(value).strip() == ".":
            return b"\0"
        try:
            return DomainName.parse(str(value)).name.wire
        except Rejected as refusal:
            self.fail(str(refusal), param, ctx)


def is_loopback(address: Address) -> bool:
    """Can only this machine reach it?"""
    return ipaddress.ip_address(address[0]).is_loopback


def label(address: Address) -> str:
    """`127.0.0.1:53`, `[::1]:53`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
