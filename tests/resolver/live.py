"""A resolver of ours as a process, and a double of an upstream in threads, both on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import dns.flags
import dns.message
import dns.query

from feeds.manifest import Canary, Contact, DecisionRef
from feeds.release import Release
from feeds.rule import Rule
from feeds.store import Store
from tests.feeds.accepting import manifest_for
from tests.resolver.play import response

BLOCKER = str(Path(sys.executable).parent / "blocker")
PATIENCE = 20.0

# Gives the messages to send back, or None for silence. Arguments: the query, and whether it came over TCP.
Mind = Callable[[bytes, bool], list[bytes] | None]
MindT = TypeVar("MindT", bound=Mind)


def obliging(data: bytes, tcp: bool) -> list[bytes]:
    """Every name has one address."""
    name = dns.message.from_wire(data).question[0].name.to_text()
    return [response(data, f"{name} 60 IN A 192.0.2.1")]


class Turncoat:
    """A mind that can be changed while the resolver runs."""

    def __init__(self) -> None:
        self.mind: Mind = obliging

    def __call__(self, data: bytes, tcp: bool) -> list[bytes] | None:
        return self.mind(data, tcp)


class UpstreamDouble:
    """Answers over UDP and TCP at one port of 127.0.0.1 with what its mind says."""

    def __init__(self, mind: Mind = obliging) -> None:
        self.mind = mind
        self.heard: list[tuple[bytes, Any]] = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = free_port()
        self.udp.bind(("127.0.0.1", self.port))
        self.tcp.bind(("127.0.0.1", self.port))
        self.tcp.listen(16)
        for loop in (self._datagrams, self._streams):
            threading.Thread(target=loop, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _datagrams(self) -> None:
        while True:
            try:
                data, client = self.udp.recvfrom(65535)
            except OSError:
                return
            if not data:
                return
            self.heard.append((data, client))
            for reply in self.mind(data, False) or ():
                self.udp.sendto(reply, client)

    def _streams(self) -> None:
        while True:
            try:
                stream, _client = self.tcp.accept()
            except OSError:
                return
            with stream:
                stream.settimeout(2)
                try:
                    size = int.from_bytes(stream.recv(2), "big")
                    for reply in self.mind(stream.recv(size), True) or ():
                        stream.sendall(len(reply).to_bytes(2, "big") + reply)
                except OSError:
                    continue

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.udp.getsockname())
        self.udp.close()
        self.tcp.shutdown(socket.SHUT_RDWR)
        self.tcp.close()


@contextmanager
def upstream(mind: Mind = obliging) -> Iterator[UpstreamDouble]:
    double = UpstreamDouble(mind)
    try:
        yield double
    finally:
        double.close()


def free_port() -> int:
    """A port that is free for UDP and TCP on both loopback addresses."""
    for _try in range(50):
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tcp:
            tcp.bind(("::1", 0))
            port = tcp.getsockname()[1]
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp4,
                socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp4,
            ):
                try:
                    udp4.bind(("127.0.0.1", port))
                    tcp4.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return int(port)
    raise AssertionError("no port is free")


@dataclass
class LiveResolver:
    """A `blocker dns serve` in the foreground."""

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    log_path: Path
    host: str = "127.0.0.1"

    def log(self) -> list[dict[str, Any]]:
        """The JSON lines it wrote so far."""
        lines = self.log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def waits_for(self, event: str, count: int = 1, bereft: bool = False) -> list[dict[str, Any]]:
        """The log lines of that event, once there are so many. `bereft`: the process that was started has ended."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            found = [line for line in self.log() if line["event"] == event]
            if len(found) >= count:
                return found
            if not bereft and self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no {event}: {self.log_path.read_text()}")

    def asks(self, name: str, rtype: str = "A", *, tcp: bool = False, timeout: float = 3, **more: Any) -> Any:
        """The reply, read by dnspython, which checks that it fits the query."""
        made = dns.message.make_query(name, rtype, use_edns=0, payload=1232, **more)
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(made, self.host, timeout=timeout, port=self.port)

    def metrics(self) -> dict[str, float]:
        """The exposition, by series as written."""
        lines = self.exposition().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def exposition(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as reply:
            return str(reply.read().decode())

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@contextmanager
def resolver(
    tmp_path: Path,
    upstreams: list[str],
    *arguments: str,
    wait: bool = True,
    hosts: tuple[str, ...] = ("127.0.0.1", "[::1]"),
    environ: dict[str, str] | None = None,
    user: str = "root",
    lanes: int = 1,
    port: int | None = None,
    program: tuple[str, ...] = (BLOCKER,),
) -> Iterator[LiveResolver]:
    """Started, and (unless told otherwise) enforcing. `user`: whom to become when the tests run as root.

    `lanes`: one, unless it matters, since what one has in its cache no other knows.
    """
    port, metrics = port or free_port(), free_port()
    log = tmp_path / f"log-{port}"
    command = [*program, "dns", "serve", "--lanes", f"{lanes}"]
    for host in hosts:
        command += ["--listen", f"{host}:{port}"]
    command += ["--metrics", f"127.0.0.1:{metrics}", *arguments]
    for one in upstreams:
        command += ["--upstream", one]
    if os.geteuid() == 0:
        command += ["--user", user]
    with log.open("wb") as stderr:
        environment = {**os.environ, **(environ or {})}
        process = subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL, env=environment)
    live = LiveResolver(process, port, metrics, log)
    try:
        if wait:
            live.waits_for("enforcing")
        yield live
    finally:
        live.stop()


@contextmanager
def behind(mind: MindT, where: Path, *listed: str) -> Iterator[tuple[LiveResolver, UpstreamDouble, MindT]]:
    """A resolver of a plain list, its upstream, and the upstream's mind."""
    with upstream(mind) as double, resolver(where, [double.address], "--list", str(plain_list(where, *listed))) as live:
        yield live, double, mind


def plain_list(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def accept(state: Path, serial: int, *rules: Rule, canaries: tuple[Canary, ...] = ()) -> Store:
    """Put a release into a state directory as the feed's client does."""
    store = Store(state)
    if not store.exists:
        Store.create(state, url="http://127.0.0.1:1/", root=b"{}", training=False)
    release = Release.of("tpa", serial, rules)
    manifest = manifest_for(
        release,
        datetime.now(UTC),
        authority_name="The authority",
        training=False,
        canaries=canaries,
        contact=Contact(email="objections@tpa.example"),
        decisions=(
            DecisionRef(
                notation="12/QD-2026",
                agency="Sở TTTT",
                number="12",
                date="2026-11-01",
                legal_basis="Nghị định 147/2024/NĐ-CP",
                contact="",
            ),
        ),
    )
    documents = {"manifest.json": manifest.to_bytes(), "root.json": b"{}", "targets.json": b"{}"}
    with store.lock():
        store.accept(documents, release, release, {}, datetime.now(UTC))
    return store
