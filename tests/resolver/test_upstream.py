"""Real sockets towards upstreams, some hostile: only the true answer counts, and each attempt is hard to guess."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.resolver.live import (
    LiveResolver,
    Mind,
    Turncoat,
    UpstreamDouble,
    behind,
    free_port,
    obliging,
    plain_list,
    resolver,
    upstream,
)
from tests.resolver.play import ede_of, response

TRUE = "192.0.2.1"
FALSE = "203.0.113.6"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveResolver, UpstreamDouble, Turncoat]]:
    with behind(Turncoat(), tmp_path_factory.mktemp("upstream"), "a.com") as live:
        yield live


@contextmanager
def minded(mind: Turncoat, what: Mind) -> Iterator[None]:
    mind.mind = what
    try:
        yield
    finally:
        mind.mind = obliging


def named(data: bytes) -> str:
    return dns.message.from_wire(data).question[0].name.to_text()


def lie(data: bytes) -> bytearray:
    return bytearray(response(data, f"{named(data)} 60 IN A {FALSE}"))


def addresses(reply: dns.message.Message) -> list[str]:
    return [item.address for rrset in reply.answer for item in rrset]


def with_wrong_id(data: bytes) -> bytes:
    made = lie(data)
    made[0] ^= 0x55
    return bytes(made)


def with_wrong_question(data: bytes) -> bytes:
    made = lie(data)
    made[13] = ord("q") if made[13] | 32 != ord("q") else ord("z")
    return bytes(made)


def as_query(data: bytes) -> bytes:
    made = lie(data)
    made[2] &= 0x7F
    return bytes(made)


def without_question(data: bytes) -> bytes:
    return data[:2] + b"\x81\x80\0\0\0\1\0\0\0\0" + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(FALSE)


LIES = {
    "another id": with_wrong_id,
    "another question": with_wrong_question,
    "QR not set": as_query,
    "no question": without_question,
    "nothing": lambda data: b"",
    "a torn header": lambda data: data[:7],
}


@pytest.mark.parametrize("kind", LIES)
def test_wrong_answers_are_ignored_while_the_true_one_is_waited_for(stage, kind):
    live, _double, mind = stage
    with minded(mind, lambda data, tcp: [LIES[kind](data)] * 3 + obliging(data, tcp)):
        assert addresses(live.asks(f"lie-{list(LIES).index(kind)}.net")) == [TRUE]


def test_an_answer_from_another_port_is_not_heard(stage):
    live, double, mind = stage

    def spoofed(data: bytes, tcp: bool) -> list[bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
            forger.sendto(bytes(lie(data)), double.heard[-1][1])
        time.sleep(0.05)
        return obliging(data, tcp)

    with minded(mind, spoofed):
        assert addresses(live.asks("spoofed.net")) == [TRUE]


def test_a_flood_of_wrong_answers_moves_the_question_to_tcp(stage):
    live, _double, mind = stage
    before = live.metrics()["blocker_dns_upstream_near_misses_total"]
    with minded(mind, lambda data, tcp: obliging(data, tcp) if tcp else [with_wrong_id(data)] * 20):
        assert addresses(live.asks("flooded.net")) == [TRUE]
    assert live.metrics()["blocker_dns_upstream_near_misses_total"] - before >= 8


BOMBS = {
    "a chain of pointers": b"".join((0xC000 | (12 + 2 * i)).to_bytes(2, "big") for i in range(1, 600)),
    "a pointer to itself": b"\xc0\x1d" * 40,
    "records that are not there": b"",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_instead_of_an_answer_costs_a_moment_and_one_attempt(stage, kind):
    live, _double, mind = stage

    def bomb(data: bytes, tcp: bool) -> list[bytes]:
        question = data[12 : data.index(b"\0", 12) + 5]
        return [data[:2] + b"\x81\x80\0\1\xff\xff\0\0\0\0" + question + BOMBS[kind]]

    with minded(mind, bomb):
        start = time.process_time()
        assert live.asks(f"bomb-{list(BOMBS).index(kind)}.net", timeout=6).rcode() == dns.rcode.SERVFAIL
        assert time.process_time() - start < 1
    assert addresses(live.asks(f"after-{list(BOMBS).index(kind)}.net")) == [TRUE]


def test_ports_and_ids_are_drawn_from_all_there_are(stage):
    live, double, _mind = stage
    double.heard.clear()
    for i in range(60):
        live.asks(f"draw{i}.net")
    ports = [client[1] for _data, client in double.heard]
    assert len(set(ports)) > 55
    assert min(ports) < 20_000, "also below the kernel's own range"
    assert max(ports) > 45_000
    assert len({data[:2] for data, _client in double.heard}) > 55


def test_a_truncated_answer_is_fetched_over_tcp(stage):
    live, _double, mind = stage
    many = [f"192.0.2.{i}" for i in range(1, 201)]

    def large(data: bytes, tcp: bool) -> list[bytes]:
        if not tcp:
            return [response(data, flags=dns.flags.TC)]
        return [response(data, *(f"{named(data)} 60 IN A {address}" for address in many))]

    with minded(mind, large):
        assert sorted(addresses(live.asks("large.net", tcp=True))) == sorted(many)
        assert live.asks("large.net").flags & dns.flags.TC


def test_an_upstream_that_only_folds_case_is_understood(stage):
    live, _double, mind = stage
    with minded(mind, lambda data, tcp: obliging(data[:12] + data[12:].lower(), tcp)):
        for i in range(3):
            assert addresses(live.asks(f"Folded{i}.net")) == [TRUE]


def test_a_dead_upstream_costs_nothing_while_another_lives(tmp_path: Path):
    dead = f"127.0.0.1:{free_port()}"
    names = plain_list(tmp_path, "a.com")
    with upstream() as double, resolver(tmp_path, [dead, double.address], "--list", str(names)) as live:
        slowest = 0.0
        for i in range(40):
            start = time.monotonic()
            assert addresses(live.asks(f"h{i}.net")) == [TRUE]
            slowest = max(slowest, time.monotonic() - start)
        assert slowest < 1


def test_with_no_upstream_at_all_the_list_is_enforced_and_the_rest_fails_with_a_reason(tmp_path: Path):
    dead = f"127.0.0.1:{free_port()}"
    with resolver(tmp_path, [dead], "--list", str(plain_list(tmp_path, "a.com"))) as live:
        assert live.asks("www.a.com").rcode() == dns.rcode.NXDOMAIN
        start = time.monotonic()
        reply = live.asks("b.net", timeout=6)
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert [code for code, _ in ede_of(reply)] == [22]
        assert time.monotonic() - start < 1, "a closed port is known at once"
        assert live.waits_for("upstream_down")[0]["about"] == dead
        assert live.metrics()[f'blocker_dns_upstream_up{{upstream="{dead}"}}'] == 0
