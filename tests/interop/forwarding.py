"""Three network namespaces, client - router - server, in which a packet is forwarded or dropped."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

_ASK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])).close()
    print("connected")
except ConnectionRefusedError:
    print("refused")
except OSError as error:
    print("timeout" if isinstance(error, TimeoutError) else error)
"""


@dataclass(frozen=True)
class Network:
    """The namespaces' names. The server has every address, and nothing listens on it."""

    client: str
    router: str
    server: str

    def inside(self, namespace: str, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in one of the namespaces."""
        return subprocess.run(
            ["ip", "netns", "exec", namespace, *command], input=stdin, capture_output=True, text=True, timeout=60
        )

    def blocker(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run our command on the router."""
        program = shutil.which("blocker", path=os.path.dirname(sys.executable)) or "blocker"
        return self.inside(self.router, program, *words)

    def reaches(self, address: str, port: int = 443) -> bool:
        """Does a packet of the client reach the server? (Its kernel refuses the connection: so it came.)"""
        done = self.inside(self.client, sys.executable, "-c", _ASK, address, str(port), "0.6")
        said = done.stdout.strip()
        assert said in ("refused", "timeout"), said + done.stderr
        return said == "refused"


@contextmanager
def forwarding(addresses: Sequence[str]) -> Iterator[Network]:
    """A network whose server has these addresses; everything in it goes away afterwards."""
    mark = f"blk{os.getpid()}"
    network = Network(f"{mark}c", f"{mark}r", f"{mark}s")
    names = (network.client, network.router, network.server)
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            # Without this, IPv6 waits a second for duplicates of each address.
            _set(network, name, "ipv6/conf/default/accept_dad", 0)
        for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            _set(network, network.router, setting, 1)
        for end, inner, subnet in ((network.client, "c", 1), (network.server, "s", 2)):
            _ip("-n", network.router, "link", "add", f"to-{inner}", "type", "veth", "peer", "name", "wan", "netns", end)
            for where, link, host in ((network.router, f"to-{inner}", 1), (end, "wan", 2)):
                _ip("-n", where, "addr", "add", f"10.77.{subnet}.{host}/24", "dev", link)
                _ip("-n", where, "addr", "add", f"fd77:{subnet}::{host}/64", "dev", link, "nodad")
                _ip("-n", where, "link", "set", link, "up")
            _ip("-n", end, "route", "add", "default", "via", f"10.77.{subnet}.1")
            _ip("-n", end, "-6", "route", "add", "default", "via", f"fd77:{subnet}::1")
        for address in addresses:
            six = ":" in address
            length = 128 if six else 32
            _ip("-n", network.server, "addr", "add", f"{address}/{length}", "dev", "lo", *(["nodad"] if six else []))
            via = "fd77:2::2" if six else "10.77.2.2"
            _ip("-n", network.router, *(["-6"] if six else []), "route", "add", f"{address}/{length}", "via", via)
        yield network
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=30, check=False)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _set(network: Network, namespace: str, setting: str, value: int) -> None:
    done = network.inside(namespace, "sh", "-c", f"echo {value} > /proc/sys/net/{setting}")
    assert done.returncode == 0, done.stderr
