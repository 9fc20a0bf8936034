"""The kernel with the 167,962 real addresses: ten thousand packets a family, dropped exactly when listed."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feeds.ipfilter import ipset, nftables
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.intervals import Intervals, intersect, merged
from feeds.ipfilter.kernel import address_of, address_text, prefix_span
from tests.interop.forwarding import Network, forwarding

pytestmark = [pytest.mark.interop, pytest.mark.root, pytest.mark.data, pytest.mark.slow]

SAMPLED = 10_000
_RECEIVE = """
import socket, sys
seen = open(sys.argv[2], "w")
family = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
listening = socket.socket(family, socket.SOCK_DGRAM)
listening.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
listening.bind(("", 5353))
print("ready", flush=True)
while (packet := listening.recv(64)) != b"end":
    print(packet.decode(), file=seen)
seen.close()
"""
_SEND = """
import socket, sys, time
family = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
sending = socket.socket(family, socket.SOCK_DGRAM)
for _turn in range(int(sys.argv[2])):
    for number, address in enumerate(open(sys.argv[3]).read().split()):
        sending.sendto(address.encode(), (address, 5353))
        if number % 20 == 0:
            time.sleep(0.001)
time.sleep(0.3)
sending.sendto(b"end", (sys.argv[4], 5353))
"""
NEVER = {4: "198.51.100.7", 6: "2001:db8:ffff::7"}


@pytest.fixture(params=["nftables", "ipset"])
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def network(target: str, need_root: None, need_program: Callable[[str, str], str]) -> Iterator[Network]:
    for program, package in (("nft", "nftables"), ("ipset", "ipset"), ("iptables", "iptables"), ("ip", "iproute2")):
        need_program(program, package)
    with forwarding([]) as made:
        said = ""
        for setting in ("ipv4/conf/all/accept_local", "ipv4/conf/wan/accept_local"):
            said += made.inside(made.server, "sh", "-c", f"echo 1 > /proc/sys/net/{setting}").stderr
        for setting in ("ipv4/conf/all/rp_filter", "ipv4/conf/wan/rp_filter"):
            said += made.inside(made.server, "sh", "-c", f"echo 0 > /proc/sys/net/{setting}").stderr
        for family, via, everything in (("-4", "10.77.2.2", "0.0.0.0/0"), ("-6", "fd77:2::2", "::/0")):
            # The server takes what arrives for any address as its own.
            said += made.inside(
                made.server, "ip", family, "route", "add", "local", everything, "dev", "lo", "table", "99"
            ).stderr
            said += made.inside(
                made.server, "ip", family, "rule", "add", "iif", "wan", "lookup", "99", "pref", "100"
            ).stderr
            # Neighbour discovery is for the server's real addresses.
            rule = ("rule", "add", "iif", "wan", "to", "fe80::/10" if family == "-6" else "10.77.2.0/24")
            said += made.inside(made.server, "ip", family, *rule, "lookup", "local", "pref", "50").stderr
            said += made.inside(made.router, "ip", family, "route", "add", "default", "via", via).stderr
        assert said == ""
        yield made


def load(network: Network, target: str, listed: Filter, first: bool = True) -> None:
    """Load a filter; `first` says that the operator's rules are not there yet, which use the sets of ipset."""
    command, script = ["nft", "-f", "-"], nftables.script(listed, ["forward"])
    if target == "ipset":
        command, script = ["ipset", "restore"], ipset.script(listed)
    done = network.inside(network.router, *command, stdin=script)
    assert done.returncode == 0, done.stderr[:500]
    for hint in ipset.rules_hint() if first and target == "ipset" else ():
        assert network.inside(network.router, *hint.split()).returncode == 0


def arrived(
    network: Network,
    folder: Path,
    version: int,
    addresses: list[int],
    turns: int = 1,
    during: Callable[[], None] = lambda: None,
) -> list[int]:
    """The addresses whose packets came through, one for each packet; `during` runs while they are sent."""
    (folder / "to").write_text("\n".join(address_text(version, address) for address in addresses))
    python = ("ip", "netns", "exec")
    receiver = subprocess.Popen(
        [*python, network.server, sys.executable, "-c", _RECEIVE, str(version), str(folder / "seen")],
        stdout=subprocess.PIPE,
        text=True,
    )
    sender = None
    try:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        # The first packets would be lost while the neighbours are looked up.
        network.inside(network.client, "ping", "-c", "3", "-i", "0.2", "-W", "1", NEVER[version])
        sender = subprocess.Popen(
            [
                *python,
                network.client,
                sys.executable,
                "-c",
                _SEND,
                str(version),
                str(turns),
                str(folder / "to"),
                NEVER[version],
            ]
        )
        during()
        assert sender.poll() is None, "the traffic ended first"
        assert sender.wait(60) == 0
        assert receiver.wait(30) == 0
    finally:
        for process in (sender, receiver):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(5)
    return [address_of(line) for line in (folder / "seen").read_text().split()]


def samples(version: int, listed: Intervals) -> list[int]:
    """Listed addresses, their neighbours on both sides, and random ones."""
    chance = random.Random(7)
    spans = chance.sample(listed, SAMPLED // 4)
    inside = [chance.randint(span.first, span.last) for span in spans]
    edges = [number for span in spans for number in (span.first - 1, span.last + 1)]
    low, high = (11 << 24, 126 << 24) if version == 4 else (0x2A << 120, 0x2B << 120)
    free = [chance.randrange(low, high) for _n in range(SAMPLED // 4)]
    return [*inside, *edges, *free]


def covers(listed: Intervals, addresses: list[int]) -> set[int]:
    sought = merged((address, address) for address in addresses)
    return {n for span in intersect(sought, listed) for n in range(span.first, span.last + 1)}


def real_filter(lines: list[str]) -> Filter:
    chance = random.Random(5)
    six = [(0x2A << 120) + (chance.getrandbits(40) << 80) for _n in range(100_000)]
    return Filter(
        merged(prefix_span(line) for line in lines if not line.startswith("#")),
        merged((first, first + chance.choice((0, 0, (1 << 64) - 1))) for first in six),
    )


def test_packets_are_dropped_exactly_when_listed(
    network: Network, target: str, tmp_path: Path, real_list: Callable[[str], list[str]]
) -> None:
    filter_ = real_filter(real_list("malware.ipv4.txt.gz"))
    load(network, target, filter_)
    for version in (4, 6):
        listed = filter_.whole(version)
        sent = samples(version, listed)
        dropped = covers(listed, sent)
        seen = arrived(network, tmp_path, version, sent)
        assert sorted(seen) == sorted(address for address in sent if address not in dropped)
        assert len(dropped) >= SAMPLED // 5


def test_a_swap_under_traffic_loses_nobody_and_lets_nobody_through(
    network: Network, target: str, tmp_path: Path, real_list: Callable[[str], list[str]]
) -> None:
    before = real_filter(real_list("malware.ipv4.txt.gz"))
    after = Filter(before.blocked4[::2], before.blocked6[::2])
    sent = samples(4, after.blocked4)
    always, ever = covers(after.blocked4, sent), covers(before.blocked4, sent)
    watched = [address for address in sent if address in always or address not in ever]
    load(network, target, before)
    swapped: list[float] = []

    def swap() -> None:
        for filter_ in (after, before, after):
            time.sleep(0.2)
            load(network, target, filter_, first=False)
            swapped.append(time.monotonic())

    turns = 14
    seen = arrived(network, tmp_path, 4, watched, turns, swap)
    assert len(swapped) == 3
    assert not set(seen) & always
    assert sorted(seen) == sorted(address for address in watched if address not in always for _turn in range(turns))


# Takes out every hundredth interval and puts it in again, element by element, as `blocker ip apply` does.
_CHANGES = """
import time
from dataclasses import replace
from feeds.ipfilter import nftables
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.kernel import run
from feeds.ipfilter.nft.changes import generation
from feeds.ipfilter.target import TARGETS

held = nftables.read(run)
whole = held.filter
less = Filter(tuple(span for n, span in enumerate(whole.blocked4) if n % 100), whole.blocked6)
plan = TARGETS["nftables"].plan(1, less, ("forward",), run)
for turn in range(10):
    now, then = (less, whole) if turn % 2 else (whole, less)
    assert nftables.change(replace(plan, held=replace(held, filter=now, generation=generation()), wanted=then))
    time.sleep(0.05)
"""


@pytest.mark.parametrize("target", ["nftables"])
def test_changes_of_single_elements_under_traffic_touch_nobody_else(
    network: Network, target: str, tmp_path: Path, real_list: Callable[[str], list[str]]
) -> None:
    listed = real_filter(real_list("malware.ipv4.txt.gz"))
    staying = tuple(span for n, span in enumerate(listed.blocked4) if n % 100)
    sent = samples(4, staying)
    always, ever = covers(staying, sent), covers(listed.blocked4, sent)
    watched = [address for address in sent if address in always or address not in ever]
    load(network, target, listed)
    said: list[str] = []

    def change() -> None:
        root = str(Path(__file__).parent.parent.parent)
        done = network.inside(network.router, "env", f"PYTHONPATH={root}", sys.executable, "-c", _CHANGES)
        said.append(done.stderr)

    turns = 20
    seen = arrived(network, tmp_path, 4, watched, turns, change)
    assert said == [""], "every change was carried out, and the last one put back what the first took"
    assert not set(seen) & always
    assert sorted(seen) == sorted(address for address in watched if address not in always for _turn in range(turns))
