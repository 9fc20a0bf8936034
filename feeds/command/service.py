"""What the long-running commands share: addresses to listen on, and telling systemd how they are."""

import ipaddress
import os
import socket
from collections.abc import Mapping
from contextlib import suppress

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


class Notifier:
    """sd_notify(3): datagrams to systemd's socket, if there is one; a failure to send is nobody's concern."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if path else None
        meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        asked = environ.get("WATCHDOG_USEC", "")
        # Twice as often as systemd asks for (sd_watchdog_enabled(3)); 0 for never.
        self.watchdog_seconds = int(asked) / 2e6 if meant and asked.isdigit() else 0.0

    def send(self, *lines: str) -> None:
        """`READY=1`, `STATUS=...`, `WATCHDOG=1`, `STOPPING=1`."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
