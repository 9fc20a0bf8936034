"""Zone transfers of one large release: what they cost the primary."""

import base64
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import dns.message
import dns.name
import dns.rrset
import dns.tsig

from feeds.errors import Rejected
from feeds.name import DomainName
from feeds.pruning import prune
from feeds.release import Release
from feeds.rule import Action, Category, NameTarget, Rule, Scope
from feeds.store import Store
from tests.bench.way import BLOCKER
from tests.feeds.accepting import manifest_for

ZONE = "rpz.blocker"
SECONDARIES = 20
FAR = 600_000  # hours since 1970: in the year 2038
LONGEST_SECONDS = 120.0


class Load(NamedTuple):
    """What the primary used up to now: CPU seconds, and MiB now (proportional) and at most (resident)."""

    cpu: float
    pss_mb: int
    peak_mb: int


def load_of(pid: int) -> Load:
    """Of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    status = Path(f"/proc/{pid}/status").read_text().split()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
    return Load(
        (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        int(rollup[rollup.index("Pss:") + 1]) // 1024,
        int(status[status.index("VmHWM:") + 1]) // 1024,
    )


def rules_of(names: Sequence[str], action: Action = Action.NXDOMAIN) -> list[Rule]:
    """A subtree rule for each name that is one, pruned."""
    found: dict[str, Rule] = {}
    for number, text in enumerate(names, 1):
        try:
            name = DomainName.parse(text).name
        except Rejected:
            continue
        target = NameTarget(name, Scope.SUBTREE)
        found.setdefault(name.text, Rule(target, action, f"vn:{number}", Category.MALWARE, "1/QĐ", FAR))
    return list(prune(found.values()).kept)


def accept(store: Store, serial: int, rules: Sequence[Rule]) -> None:
    """Put a release into the state directory, as a pull does after all its checks."""
    release = Release.of("vn", serial, rules)
    now = datetime.now(UTC)
    manifest = manifest_for(release, now)
    with store.lock():
        store.accept({"manifest.json": manifest.to_bytes()}, release, release, {}, now)


def key(number: int) -> dns.tsig.Key:
    """The key of a secondary; the first has none."""
    return dns.tsig.Key(f"s{number}.", bytes([number]) * 32, "hmac-sha256")


@contextmanager
def serving(store: Store, work: Path, port: int) -> Iterator[int]:
    """`blocker zone serve` with one secondary by address and twenty by key; its process id."""
    text = f'[zone."{ZONE}"]\n[secondary.plain]\naddress = ["127.0.0.1"]\n'
    for number in range(1, SECONDARIES + 1):
        (work / f"s{number}").write_bytes(base64.b64encode(bytes([number]) * 32))
        text += f'[secondary.s{number}]\nkey = "s{number}"\nsecret_file = "s{number}"\n'
    (work / "zone.toml").write_text(text)
    command = [BLOCKER, "zone", "serve", str(work / "zone.toml"), "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen([*command, "--state", str(store.path)], stdout=subprocess.DEVNULL) as server:
        try:
            yield server.pid
        finally:
            server.terminate()
            server.wait(30)


def ask(port: int, serial: int | None, number: int = 0) -> tuple[int, int]:
    """AXFR (`serial` None) or IXFR; octets and messages received. The end is seen by the answer's second SOA."""
    query = dns.message.make_query(ZONE, "AXFR" if serial is None else "IXFR")
    if serial is not None:
        soa = f"localhost. x. {serial} 1 1 1 1"
        query.authority.append(dns.rrset.from_text(dns.name.from_text(ZONE), 0, "IN", "SOA", soa))
    if number:
        query.use_tsig(key(number))
    wire = query.to_wire()
    octets = messages = 0
    # Each from an address of its own, since connections are bounded by address.
    source = (f"127.0.0.{number + 1}", 0)
    with socket.create_connection(("127.0.0.1", port), LONGEST_SECONDS, source) as sock:
        sock.sendall(len(wire).to_bytes(2, "big") + wire)
        with sock.makefile("rb", 1 << 20) as stream:
            while True:
                data = stream.read(int.from_bytes(stream.read(2), "big"))
                octets, messages = octets + len(data) + 2, messages + 1
                # In AXFR form the SOA stands alone in the first and in the last message.
                alone = int.from_bytes(data[6:8], "big") == 1
                if serial is not None or (alone and messages > 1):
                    return octets, messages


def serial_at(port: int) -> int:
    """The SOA's serial by UDP; 0 while there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(dns.message.make_query(ZONE, "SOA").to_wire())
            answer = dns.message.from_wire(sock.recv(4096)).answer
        except OSError:
            return 0
        return int(answer[0][0].serial) if answer else 0


def until(port: int, serial: int) -> float:
    """Wall seconds until that serial is served."""
    began = time.monotonic()
    while serial_at(port) < serial:
        if time.monotonic() - began > LONGEST_SECONDS:
            raise RuntimeError("the primary does not show the release")
        time.sleep(0.02)
    return time.monotonic() - began


def measure(names: Sequence[str], work: Path) -> tuple[list[list[str]], str]:
    """Rows of (what, wall s, CPU s of the primary), and a line about size and memory."""
    rules = rules_of(names)
    store = Store.create(work / "state", url="https://feed.example/", root=b"{}", training=True)
    accept(store, 1, rules)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    rows: list[list[str]] = []
    with serving(store, work, port) as pid:
        before = Load(0.0, 0, 0)

        def note(what: str, wall: float, times: int = 1) -> None:
            nonlocal before
            now = load_of(pid)
            rows.append([what, f"{wall / times:.3f}", f"{(now.cpu - before.cpu) / times:.3f}"])
            print(*rows[-1], now.pss_mb, now.peak_mb, file=sys.stderr, flush=True)
            before = now

        note("start and first release compiled", until(port, 1000))
        ready = load_of(pid)
        for what, number in (("AXFR", 0), ("AXFR with TSIG", 1)):
            began = time.monotonic()
            octets, messages = ask(port, None, number)
            note(what, time.monotonic() - began)
        began = time.monotonic()
        with ThreadPoolExecutor(SECONDARIES) as pool:
            list(pool.map(lambda number: ask(port, None, number), range(1, SECONDARIES + 1)))
        note(f"{SECONDARIES} AXFR with TSIG at once, each", time.monotonic() - began, SECONDARIES)
        accept(store, 2, [*rules[15:], *rules_of([f"new{n}.example.net" for n in range(15)])])
        note("30 rules changed: until the new serial is served", until(port, 2000))
        times = 50
        began = time.monotonic()
        for _n in range(times):
            ask(port, 1000, 1)
        note("IXFR of 30 rules with TSIG", time.monotonic() - began, times)
        after = load_of(pid)
    size = f"{len(rules):,} rules, {octets:,} octets in {messages:,} messages"
    return rows, f"{size}; {ready.pss_mb} MiB when ready, {after.peak_mb} MiB at most (mapped files included)."
