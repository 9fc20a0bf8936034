"""The same session twice, one of them behind the compiled lane, and what each says to the same packets."""

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import Random

from feeds.rule import Rule
from resolver.effects import Ask, Effect, Reply
from resolver.image import Image, build, new_memory, random_prime
from resolver.lane.fast import FastLane
from resolver.metrics import Counters
from resolver.policy import Ground, Policy, numbered
from resolver.session import Config, Session
from tests.resolver.play import HOUR, SOURCE

SECRET = bytes(range(16))
CLIENT = "192.0.2.77"


def image(rules: Iterable[Rule], seed: int = 1) -> Image:
    """The image of these rules."""
    grounds: list[Ground] = []
    memory = new_memory()
    found = numbered(rules, (), SOURCE, grounds)
    build(memory, found, grounds, source=SOURCE, refused=0, made_from=bytes(32), prime=random_prime(Random(seed)))
    try:
        return Image.of_descriptor(memory)
    finally:
        os.close(memory)


def fast_lane(policy: Policy, config: Config | None = None) -> FastLane:
    """A lane that enforces this."""
    lane = FastLane(config or Config(("a",), rate_limit=0), SECRET)
    lane.enforce(policy)
    lane.native.turn(HOUR, 0, bytes(16), bytes(16))
    return lane


@dataclass
class Pair:
    """`asks` gives what the plain session and the lane say, each a list of replies; upstreams answer both alike."""

    policy: Policy
    config: Config = field(default_factory=lambda: Config(("a",), rate_limit=0))
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.lane = fast_lane(self.policy, self.config)
        self.plain = Session(self.policy, HOUR, self.config, Random(5), Counters())
        self.behind = Session(self.policy, HOUR, self.config, Random(5), Counters(), self.lane.kept, self.lane.limits)
        # Cookies are made with a secret: both have the same one.
        self.behind.cookies = self.plain.cookies
        self.lane.turn(self.behind)
        self.by_lane = 0
        self.by_python = 0

    def asks(self, packet: bytes, host: str = CLIENT) -> tuple[list[Effect], list[Effect]]:
        """What each does about a datagram."""
        plain = list(self.plain.query(packet, "ann", False, self.now, host=host))
        said = self.lane.native.answer(packet, self.now, ip_address(host).packed, self.config.rate_limit > 0)
        if isinstance(said, tuple):
            self.by_python += 1
            layer, ground = said
            if ground:
                self.lane.teach(layer, ground - 1)
            return plain, list(self.behind.query(packet, "ann", False, self.now, host=host))
        self.by_lane += 1
        return plain, [] if said is None else [Reply("ann", said)]

    def answers(self, plain: Ask, behind: Ask, data: bytes) -> tuple[list[Effect], list[Effect]]:
        """An upstream says this to both."""
        return self.plain.received(plain.token, data, self.now), self.behind.received(behind.token, data, self.now)

    def turn(self, wall: float) -> None:
        """The time is now so many seconds since 1970."""
        for session in (self.plain, self.behind):
            session.turn(HOUR, wall)
        self.lane.turn(self.behind)

    def counters(self) -> Counters:
        """What lane and Python have counted together."""
        self.lane.add_to(self.behind.counters)
        return self.behind.counters


def loopback() -> socket.socket:
    """A UDP socket at a port of its own."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock
