"""Random rule sets below names of their own, what they decide, and how a real resolver is asked about them."""

import random
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from feeds.rule import Action, Rule
from tests.golden.sample import rule
from tests.laws.test_rpz_holes import decided

# No special-use name: Unbound answers those itself, before RPZ.
APEX = "law.blockertest.net"
ANSWER = "198.51.100.1"
NOTICE = "192.0.2.1"
SETS = 40
LABELS = ("a", "b")


def random_rules(seed: int, actions: tuple[Action, ...]) -> tuple[Rule, ...]:
    """SETS independent rule sets, the n-th below `sN.APEX`."""
    chance = random.Random(seed)
    made: dict[str, Rule] = {}
    for number in range(SETS):
        for _n in range(chance.randint(1, 7)):
            labels = [chance.choice(LABELS) for _label in range(chance.randint(0, 4))]
            target = chance.choice(["", "", "="]) + ".".join([*labels, f"s{number}", APEX])
            action = chance.choice(actions)
            data = NOTICE if action is Action.LOCAL else ""
            made[target] = rule(target, action, data=data, number=len(made) + 1)
    return tuple(made.values())


def questions() -> Iterator[str]:
    """Every name to depth 4 below each set's name, and some deeper ones."""
    for number in range(SETS):
        names = [f"s{number}.{APEX}"]
        for name in names:
            yield name
            if name.count(".") < f"s.{APEX}".count(".") + 4:
                names += [f"{label}.{name}" for label in LABELS]
        yield f"q.b.a.b.a.s{number}.{APEX}"


def expected(rules: Iterable[Rule], name: str) -> str:
    """What a resolver must answer: an action's word, or `answer` where the upstream's answer passes."""
    verdict = decided(rules, name)
    return "answer" if verdict is None or verdict[0] is Action.PASSTHRU else str(verdict[0])


def seen(port: int, name: str, seconds: float = 3) -> str:
    """Ask 127.0.0.1 over UDP and put the answer into the words of `expected`."""
    query = dns.message.make_query(name, "A")
    try:
        reply = dns.query.udp(query, "127.0.0.1", timeout=seconds, port=port)
    except dns.exception.Timeout:
        return "drop"
    if reply.flags & dns.flags.TC:
        return "tcp_only"
    if reply.rcode() == dns.rcode.NXDOMAIN:
        return "nxdomain"
    addresses = [str(item) for rrset in reply.answer if rrset.rdtype == dns.rdatatype.A for item in rrset]
    if reply.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(reply.rcode())
    return {(): "nodata", (ANSWER,): "answer", (NOTICE,): "local"}.get(tuple(addresses), str(addresses))


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and TCP just now."""
    for _try in range(50):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        ):
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return int(udp.getsockname()[1])
    raise AssertionError("no free port")


@contextmanager
def running(command: list[str], port: int, probe: str, log: Path) -> Iterator[None]:
    """Run a DNS server in the foreground until it answers, and end it afterwards."""
    with log.open("w") as out, Popen(command, stdout=out, stderr=out, stdin=DEVNULL) as server:
        try:
            for _try in range(100):
                if server.poll() is not None or seen(port, probe, 0.2) not in ("drop", "SERVFAIL", "REFUSED"):
                    break
                time.sleep(0.05)
            assert server.poll() is None, log.read_text()[-3000:]
            yield
        finally:
            server.terminate()
            server.wait(20)


UPSTREAM_ZONE = f"""$ORIGIN {APEX}.
$TTL 60
@ SOA localhost. nobody.invalid. 1 60 60 60 60
@ NS localhost.
@ A {ANSWER}
* A {ANSWER}
"""
