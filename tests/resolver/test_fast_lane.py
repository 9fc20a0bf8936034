"""What Python does around the compiled lane, with its threads and sockets but without a loop."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from struct import pack
from time import monotonic, sleep
from typing import Any

import dns.message
import dns.rcode
import pytest

from feeds.message import read_response
from feeds.message.building import encode_name
from feeds.rule import Action, Category, Rule
from resolver.cache import Entry, question_key, question_of
from resolver.chain import believed
from resolver.metrics import Counters
from resolver.policy import EMPTY, Policy
from resolver.server import Edge
from resolver.session import Config, Session
from resolver.upstream import Address, Upstreams
from tests.resolver.play import HOUR, query, response, rule

pytest.importorskip("resolver.lane.native", reason="the compiled lane was not built")

from resolver.lane.fast import FastLane, sockaddr
from tests.lane.pair import SECRET, fast_lane, image, loopback

PATIENCE = 5.0


class StillLoop:
    """A reactor that never turns by itself."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def callLater(self, _seconds: float, _what: Any, *_more: Any) -> Any:
        return self

    def cancel(self) -> None: ...


@dataclass
class Scene:
    """A lane that listens at one socket. `told`: what was logged."""

    lane: FastLane
    session: Session
    edge: Edge
    loop: StillLoop
    client: socket.socket
    end: Any
    told: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def listener(self) -> Any:
        return self.loop.readers[0]

    def enforce(self, policy: Policy) -> None:
        self.session.swap(policy)
        self.lane.enforce(policy)

    def turn(self) -> None:
        self.session.turn(HOUR, 1_000_000.0)
        self.lane.turn(self.session)


@contextmanager
def scene(policy: Policy = EMPTY, upstreams: Iterable[Address] = ()) -> Iterator[Scene]:
    addresses = tuple(upstreams)
    labels = tuple(str(n) for n in range(len(addresses))) or ("a",)
    config, counters, loop = Config(labels, rate_limit=0), Counters(), StillLoop()
    lane = FastLane(config, SECRET, addresses)
    session = Session(EMPTY, HOUR, config, Random(5), counters, lane.kept, lane.limits)
    told: list[tuple[str, Any]] = []
    edge = Edge(session, Upstreams(loop, addresses, Random(6)), loop, lambda event, **more: told.append((event, more)))
    server, client = loopback(), loopback()
    client.settimeout(PATIENCE)
    client.connect(server.getsockname())
    made = Scene(lane, session, edge, loop, client, None, told)
    made.enforce(policy)
    made.turn()
    made.end = lane.listen([server], edge, loop)
    try:
        yield made
    finally:
        made.end()
        until = monotonic() + PATIENCE
        while lane.native.flying() and monotonic() < until:
            sleep(0.01)
        client.close()


def waits_for(what: Any) -> Any:
    """What it gives, once that is something."""
    until = monotonic() + PATIENCE
    while not (found := what()) and monotonic() < until:
        sleep(0.01)
    return found


def odd_packet(made: Scene) -> bytes:
    """The next query that is Python's."""

    def look() -> bytes:
        try:
            return bytes(made.listener.following()[0])
        except BlockingIOError:
            return b""

    return bytes(waits_for(look))


def test_what_is_on_its_way_when_a_lane_ends_is_not_lost():
    with loopback() as silent, scene(upstreams=[silent.getsockname()]) as made:
        silent.settimeout(PATIENCE)
        packet = query("new.example")
        made.client.send(packet)
        silent.recv(4096)
        made.end()
        # Given up after the thread that took it has ended.
        waits_for(lambda: not made.lane.native.flying())
        assert made.lane.waiting, "nor is it answered yet"
        assert odd_packet(made) == packet
        assert not made.lane.waiting


def test_a_ground_that_the_policy_no_longer_has_harms_nobody():
    action, names = rule("x.example").action, [f"n{n}.many.example" for n in range(1, 3000)]
    grounds = [
        Rule(rule(name).target, action, f"tpa:{n}", Category.GAMBLING, f"{n}/QD", HOUR + 9)
        for n, name in enumerate(names, 1)
    ]
    asked = names[-100:]
    with scene(Policy([image(grounds)])) as made:
        for name in asked:
            made.client.send(query(name))
        waits_for(lambda: made.lane.native.counts()[0]["odd"] == len(asked))
        # All of it under one ground.
        made.enforce(Policy([image([rule("many.example")], seed=2)]))
        for _turn in range(3):
            made.listener.doRead()
        for _name in asked:
            assert dns.message.from_wire(made.client.recv(4096)).rcode() == dns.rcode.NXDOMAIN
        assert made.session.counters.faults == 0


def test_a_fault_while_a_packet_is_read_costs_that_packet_only():
    with scene(Policy([image([rule("bad.example")])])) as made:

        def fails(_layer: int, _ground: int) -> None:
            raise MemoryError

        taught, made.listener._teach = made.listener._teach, fails
        made.client.send(query("bad.example"))
        waits_for(lambda: made.lane.native.counts()[0]["odd"] == 1)
        made.listener.doRead()
        assert made.session.counters.faults == 1
        made.listener._teach = taught
        made.client.send(query("bad.example"))
        waits_for(lambda: made.lane.native.counts()[0]["odd"] == 2)
        made.listener.doRead()
        assert dns.message.from_wire(made.client.recv(4096)).rcode() == dns.rcode.NXDOMAIN


def test_an_upstream_may_be_on_a_link():
    index = socket.if_nametoindex("lo")
    for scope in ("lo", str(index)):
        made = sockaddr((f"fe80::1%{scope}", 53))
        assert (len(made), int.from_bytes(made[24:], sys.byteorder)) == (28, index)
    assert sockaddr(("fe80::1%none-such", 53))[24:] == bytes(4)


def answer_all(double: socket.socket) -> None:
    """An upstream by hand: it answers what has come."""
    double.setblocking(False)
    while True:
        try:
            data, client = double.recvfrom(4096)
        except BlockingIOError:
            return
        name = dns.message.from_wire(data).question[0].name
        double.sendto(response(data, f"{name} 60 IN A 192.0.2.1"), client)


def test_an_upstream_that_is_silent_to_the_lane_is_down_though_python_asks_another():
    with loopback() as silent, scene(upstreams=[silent.getsockname()]) as made:
        for n in range(3):
            made.client.send(query(f"n{n}.example"))
            waits_for(lambda lost=n + 1: made.lane.native.upstreams()[0][1] == lost)
            assert made.session.health[0].up
            made.turn()
        assert not made.session.health[0].up
        assert made.told == [("upstream_down", {"about": "0"})]
        # Nothing is asked of it by the lane from now on.
        made.client.send(query("last.example"))
        waits_for(lambda: made.lane.native.counts()[0]["odd"] == 4)
        assert made.lane.native.upstreams()[0][1] == 3


def test_a_silent_upstream_is_seldom_asked_beside_a_quick_one():
    with loopback() as silent, loopback() as quick:
        addresses = [silent.getsockname(), quick.getsockname()]
        with scene(upstreams=addresses) as made:

            def ask(first: int, count: int) -> None:
                for n in range(first, first + count):
                    made.client.send(query(f"n{n}.example"))
                    if n % 10 == 9:
                        sleep(0.01)
                        answer_all(quick)
                sleep(0.05)
                answer_all(quick)

            ask(0, 60)
            waits_for(lambda: made.lane.native.upstreams()[1][0] >= 20)
            before = sum(made.lane.native.upstreams()[0]) + made.lane.native.flying()
            waits_for(lambda: not made.lane.native.flying())
            lost = made.lane.native.upstreams()[0][1]
            assert before
            ask(100, 200)
            waits_for(lambda: not made.lane.native.flying())
            # One in 64, were it left to chance; drawn with the same one twice it would be one in four.
            assert made.lane.native.upstreams()[0][1] - lost < 25


def test_a_query_that_the_lane_gives_up_is_one_miss():
    with loopback() as silent, scene(upstreams=[silent.getsockname()]) as made:
        made.client.send(query("new.example"))
        waits_for(lambda: made.lane.native.counts()[0]["odd"])
        made.listener.doRead()
        made.edge.upstreams.close()
        counters = Counters()
        counters.add(made.session.counters)
        made.lane.add_to(counters)
        assert counters.cache_misses == 1


def failure_of(key: bytes) -> Entry:
    return Entry(pack("!6H", 0, 0x8002, 1, 0, 0, 0) + question_of(key), (), 1000.0, 5)


def test_an_exception_is_counted_whatever_is_kept_of_the_name():
    lane = fast_lane(Policy([image([rule("pass.example", Action.PASSTHRU)])]))
    name, packet = encode_name("pass.example"), query("pass.example", edns=False)
    key = question_key(name, 1, False, False)
    lane.kept.put(key, failure_of(key))
    said = lane.native.answer(packet, 1001.0)
    assert isinstance(said, tuple)
    lane.teach(said[0], said[1] - 1)
    said = lane.native.answer(packet, 1001.0)
    assert isinstance(said, bytes)
    assert dns.message.from_wire(said).rcode() == dns.rcode.SERVFAIL
    assert sum(lane.native.matches().values()) == 1


def test_a_verdict_is_for_the_answer_that_was_looked_at_and_for_no_later_one():
    lane = fast_lane(Policy([image([rule("bad.example")])]))
    name, packet = encode_name("www.good.example"), query("www.good.example", edns=False)
    key = question_key(name, 1, False, False)

    def entry(stored: float, *records: str) -> Entry:
        kept = believed(read_response(response(packet, *records), question_of(key)), question_of(key), False)
        return Entry(kept.message, kept.ttls, stored, kept.lifetime)

    first = entry(1000.0, "www.good.example. 60 IN A 192.0.2.1")
    second = entry(1000.5, "www.good.example. 60 IN CNAME www.bad.example.", "www.bad.example. 60 IN A 192.0.2.1")
    lane.kept.put(key, first)
    lane.kept.put(key, second)
    lane.kept.passes(key, first)
    assert isinstance(lane.native.answer(packet, 1001.0), tuple), "Python is to see that it leads to a blocked name"
    lane.kept.passes(key, second)
    assert isinstance(lane.native.answer(packet, 1001.0), bytes)


_UNREACHABLE = """
import subprocess, sys
from time import monotonic, sleep
from tests.resolver.test_fast_lane import *

def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=30)

ip("link", "set", "lo", "up")
ip("addr", "add", "192.0.2.1/32", "dev", "lo")
gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
gone.bind(("192.0.2.1", 0))
with loopback() as quick, scene(upstreams=[gone.getsockname(), quick.getsockname()]) as made:
    number = 0

    def ask(count):
        global number
        for n in range(count):
            number += 1
            made.client.send(query(f"n{number}.example"))
            if n % 16 == 15:
                sleep(0.001)
                answer_all(quick)
        sleep(0.03)
        answer_all(quick)

    ask(200)
    ip("addr", "del", "192.0.2.1/32", "dev", "lo")
    until = monotonic() + 2.5
    while monotonic() < until:
        ask(100)
    waits_for(lambda: not made.lane.native.flying())
    before = made.lane.native.counts()[0]
    ask(200)
    waits_for(lambda: not made.lane.native.flying())
    after = made.lane.native.counts()[0]
    print(json.dumps({name: after[name] - before[name] for name in ("forwarded", "odd", "shed", "lost")}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace takes root")
def test_an_upstream_that_cannot_be_reached_any_more_costs_the_others_nothing():
    run = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", _UNREACHABLE], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    counts = json.loads(run.stdout)
    # Now and then one is tried by a socket that was open before; Python is told of it at once.
    assert counts["forwarded"] >= 180, counts
    assert counts["shed"] == counts["lost"] == 0, counts
