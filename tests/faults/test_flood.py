"""A flood of names that nobody has asked for before: memory and open sockets stay bounded, others are served."""

import random
import socket
import time
from pathlib import Path

import dns.exception
import dns.rcode
import pytest

from resolver.session import Config
from tests.load.process import family_cpu_seconds, memory_mb, open_files
from tests.load.sending import sending
from tests.load.upstream import fast_upstream
from tests.resolver.live import LiveResolver, obliging, plain_list, resolver, upstream
from tests.resolver.play import query

CACHE_MB = 8
# Beyond its empty cache: what the cache may hold and what Python's allocator keeps besides, the questions on their way.
MORE_MB = 6 * CACHE_MB + 40
SPARE_FILES = 40
POOL_FILES = 1024  # sockets that the compiled lane keeps ready once it has needed them
ATTEMPTS = 3  # a stub resolver's tries
RNG = random.Random(11)


def served(live: LiveResolver, name: str, rcode: dns.rcode.Rcode) -> float | None:
    """Seconds until the answer, with a stub resolver's tries; None if all of them failed."""
    start = time.monotonic()
    for _try in range(ATTEMPTS):
        try:
            if live.asks(name, timeout=1).rcode() == rcode:
                return time.monotonic() - start
        except dns.exception.Timeout:
            continue
    return None


FLOOD = [query(f"abcdefghijkl.victim{n}.com") for n in range(50)]  # the first label is drawn anew for each query


def flooded(tmp_path: Path, *, count: int, seconds: float, rate: float = 0) -> None:
    """At `rate` a second; for 0 as fast as it is answered, with 512 on their way."""
    options = ["--list", str(plain_list(tmp_path, "bad.com")), "--cache-mb", str(CACHE_MB)]
    with fast_upstream() as address, resolver(tmp_path, [address], *options) as live:
        pid = live.process.pid
        assert served(live, "popular.net", dns.rcode.NOERROR) is not None
        memory, files, cpu = memory_mb(pid), open_files(pid), family_cpu_seconds(pid)
        most_memory, most_files, waits, unserved = memory, files, [], 0
        seed = RNG.getrandbits(60)
        with sending(
            tmp_path, live.port, FLOOD, seconds=seconds, count=count, rate=rate, sockets=8, seed=seed
        ) as sender:
            while sender.process.poll() is None:
                for name, rcode in (("www.bad.com", dns.rcode.NXDOMAIN), ("popular.net", dns.rcode.NOERROR)):
                    wait = served(live, name, rcode)
                    unserved += wait is None
                    waits.append(wait or 0.0)
                most_memory = max(most_memory, memory_mb(pid))
                most_files = max(most_files, open_files(pid))
                time.sleep(0.1)
            result = sender.result()
        start = time.monotonic()
        assert served(live, "afterwards.org", dns.rcode.NOERROR) is not None
        after = time.monotonic() - start
        shown = live.metrics()
        entries, held = shown["blocker_dns_cache_entries"], shown["blocker_dns_cache_bytes"]
        cpu = family_cpu_seconds(pid) - cpu
        print(f"{result.text()}; memory {memory:.0f} to {most_memory:.0f} MiB, files {files} to {most_files}, cache "
              f"{held / 1e6:.1f} MB in {entries:.0f} entries; others asked {len(waits)} times, {unserved} unserved, "
              f"worst wait {max(waits) * 1e3:.0f} ms, {after * 1e3:.0f} ms afterwards; {cpu:.1f} s of CPU")  # fmt: skip
        assert held <= CACHE_MB << 20
        assert most_memory - memory < MORE_MB
        assert most_files - files < Config(("",)).max_outstanding * 3 + POOL_FILES + SPARE_FILES
        assert rate or unserved == 0, "whoever asks for something else is served"
        assert after < 3, "when it is over, it is over"
        assert shown["blocker_dns_faults_total"] == 0
        until = time.monotonic() + 6
        while open_files(pid) - files >= POOL_FILES + SPARE_FILES and time.monotonic() < until:
            time.sleep(0.1)
        assert open_files(pid) - files < POOL_FILES + SPARE_FILES, "what was given up is closed"


def test_random_names_as_fast_as_they_are_answered_keep_every_bound_and_others_are_served(tmp_path: Path):
    flooded(tmp_path, count=15_000, seconds=5)


@pytest.mark.slow
def test_a_million_random_names_keep_every_bound_and_others_are_served(tmp_path: Path):
    """A million, or as many as it answers in a minute."""
    flooded(tmp_path, count=1_000_000, seconds=60)


@pytest.mark.slow
def test_random_names_at_more_than_it_can_answer_keep_every_bound(tmp_path: Path):
    """Ten times what the plain lane can ask its upstream for: the kernel drops what does not fit the socket."""
    flooded(tmp_path, count=500_000, seconds=8, rate=60_000)


def test_names_that_no_server_answers_for_hold_up_neither_refusals_nor_what_is_kept(tmp_path: Path):
    """Each such question stays open until it is given up; one eighth of all may be of one zone, the others are shed."""
    names = plain_list(tmp_path, "bad.com")

    def dead(data: bytes, tcp: bool) -> list[bytes] | None:
        return None if b"\4dead" in data.lower() else obliging(data, tcp)

    with upstream(dead) as double, resolver(tmp_path, [double.address], "--list", str(names)) as live:
        pid = live.process.pid
        assert served(live, "popular.net", dns.rcode.NOERROR) is not None
        files = open_files(pid)
        with sending(tmp_path, live.port, [query("abcdefghijkl.dead.com")], seconds=3, rate=5000, seed=7) as sender:
            most = fresh = tries = 0
            while sender.process.poll() is None:
                assert served(live, "www.bad.com", dns.rcode.NXDOMAIN) is not None
                assert served(live, "popular.net", dns.rcode.NOERROR) is not None
                tries += 1
                fresh += served(live, f"fresh{tries}.net", dns.rcode.NOERROR) is not None
                most = max(most, open_files(pid))
                time.sleep(0.1)
            result = sender.result()
        print(f"{result.text()}; files {files} to {most}; {fresh} of {tries} new names of others answered")
        assert fresh >= tries * 0.9, "new names of others find a place"
        assert most - files < Config(("",)).max_outstanding * 3 + POOL_FILES + SPARE_FILES


def test_slow_and_idle_connections_are_bounded_and_everybody_else_is_served(tmp_path: Path):
    """Of one address twenty connections are held, whatever they say or do not say; they cost next to no CPU."""
    with (
        upstream() as double,
        resolver(tmp_path, [double.address], "--list", str(plain_list(tmp_path, "bad.com"))) as live,
    ):
        pid = live.process.pid
        files, cpu = open_files(pid), family_cpu_seconds(pid)
        held: list[socket.socket] = []
        try:
            for n in range(300):
                stream = socket.create_connection(("127.0.0.1", live.port), 5, (f"127.0.0.{2 + n % 3}", 0))
                held.append(stream)
                try:
                    stream.send(b"\0\x40\1\2"[: n % 5])
                except OSError:
                    continue
            time.sleep(0.5)
            assert live.metrics()["blocker_dns_tcp_connections"] <= 60
            assert open_files(pid) - files <= 60 + SPARE_FILES
            for _round in range(20):
                for stream in held:
                    try:
                        stream.send(b"\7")
                    except OSError:
                        continue
                time.sleep(0.05)
            assert served(live, "www.bad.com", dns.rcode.NXDOMAIN) is not None
            assert live.asks("www.bad.com", tcp=True).rcode() == dns.rcode.NXDOMAIN, "another address still connects"
            spent = family_cpu_seconds(pid) - cpu
            print(f"300 connections from 3 addresses: {spent:.2f} s of CPU")
            assert spent < 1
        finally:
            for stream in held:
                stream.close()
