"""An upstream that means harm: each of its answers costs little, and each client query causes few upstream queries."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from struct import pack

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from feeds.message.building import encode_name, encode_opt, encode_option, encode_question
from resolver.asking import MAX_ATTEMPTS
from resolver.chain import MAX_HOPS
from tests.feeds.test_message_bombs import NAME_END, RESPONSES, pointer, record
from tests.load.process import family_cpu_seconds, open_files
from tests.resolver.live import (
    LiveResolver,
    Mind,
    Turncoat,
    UpstreamDouble,
    behind,
    obliging,
    plain_list,
    resolver,
)
from tests.resolver.play import query

LIMIT_SECONDS = 0.005
# The compiled lane asks once before it leaves a question to Python, which then has its own bound.
MOST_ASKED = MAX_ATTEMPTS + 1
ROUNDS = 30
IN_TIME = 0.5
CHAIN_END = b"\5chain\0"


def junk_bindings() -> bytes:
    """Service bindings whose targets and parameters are cut, unsorted or empty."""
    rdatas = [
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\0" + pack("!HH", 1, 9) + b"\2h2",
        b"\0\1\0" + pack("!HHHH", 4, 0, 4, 0),
        b"\0\1\0" + pack("!HH", 4, 3) + b"abc",
        b"\0\1\0" + pack("!HH", 6, 17) + bytes(17),
        b"\0\1\xc0\x0c",
        b"\0\1\77" + bytes(10),
    ]
    return b"".join(record(b"\xc0\x0c", 65, one) for one in rdatas * 7)


def chain(hops: int) -> bytes:
    """Aliases c0.chain, c1.chain ... from the question on, and an address at their end."""
    names = [b"\xc0\x0c"] + [bytes([len(f"c{n}")]) + f"c{n}".encode() + CHAIN_END for n in range(hops)]
    aliases = b"".join(record(here, 5, there) for here, there in pairwise(names))
    return aliases + record(names[-1], 1, b"\xc0\0\2\1")


# Answer counts and what stands behind the question.
BOMBS: dict[str, tuple[tuple[int, int, int], bytes]] = {
    name: (tuple(int.from_bytes(data[at : at + 2]) for at in (6, 8, 10)), data[NAME_END:])  # type: ignore[misc]
    for name, data in RESPONSES.items()
    if name != "DNAME ladder"
} | {
    "1,000 aliases in a row": ((1001, 0, 0), chain(1000)),
    "64 aliases in a row": ((65, 0, 0), chain(64)),
    "10,000 records": ((10_000, 0, 0), record(b"\xc0\x0c", 1, b"\xc0\0\2\1") * 4000),
    "a referral to 100 name servers": (
        (0, 100, 100),
        b"".join(record(b"\xc0\x0c", 2, bytes([4]) + b"%04d" % n + b"\xc0\x0c") for n in range(100))
        + b"".join(record(bytes([4]) + b"%04d" % n + b"\xc0\x0c", 1, b"\x7f\0\0\1") for n in range(100)),
    ),
    "junk of service bindings": ((63, 0, 0), junk_bindings()),
    "OPT of 1,000 options": ((0, 0, 1), encode_opt(options=b"".join(encode_option(n, b"") for n in range(1000)))),
    "an OPT in the answer section": ((1, 0, 0), encode_opt()),
    "a pointer that names itself": ((1, 0, 0), record(pointer(NAME_END), 1, b"\xc0\0\2\1")),
    "an alias to itself": ((1, 0, 0), record(b"\xc0\x0c", 5, b"\xc0\x0c")),
    "two aliases in a ring": ((2, 0, 0), record(b"\xc0\x0c", 5, b"\1r\0") + record(b"\1r\0", 5, b"\xc0\x0c")),
    "junk behind the end": ((1, 0, 0), record(b"\xc0\x0c", 1, b"\xc0\0\2\1") + b"\xff" * 30_000),
}


class Hostile(Turncoat):
    """It counts the queries that come, too."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def __call__(self, data: bytes, tcp: bool) -> list[bytes] | None:
        # A query for the root's name servers is the probe of an upstream that was called down, and no client's.
        self.asked += data[12] > 0
        return super().__call__(data, tcp)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveResolver, UpstreamDouble, Hostile]]:
    with behind(Hostile(), tmp_path_factory.mktemp("upstream"), "bad.com") as it:
        yield it


@pytest.fixture
def hostile(stage: tuple[LiveResolver, UpstreamDouble, Hostile]) -> Iterator[tuple[LiveResolver, Hostile]]:
    live, _double, mind = stage
    mind.asked = 0
    yield live, mind
    mind.mind = obliging


def question_end(data: bytes) -> int:
    return data.index(b"\0", 12) + 5


def answered(data: bytes, counts: tuple[int, int, int] = (0, 0, 0), body: bytes = b"", flags: int = 0x8180) -> bytes:
    """An answer to that query, made without looking at what is in it."""
    return data[:2] + pack("!5H", flags, 1, *counts) + data[12 : question_end(data)] + body


def label(number: int) -> str:
    """Four letters, so that the pointers of a crafted answer fit whatever the number."""
    return f"{number:04d}"


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_as_an_answer_costs_under_5_ms_and_others_are_answered_in_time(hostile, name):
    live, mind = hostile
    counts, body = BOMBS[name]
    mind.mind = lambda data, tcp: [answered(data, counts, body)]
    start_number = 100 * list(BOMBS).index(name)
    worst = 0.0
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as honest,
    ):
        for sock in (client, honest):
            sock.connect(("127.0.0.1", live.port))
            sock.settimeout(6)
        before = family_cpu_seconds(live.process.pid)
        for n in range(ROUNDS):
            client.send(query(f"{label(start_number + n)}.example", id=n))
            began = time.monotonic()
            honest.send(query("www.bad.com", id=7))
            assert honest.recv(4096)[3] & 15 == dns.rcode.NXDOMAIN
            worst = max(worst, time.monotonic() - began)
            reply = client.recv(4096)
            assert reply[:2] == pack("!H", n)
            assert reply[3] & 15 in (dns.rcode.SERVFAIL, dns.rcode.NOERROR)
            dns.message.from_wire(reply)
        spent = family_cpu_seconds(live.process.pid) - before
    print(f"{name}: {spent / ROUNDS * 1e3:.2f} ms and {mind.asked / ROUNDS:.1f} upstream queries a client query, "
          f"a good query waits {worst * 1e3:.1f} ms")  # fmt: skip
    assert mind.asked <= ROUNDS * MOST_ASKED
    assert spent / mind.asked < LIMIT_SECONDS
    assert worst < IN_TIME
    assert live.metrics()["blocker_dns_faults_total"] == 0


def servfail(data: bytes, tcp: bool) -> list[bytes]:
    return [answered(data, flags=0x8182)]


def refused(data: bytes, tcp: bool) -> list[bytes]:
    return [answered(data, flags=0x8185)]


def truncated(data: bytes, tcp: bool) -> list[bytes]:
    """Says TC for ever, over TCP too."""
    return [answered(data, flags=0x8380)]


def silent(data: bytes, tcp: bool) -> None:
    return None


def truncated_then_silent(data: bytes, tcp: bool) -> list[bytes]:
    return [] if tcp else truncated(data, tcp)


def other_case(data: bytes, tcp: bool) -> list[bytes]:
    """The question's letters the other way round, over TCP too."""
    made = bytearray(obliging(data, tcp)[0])
    for at in range(13, question_end(data) - 5):
        made[at] ^= 0x20 if chr(made[at]).isalpha() else 0
    return [bytes(made)]


def torn(data: bytes, tcp: bool) -> list[bytes]:
    return [obliging(data, tcp)[0][:-3]]


def of(counts: tuple[int, int, int], body: bytes) -> Mind:
    return lambda data, tcp: [answered(data, counts, body)]


MINDS: dict[str, Mind] = {
    "always SERVFAIL": servfail,
    "always REFUSED": refused,
    "always truncated": truncated,
    "silence": silent,
    "truncated, and then silence": truncated_then_silent,
    "torn answers": torn,
    "letters turned round": other_case,
    "eight wrong ids": lambda data, tcp: [pack("!H", n) + obliging(data, tcp)[0][2:] for n in range(8)],
    "referrals": of(*BOMBS["a referral to 100 name servers"]),
    "an alias to itself": of(*BOMBS["an alias to itself"]),
    "an alias that leads nowhere": of((1, 0, 0), record(b"\xc0\x0c", 5, b"\6victim\0")),
    "too long a chain": of((MAX_HOPS + 2, 0, 0), chain(MAX_HOPS + 1)),
    "everything twice": lambda data, tcp: obliging(data, tcp) * 20,
}


TRUTHFUL = ("letters turned round", "an alias that leads nowhere", "everything twice")


@pytest.mark.parametrize("name", MINDS)
def test_no_behaviour_of_an_upstream_makes_one_client_query_many(hostile, name):
    """The bound against NXNS, CAMP and their like: a handful of upstream queries, and an answer within 5 s."""
    live, mind = hostile
    mind.mind = MINDS[name]
    start = time.monotonic()
    reply = live.asks(f"{label(list(MINDS).index(name))}.nxns.example", timeout=6)
    assert time.monotonic() - start < 5
    assert reply.rcode() == (dns.rcode.NOERROR if name in TRUTHFUL else dns.rcode.SERVFAIL)
    time.sleep(0.3)
    assert 1 <= mind.asked <= MOST_ASKED
    print(f"{name}: {mind.asked} upstream queries, {dns.rcode.to_text(reply.rcode())}")
    if name == "an alias that leads nowhere":
        assert mind.asked <= 2, "a forwarder does not chase aliases itself"


@pytest.mark.parametrize(("hops", "rcode"), [(MAX_HOPS, dns.rcode.NOERROR), (MAX_HOPS + 1, dns.rcode.SERVFAIL)])
def test_a_chain_has_at_most_eleven_aliases(hostile, hops, rcode):
    live, mind = hostile
    mind.mind = of((hops + 1, 0, 0), chain(hops))
    reply = live.asks(f"{label(hops)}.chained.example", tcp=True)
    assert reply.rcode() == rcode
    assert sum(len(rrset) for rrset in reply.answer) == (hops + 1 if rcode == dns.rcode.NOERROR else 0)


def test_a_question_that_fails_again_and_again_reaches_the_upstream_once(hostile):
    """A failure is kept for some seconds: the same question asked again and again reaches the upstream once."""
    live, mind = hostile
    mind.mind = of(*BOMBS["two aliases in a ring"])
    for _again in range(20):
        assert live.asks("again.looped.example", timeout=6).rcode() == dns.rcode.SERVFAIL
    assert mind.asked <= MOST_ASKED


class TrickleDouble(UpstreamDouble):
    """TC over UDP; over TCP what `speak` does with the stream."""

    def __init__(self, speak: Callable[[socket.socket, bytes], None]) -> None:
        self.speak = speak
        self.streams = 0
        super().__init__(truncated_then_silent)

    def _streams(self) -> None:
        while True:
            try:
                stream, _client = self.tcp.accept()
            except OSError:
                return
            self.streams += 1
            threading.Thread(target=self._speaks, args=(stream,), daemon=True).start()

    def _speaks(self, stream: socket.socket) -> None:
        with stream:
            stream.settimeout(8)
            try:
                size = int.from_bytes(stream.recv(2))
                self.speak(stream, stream.recv(size))
            except OSError:
                return


def octet_by_octet(stream: socket.socket, data: bytes) -> None:
    for octet in pack("!H", 60_000) + bytes(60):
        stream.sendall(bytes([octet]))
        time.sleep(0.1)


def endless_wrong_answers(stream: socket.socket, data: bytes) -> None:
    wrong = bytes([data[0] ^ 1]) + obliging(data, True)[0][1:]
    for _n in range(200_000):
        stream.sendall(len(wrong).to_bytes(2) + wrong)


def endless_empty_messages(stream: socket.socket, data: bytes) -> None:
    for _n in range(1000):
        stream.sendall(bytes(4096))


def closes(stream: socket.socket, data: bytes) -> None:
    return


SPEECHES = {
    "octet by octet": octet_by_octet,
    "wrong answers without end": endless_wrong_answers,
    "empty messages without end": endless_empty_messages,
    "closed at once": closes,
}


def settled_files(pid: int) -> int:
    """Open descriptors once the compiled lane has opened the sockets that it keeps ready."""
    before, until = -1, time.monotonic() + 5
    while (now := open_files(pid)) != before and time.monotonic() < until:
        before = now
        time.sleep(0.3)
    return now


@pytest.mark.parametrize("name", SPEECHES)
def test_an_upstream_that_plays_with_tcp_holds_nobody_up(tmp_path, name):
    double = TrickleDouble(SPEECHES[name])
    try:
        with resolver(tmp_path, [double.address], "--list", str(plain_list(tmp_path, "bad.com"))) as live:
            files = settled_files(live.process.pid)
            cpu = family_cpu_seconds(live.process.pid)
            made = dns.message.make_query("slow.example", "A")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(6)
                start = time.monotonic()
                client.sendto(made.to_wire(), ("127.0.0.1", live.port))
                worst = 0.0
                for _n in range(10):
                    began = time.monotonic()
                    assert live.asks("www.bad.com").rcode() == dns.rcode.NXDOMAIN
                    worst = max(worst, time.monotonic() - began)
                    time.sleep(0.02)
                assert dns.message.from_wire(client.recv(4096)).rcode() == dns.rcode.SERVFAIL
                took = time.monotonic() - start
            spent = family_cpu_seconds(live.process.pid) - cpu
            print(f"{name}: told after {took:.1f} s, {double.streams} connections, a good query waits "
                  f"{worst * 1e3:.1f} ms, {spent:.2f} s of CPU")  # fmt: skip
            assert spent < 0.5, "an upstream that talks without end is not listened to without end"
            assert took < 5
            assert worst < IN_TIME
            assert double.streams <= MAX_ATTEMPTS
            time.sleep(0.2)
            assert open_files(live.process.pid) <= files + 2, "its sockets are closed"
    finally:
        double.close()


def test_questions_of_the_crafted_answers_have_the_length_they_were_crafted_for():
    assert len(encode_question(encode_name(f"{label(1)}.example"), 1)) + 12 == NAME_END
