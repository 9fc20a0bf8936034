"""Who answers in an upstream's name: a forger in the same network, or the upstream itself (RFC 5452)."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest

from tests.resolver.live import (
    LiveResolver,
    Turncoat,
    UpstreamDouble,
    behind,
    obliging,
    plain_list,
    resolver,
    upstream,
)
from tests.resolver.play import Play, ede_of, lines, query, response

TRUE, FALSE = "192.0.2.1", "203.0.113.6"
DRAWS = 3000
BINS = 16
# The chi-square value that 15 degrees of freedom exceed once in a million fair runs.
CHI_SQUARE = 56.5


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveResolver, UpstreamDouble, Turncoat]]:
    with behind(Turncoat(), tmp_path_factory.mktemp("spoofing"), "a.com") as live:
        yield live


@pytest.fixture
def scene(
    stage: tuple[LiveResolver, UpstreamDouble, Turncoat],
) -> Iterator[tuple[LiveResolver, UpstreamDouble, Turncoat]]:
    stage[1].heard.clear()
    yield stage
    stage[2].mind = obliging


def named(data: bytes) -> str:
    return dns.message.from_wire(data).question[0].name.to_text()


def lie(data: bytes) -> bytes:
    return response(data, f"{named(data)} 60 IN A {FALSE}")


def addresses(reply: dns.message.Message) -> list[str]:
    return [item.address for rrset in reply.answer for item in rrset if hasattr(item, "address")]


def heard_of(double: UpstreamDouble, name: str) -> int:
    """How many queries for that name came to the upstream."""
    wanted = dns.name.from_text(name).to_wire()
    return sum(data[12 : 12 + len(wanted)].lower() == wanted for data, _client in double.heard)


def test_a_perfect_answer_from_another_address_with_the_upstreams_port_is_not_heard(scene):
    live, double, mind = scene

    def spoofed(data: bytes, tcp: bool) -> list[bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
            forger.bind(("127.0.0.2", double.port))
            for _n in range(20):
                forger.sendto(lie(data), double.heard[-1][1])
        time.sleep(0.05)
        return obliging(data, tcp)

    mind.mind = spoofed
    assert addresses(live.asks("address.net")) == [TRUE]
    assert addresses(live.asks("address.net")) == [TRUE]


def test_an_answer_in_another_case_is_not_believed_over_udp(scene):
    """Of a forger who guessed port and id, 0x20 asks for one bit more for each letter."""
    live, double, mind = scene
    mind.mind = lambda data, tcp: obliging(data, tcp) if tcp else [lie(data[:12] + data[12:].swapcase())]
    assert addresses(live.asks("lettersoftheothercase.net")) == [TRUE]
    assert heard_of(double, "lettersoftheothercase.net") <= 2, "then the question went over TCP"


def test_eight_near_misses_move_the_question_to_tcp_and_a_true_answer_that_comes_after_them_is_not_heard(scene):
    live, _double, mind = scene
    before = live.metrics()["blocker_dns_upstream_near_misses_total"]

    def guessed(data: bytes, tcp: bool) -> list[bytes]:
        if tcp:
            return obliging(data, tcp)
        # The forger goes through the ids, and in the end he has the right one.
        wrong = [bytes([data[0] ^ n, data[1]]) + lie(data)[2:] for n in range(1, 9)]
        return [*wrong, lie(data)]

    mind.mind = guessed
    assert addresses(live.asks("guessed.net")) == [TRUE]
    assert live.metrics()["blocker_dns_upstream_near_misses_total"] - before >= 8


def test_one_question_is_outstanding_once_however_many_ask_and_whatever_their_case(scene):
    """Or a forger would have as many chances as he asks questions (the birthday attack)."""
    live, double, mind = scene

    def slow(data: bytes, tcp: bool) -> list[bytes]:
        time.sleep(0.2)
        return obliging(data, tcp)

    mind.mind = slow
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(3)
        names = ["birthday.net", "BIRTHDAY.net", "BirthDay.NET"]
        for n in range(60):
            client.sendto(query(names[n % 3], id=n), ("127.0.0.1", live.port))
        assert {client.recv(4096)[1] for _n in range(60)} == set(range(60))
    assert heard_of(double, "birthday.net") == 1


EXTRAS = {
    "in the answer section": {"answers": ["bank{n}.example. 600 IN A 203.0.113.6"]},
    "behind an alias elsewhere": {
        "answers": ["other.example. 600 IN CNAME bank{n}.example.", "bank{n}.example. 600 IN A 203.0.113.6"]
    },
    "as name servers and glue": {
        "authority": ["example. 600 IN NS bank{n}.example.", "net. 600 IN NS bank{n}.example."],
        "additional": ["bank{n}.example. 600 IN A 203.0.113.6"],
    },
    "in the additional section": {"additional": ["bank{n}.example. 600 IN A 203.0.113.6"]},
    "as a DNAME above": {"answers": ["example. 600 IN DNAME evil.test."]},
}


@pytest.mark.parametrize("place", EXTRAS)
def test_nothing_beyond_the_chain_of_the_question_is_kept_or_told(scene, place):
    live, double, mind = scene
    number = list(EXTRAS).index(place)
    more = {part: [line.format(n=number) for line in told] for part, told in EXTRAS[place].items()}

    def generous(data: bytes, tcp: bool) -> list[bytes]:
        name = named(data)
        true = f"{name} 600 IN A {TRUE}"
        if "carrier" not in name.lower():
            return [response(data, true)]
        return [response(data, true, *more.get("answers", ()), authority=more.get("authority", ()),
                         additional=more.get("additional", ()))]  # fmt: skip

    mind.mind = generous
    for _again in range(2):
        reply = live.asks(f"carrier{number}.net")
        assert lines(reply) in ([f"carrier{number}.net. {ttl} IN A {TRUE}"] for ttl in (600, 599, 598))
        assert not reply.authority
        assert not reply.additional
    assert addresses(live.asks(f"bank{number}.example")) == [TRUE]
    assert heard_of(double, f"bank{number}.example") == 1, "it was asked for, not taken from elsewhere"
    assert heard_of(double, f"carrier{number}.net") == 1


def test_what_is_on_the_chain_answers_no_other_question(scene):
    """A hop of one answer is not kept under its own name: who may say this was never asked about that."""
    live, double, mind = scene

    def chained(data: bytes, tcp: bool) -> list[bytes]:
        name = named(data)
        if name.lower() == "hop.example.":
            return obliging(data, tcp)
        return [response(data, f"{name} 600 IN CNAME hop.example.", f"hop.example. 600 IN A {FALSE}")]

    mind.mind = chained
    assert addresses(live.asks("to-the-hop.net")) == [FALSE]
    assert addresses(live.asks("hop.example")) == [TRUE]
    assert heard_of(double, "hop.example") == 1


def chi_square(values: list[int], most: int) -> float:
    counts = Counter(value * BINS // most for value in values)
    expected = len(values) / BINS
    return sum((counts[place] - expected) ** 2 / expected for place in range(BINS))


def test_ports_ids_and_letters_of_3000_queries_are_drawn_evenly_and_do_not_follow_each_other(scene):
    live, double, _mind = scene
    names = [f"drawnameof{n:04d}.net" for n in range(DRAWS)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(("127.0.0.1", live.port))
        for at in range(0, DRAWS, 50):
            for n, name in enumerate(names[at : at + 50]):
                client.send(query(name, id=at + n))
            for _n in range(50):
                client.recv(4096)
    found = [(data, client[1]) for data, client in double.heard if b"rawnameof" in data.lower()]
    assert len(found) >= DRAWS
    ports = [port for _data, port in found]
    ids = [int.from_bytes(data[:2]) for data, _port in found]
    drawn = Counter(data[13 + bit] < 97 for data, _port in found for bit in range(10))
    print(f"{len(set(ports))} ports of {len(ports)} from {min(ports)} to {max(ports)}, {len(set(ids))} ids, "
          f"chi-square of ports {chi_square([p - 1024 for p in ports], 65536 - 1024):.1f}, of ids "
          f"{chi_square(ids, 65536):.1f}, of their low bits {chi_square([i % 256 for i in ids], 256):.1f}")  # fmt: skip
    # 3,000 of 64,512 drawn at random are about 2,932 different ones.
    assert len(set(ports)) > 2800
    assert len(set(ids)) > 2800
    assert chi_square([port - 1024 for port in ports], 65536 - 1024) < CHI_SQUARE
    assert chi_square(ids, 65536) < CHI_SQUARE
    assert chi_square([one % 256 for one in ids], 256) < CHI_SQUARE
    assert chi_square([one % 256 for one in ports], 256) < CHI_SQUARE
    for values in (ports, ids):
        steps = Counter((after - before) % 65536 for before, after in pairwise(values))
        assert steps.most_common(1)[0][1] < 6, "each is drawn, none is counted up from the one before"
    assert abs(drawn[True] / drawn.total() - 0.5) < 0.02, "letters are as often large as small"


def test_over_tcp_an_answer_that_does_not_fit_ends_the_attempt():
    """Nobody else can have written it, and whoever talks nonsense may do so without end."""
    play = Play()
    play.asks("ann", "www.good.example")
    ask = play.sent()
    play.hears(ask, response(ask.data, flags=dns.flags.TC))
    for _attempt in range(4):
        over_tcp = play.sent()
        assert over_tcp.tcp
        play.hears(over_tcp, b"")
        assert over_tcp.token not in play.open
    assert not play.asked, "five attempts are the bound"
    play.waits(5)
    assert play.told("ann").rcode() == dns.rcode.SERVFAIL


def test_an_answer_truncated_over_tcp_too_is_a_failure_and_not_the_news_that_nothing_is_there():
    play = Play()
    play.asks("ann", "www.good.example")
    ask = play.sent()
    play.hears(ask, response(ask.data, flags=dns.flags.TC))
    over_tcp = play.sent()
    part = "www.good.example. 60 IN A 192.0.2.1"
    play.hears(over_tcp, response(over_tcp.data, part, flags=dns.flags.TC))
    play.waits(5)
    told = play.told("ann")
    assert told.rcode() == dns.rcode.SERVFAIL
    assert [code for code, _text in ede_of(told)] == [22]
    play.asks("bob", "www.good.example")
    assert play.told("bob").rcode() == dns.rcode.SERVFAIL, "the part that came is not kept (RFC 2181 section 9)"


def test_a_forger_next_to_a_slow_upstream_fills_no_memory_and_stops_no_service(tmp_path: Path):
    """Ten thousand guesses at one open question: it moves to TCP, and all of its sockets are closed."""

    def stormy(data: bytes, tcp: bool) -> list[bytes]:
        forged = lie(data)
        return obliging(data, tcp) if tcp else [bytes([n >> 8, n & 255]) + forged[2:] for n in range(10_000)]

    with (
        upstream(stormy) as double,
        resolver(tmp_path, [double.address], "--list", str(plain_list(tmp_path, "a.com"))) as live,
    ):
        start = time.monotonic()
        assert addresses(live.asks("storm.net", timeout=5)) == [TRUE]
        assert time.monotonic() - start < 2
        assert live.asks("a.com").rcode() == dns.rcode.NXDOMAIN
        assert live.metrics()["blocker_dns_upstream_near_misses_total"] < 100
