"""What the long-running commands share: addresses to listen on, and telling systemd how they are."""

import ipaddress

import click

from feeds.language import _


class Listen(click.ParamType[tuple[str, int]]):
    """`127.0.0.1:8080`, `[::1]:8080`; names are refused. Port 0 lets the system choose one."""

    name = "address:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Read it."""
        if isinstance(value, tuple):
            return value
        text = str(value).strip()
        host, _colon, port = text.rpartition(":")
        try:
            address = ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
            if not (port.isascii() and port.isdigit() and int(port) < 65_536):
                raise ValueError
        except ValueError:
            self.fail(_("«{text}» is not ADDRESS:PORT, such as 127.0.0.1:8080").format(text=text), param, ctx)
        return str(address), int(port)


def label(host: str, port: int) -> str:
    """`127.0.0.1:8080`, `[::1]:8080`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
