"""sd_notify(3): telling systemd how we are. Without NOTIFY_SOCKET nothing happens."""

import os
import socket
import time
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress


class Notifier:
    """Sends datagrams to systemd's socket; a failure to do so is nobody's concern."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environ.get("WATCHDOG_USEC", "0") if meant else "0"
        # Twice as often as systemd asks for (sd_watchdog_enabled(3)).
        self.watchdog_seconds = int(microseconds) / 2e6 if microseconds.isdigit() else 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if path else None

    def send(self, *lines: str, descriptors: Sequence[int] = ()) -> None:
        """`READY=1`, `STATUS=...`, `WATCHDOG=1`, `STOPPING=1`; `FDSTORE=1` takes the descriptors along."""
        if self._socket is not None:
            passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
            with suppress(OSError):
                self._socket.sendmsg(["\n".join(lines).encode()], passed, socket.MSG_DONTWAIT, self._address)

    def reloading(self) -> None:
        """A reload begins (sd_notify(3): the monotonic time in microseconds must go with it)."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
