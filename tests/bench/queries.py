"""Queries per CPU second of the resolver, with dnsperf as the client, which has a core of its own.

CPU and memory are those of all the resolver's processes together.
"""

import contextlib
import getpass
import os
import random
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.way import BLOCKER, free_port, running, until

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Rate:
    """Queries per CPU second of the server, those lost, and the share of each answer code."""

    what: str
    per_cpu_second: float
    lost: int
    codes: str


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(status.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(status.parent.name))
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        left += parents.get(found[-1], [])
    return found


def _cpu_seconds(pid: int) -> float:
    ticks = 0
    for one in _family(pid):
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _pss_mb(pid: int) -> int:
    kib = 0
    for one in _family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/smaps_rollup").read_text().split()
            kib += int(fields[fields.index("Pss:") + 1])
    return kib // 1024


def _ask(port: int, name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect(("127.0.0.1", port))
        client.send(b"\x12\x34\x01\x00\x00\x01" + bytes(6) + labels + b"\0\0\1\0\1")
        return client.recv(4096)


def _perf(what: str, port: int, pid: int, queries: Path, seconds: int, edns: bool = False) -> Rate:
    before = _cpu_seconds(pid)
    words = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(queries), "-l", str(seconds), "-c", "16", "-q"]
    out = subprocess.run(
        ["taskset", "-c", "1", *words, "200", *(["-e"] if edns else [])], capture_output=True, text=True, check=True
    ).stdout
    used = _cpu_seconds(pid) - before

    def field(name: str) -> str:
        found = re.search(rf"{name}:\s+(.*)", out)
        return found.group(1).strip() if found else ""

    done = int(field("Queries completed").split()[0])
    return Rate(what, done / max(used, 0.01), int(field("Queries lost").split()[0]), field("Response codes"))


@dataclass(frozen=True, slots=True)
class Server:
    """A command that listens at `port` once it is started."""

    name: str
    port: int
    command: list[str]
    cpus: str = "0"


def ours(name: str, listed: Path, upstream: int, *words: str, cpus: str = "0") -> Server:
    """The resolver on a plain list."""
    port = free_port()
    serve = [BLOCKER, "dns", "serve", "--list", str(listed), "--metrics", "off", "--user", getpass.getuser()]
    serve += ["--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{upstream}", *words]
    return Server(name, port, serve, cpus)


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one server: seconds from its start to the first right answer, MiB after the run."""

    server: str
    load: float
    memory: int
    rates: list[Rate]


def measure(names: list[str], work: Path, seconds: int = 5) -> list[Measured]:
    """Both lanes, and the compiled one on two cores, on a plain list whose image is beside it."""
    listed = work / "list.txt"
    listed.write_text("".join(f"{name}\n" for name in names))
    subprocess.run([BLOCKER, "dns", "compile", "--list", str(listed)], check=True, capture_output=True)
    rng = random.Random(7)
    sample = rng.sample(names, min(50_000, len(names)))
    blocked, cached = work / "blocked", work / "cached"
    blocked.write_text("".join(f"{rng.choice(['', '', 'www.', 'a.b.'])}{name} A\n" for name in sample))
    cached.write_text("".join(f"host{n}.good-{n % 97}.example A\n" for n in range(5000)))
    upstream = free_port()
    stand_in = [sys.executable, str(ROOT / "deploy/demo/upstream.py"), "127.0.0.1", str(upstream)]
    servers = [
        ours("compiled lane", listed, upstream, "--lane", "fast", "--lanes", "1"),
        ours("two compiled lanes", listed, upstream, "--lane", "fast", "--lanes", "2", cpus="0,1"),
        ours("plain lane", listed, upstream, "--lane", "plain", "--lanes", "1"),
    ]
    found = []
    with running(stand_in, cpus="1"):
        for server in servers:
            start = time.monotonic()
            with running(server.command, cpus=server.cpus) as process:
                _until_rcode(server.port, sample[0], 3)
                load = time.monotonic() - start
                rates = [
                    _perf("blocked", server.port, process.pid, blocked, seconds),
                    _perf("blocked, with EDNS and EDE", server.port, process.pid, blocked, seconds, edns=True),
                ]
                _perf("warm", server.port, process.pid, cached, seconds)
                rates.append(_perf("answered from the cache", server.port, process.pid, cached, seconds))
                found.append(Measured(server.name, load, _pss_mb(process.pid), rates))
    return found


def misses(work: Path, seconds: int = 5) -> list[Measured]:
    """Names that nobody has asked for, forwarded to an NSD on loopback: both lanes beside Unbound forwarding."""
    listed, zone = work / "list.txt", work / "example.zone"
    listed.write_text("listed-name.com\n")
    zone.write_text(
        "$TTL 3600\n@ SOA ns.example. root.example. 1 3600 600 86400 300\n@ NS ns\nns A 127.0.0.1\n* A 192.0.2.1\n"
    )
    upstream, port = free_port(), free_port()
    nsd, unbound = work / "nsd.conf", work / "unbound.conf"
    nsd.write_text(
        f"server:\n ip-address: 127.0.0.1@{upstream}\n username: {getpass.getuser()}\n rrl-ratelimit: 0\n"
        f' rrl-whitelist-ratelimit: 0\n zonesdir: {work}\n database: ""\n pidfile: {work}/nsd.pid\n xfrdfile: ""\n'
        f" zonelistfile: {work}/zones\n xfrdir: {work}\nremote-control:\n control-enable: no\n"
        "zone:\n name: example\n zonefile: example.zone\n"
    )
    unbound.write_text(
        f'server:\n interface: 127.0.0.1@{port}\n num-threads: 1\n username: ""\n chroot: ""\n directory: {work}\n'
        f" pidfile: {work}/unbound.pid\n do-daemonize: no\n module-config: iterator\n do-not-query-localhost: no\n"
        " msg-cache-size: 64m\n rrset-cache-size: 64m\n so-rcvbuf: 4m\n outgoing-range: 4096\n"
        f" num-queries-per-thread: 2048\nforward-zone:\n name: .\n forward-addr: 127.0.0.1@{upstream}\n"
    )
    servers = [
        ours("compiled lane", listed, upstream, "--lane", "fast", "--lanes", "1"),
        Server("Unbound", port, ["unbound", "-c", str(unbound)]),
        ours("plain lane", listed, upstream, "--lane", "plain", "--lanes", "1"),
    ]
    found = []
    with running(["nsd", "-d", "-c", str(nsd)], cpus="1"):
        for server in servers:
            start = time.monotonic()
            with running(server.command, cpus=server.cpus) as process:
                _until_rcode(server.port, "first.example", 0)
                load = time.monotonic() - start
                asked = work / "asked"
                asked.write_text("".join(f"host{n}.{process.pid}-{n % 97}.example A\n" for n in range(1_000_000)))
                rates = [_perf("forwarded", server.port, process.pid, asked, seconds)]
                found.append(Measured(server.name, load, _pss_mb(process.pid), rates))
    return found


def _until_rcode(port: int, name: str, rcode: int) -> None:
    def answered() -> None:
        if _ask(port, name)[3] & 15 != rcode:
            raise RuntimeError("not yet")

    until(answered, 300)
