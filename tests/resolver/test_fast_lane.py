"""What Python does around the compiled lane, with its threads and sockets but without a loop."""

import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from time import monotonic, sleep
from typing import Any

import dns.message
import dns.rcode
import pytest

from feeds.rule import Category, Rule
from resolver.metrics import Counters
from resolver.policy import EMPTY, Policy
from resolver.server import Edge
from resolver.session import Config, Session
from resolver.upstream import Address, Upstreams
from tests.resolver.play import HOUR, query, rule

pytest.importorskip("resolver.lane.native", reason="the compiled lane was not built")

from resolver.lane.fast import FastLane, sockaddr
from tests.lane.pair import SECRET, image, loopback

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
