"""Queries per CPU second of the plain lane, with dnsperf as the client; one process, one core each."""

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


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_mb(pid: int) -> int:
    fields = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
    return int(fields[fields.index("Pss:") + 1]) // 1024


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


def measure(names: list[str], work: Path, seconds: int = 5) -> tuple[list[Rate], int, float]:
    """The rates, proportional memory in MiB and seconds from start to the first refusal, for a plain list."""
    listed = work / "list.txt"
    listed.write_text("".join(f"{name}\n" for name in names))
    rng = random.Random(7)
    sample = rng.sample(names, min(50_000, len(names)))
    blocked, cached = work / "blocked", work / "cached"
    blocked.write_text("".join(f"{rng.choice(['', '', 'www.', 'a.b.'])}{name} A\n" for name in sample))
    cached.write_text("".join(f"host{n}.good-{n % 97}.example A\n" for n in range(5000)))
    upstream, port = free_port(), free_port()
    stand_in = [sys.executable, str(ROOT / "deploy/demo/upstream.py"), "127.0.0.1", str(upstream)]
    serve = [BLOCKER, "dns", "serve", "--list", str(listed), "--metrics", "off", "--user", getpass.getuser()]
    serve += ["--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{upstream}"]
    with running(stand_in, cpus="1"):
        start = time.monotonic()
        with running(serve, cpus="0") as server:

            def refused() -> None:
                if _ask(port, sample[0])[3] & 15 != 3:
                    raise RuntimeError("not refused yet")

            until(refused, 300)
            load = time.monotonic() - start
            rates = [
                _perf("blocked", port, server.pid, blocked, seconds),
                _perf("blocked, with EDNS and its Extended DNS Error", port, server.pid, blocked, seconds, edns=True),
            ]
            _perf("warm", port, server.pid, cached, seconds)
            rates.append(_perf("answered from the cache", port, server.pid, cached, seconds))
            return rates, _pss_mb(server.pid), load
