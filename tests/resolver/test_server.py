"""Real sockets: datagrams and streams, their limits, and what becomes of a process that is told to stop."""

import pwd
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import dns.message
import dns.query
import dns.rcode
import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock

from resolver.effects import Reply
from resolver.metrics import Counters
from resolver.server import StreamLimits, StreamListener
from tests.resolver.live import LiveResolver, UpstreamDouble, obliging, plain_list, resolver, upstream
from tests.resolver.play import query, response


@pytest.fixture(scope="module")
def double() -> Iterator[UpstreamDouble]:
    with upstream() as made:
        yield made


@pytest.fixture(scope="module")
def live(double: UpstreamDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveResolver]:
    where = tmp_path_factory.mktemp("live")
    names = plain_list(where, "blocked.com", "185.199.110.153")
    with resolver(where, [double.address], "--list", str(names)) as made:
        yield made


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def read_message(stream: socket.socket) -> dns.message.Message:
    with stream.makefile("rb") as file:
        size = int.from_bytes(file.read(2), "big")
        return dns.message.from_wire(file.read(size))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("tcp", [False, True])
def test_every_listener_refuses_what_is_listed_and_answers_the_rest(live, host, tcp):
    ask = dns.query.tcp if tcp else dns.query.udp
    for name, rcode in (("www.blocked.com", dns.rcode.NXDOMAIN), (f"free{tcp}.net", dns.rcode.NOERROR)):
        reply = ask(dns.message.make_query(name, "A"), host, port=live.port, timeout=3)
        assert reply.rcode() == rcode


def test_queries_on_one_connection_may_be_sent_ahead_and_are_all_answered(live):
    names = [f"ahead{i}.net" for i in range(100)]
    with socket.create_connection(("127.0.0.1", live.port), 5) as stream:
        stream.settimeout(5)
        stream.sendall(b"".join(framed(query(name, id=i)) for i, name in enumerate(names)))
        with stream.makefile("rb") as file:
            ids = set()
            for _ in names:
                size = int.from_bytes(file.read(2), "big")
                ids.add(dns.message.from_wire(file.read(size)).id)
    assert ids == set(range(100))


class _Unread:
    """A transport whose other end reads nothing until told to; it pauses its producer as Twisted's does."""

    def __init__(self):
        self.held = 0
        self.producer = None

    def setTcpNoDelay(self, on):
        """As it is."""

    def registerProducer(self, producer, streaming):
        self.producer = producer

    def write(self, data):
        self.held += len(data)
        if self.held > 65_536:
            self.producer.pauseProducing()

    def pauseProducing(self):
        """Nothing more is read."""

    resumeProducing = pauseProducing

    def reads_all(self):
        self.held = 0
        self.producer.resumeProducing()


def test_a_client_that_reads_nothing_cannot_make_answers_pile_up():
    asked = []

    class Answering:
        def query(self, data, client, tcp, now, local, host, secure):
            asked.append(data)
            return (Reply(client, bytes(60_000)),)

    session = Answering()
    session.counters = Counters()
    edge, clock, transport = SimpleNamespace(session=session), Clock(), _Unread()
    edge.perform = lambda effects: [effect.client.send(effect.data) for effect in effects]
    stream = StreamListener(edge, StreamLimits(), Counter(), clock).buildProtocol(IPv4Address("TCP", "192.0.2.1", 9))
    stream.transport = transport
    stream.connectionMade()
    stream.dataReceived(framed(query("large.example")) * 1000)
    assert transport.held < 200_000
    for _round in range(1000):
        transport.reads_all()
        clock.advance(0.001)
    assert len(asked) == 1000, "a slow reader gets all of its answers"
    stream.connectionLost()


def send_slowly(stream, pieces):
    for _piece in range(pieces):
        stream.sendall(bytes(65_536))
        time.sleep(0.01)


def test_the_metrics_page_keeps_no_body_and_only_so_many_connections(live):
    held = [socket.create_connection(("127.0.0.1", live.metrics_port), 5) for _ in range(60)]
    try:
        held[0].sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            send_slowly(held[0], 100)
        held[-1].settimeout(5)
        with suppress(ConnectionResetError):
            assert held[-1].recv(1) == b""
    finally:
        for one in held:
            one.close()
    time.sleep(0.3)
    assert "blocker_dns_queries_total" in live.exposition()


def test_a_message_may_come_octet_by_octet(live):
    with socket.create_connection(("127.0.0.1", live.port), 5) as stream:
        stream.settimeout(5)
        for octet in framed(query("blocked.com")):
            stream.sendall(bytes([octet]))
        assert read_message(stream).rcode() == dns.rcode.NXDOMAIN


def test_one_address_gets_only_so_many_connections_and_others_are_not_shut_out(live):
    held = [socket.create_connection(("127.0.0.1", live.port), 5) for _ in range(20)]
    try:
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", live.port), 5) as one_more:
            one_more.settimeout(5)
            assert one_more.recv(1) == b""
        with socket.create_connection(("::1", live.port), 5) as other:
            other.settimeout(5)
            other.sendall(framed(query("blocked.com")))
            assert read_message(other).rcode() == dns.rcode.NXDOMAIN
        assert live.metrics()["blocker_dns_tcp_connections"] == 20
    finally:
        for stream in held:
            stream.close()
    until = time.monotonic() + 5
    while live.metrics()["blocker_dns_tcp_connections"] and time.monotonic() < until:
        time.sleep(0.05)
    assert live.metrics()["blocker_dns_tcp_connections"] == 0


def test_nonsense_stops_neither_transport(live):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for size in (0, 1, 11, 12, 100, 4096, 9000):
            sock.sendto(b"\xff" * size, ("127.0.0.1", live.port))
            sock.sendto(b"\0" * size, ("127.0.0.1", live.port))
            sock.sendto(query("blocked.com")[:12] + b"\xc0\x0c" * size, ("127.0.0.1", live.port))
    with socket.create_connection(("127.0.0.1", live.port), 5) as stream:
        stream.sendall(framed(b"\xff" * 40))
    assert live.asks("blocked.com").rcode() == dns.rcode.NXDOMAIN
    assert live.asks("blocked.com", tcp=True).rcode() == dns.rcode.NXDOMAIN
    assert live.metrics()["blocker_dns_faults_total"] == 0


def test_an_answer_sent_as_a_query_is_not_answered(live):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.sendto(response(query("blocked.com")), ("127.0.0.1", live.port))
        with pytest.raises(TimeoutError):
            sock.recv(1000)


def test_metrics_move_and_name_no_client_and_no_query(live):
    before = live.metrics()
    live.asks("secret-name.blocked.com")
    live.asks("secret-name.net")
    live.asks("secret-name.net")
    after = live.metrics()

    def moved(series: str) -> float:
        return after[series] - before[series]

    assert moved('blocker_dns_queries_total{outcome="blocked",transport="udp"}') == 1
    assert moved('blocker_dns_queries_total{outcome="forwarded",transport="udp"}') == 1
    assert moved('blocker_dns_queries_total{outcome="cached",transport="udp"}') == 1
    assert moved('blocker_dns_blocked_total{action="nxdomain",category="none"}') == 1
    assert moved("blocker_dns_query_duration_seconds_count") == 3
    assert moved("blocker_dns_cache_hits_total") == 1
    assert after["blocker_dns_cache_bytes"] > before["blocker_dns_cache_bytes"]
    assert after['blocker_dns_blocked_total{action="drop",category="csam"}'] == 0, "zeros stand there in advance"
    assert after["blocker_dns_trial"] == 1
    text = live.exposition()
    assert "secret-name" not in text
    assert "blocked.com" not in text


def test_the_log_names_no_client_and_no_query(live):
    live.asks("secret-name.blocked.com")
    live.asks("secret-name.net")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(query("secret-name.net")[:20], ("127.0.0.1", live.port))
    live.asks("secret-name.net", tcp=True)
    text = live.log_path.read_text()
    assert "secret-name" not in text
    assert "blocked.com" not in text
    assert "127.0.0.1" not in text
    assert "::1" not in text


def test_a_plain_list_is_announced_as_one(live):
    assert live.waits_for("trial_list")


def test_told_to_stop_it_answers_what_waits_and_ends_well(tmp_path):
    def slow(data: bytes, tcp: bool) -> list[bytes]:
        time.sleep(0.5)
        return obliging(data, tcp)

    with (
        upstream(slow) as double,
        resolver(tmp_path, [double.address], "--list", str(plain_list(tmp_path, "a.com"))) as it,
    ):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(3)
            sock.sendto(query("slow.net"), ("127.0.0.1", it.port))
            time.sleep(0.1)
            it.process.send_signal(signal.SIGTERM)
            assert dns.message.from_wire(sock.recv(1000)).rcode() == dns.rcode.NOERROR
        assert it.process.wait(10) == 0


def test_an_idle_connection_is_closed(tmp_path):
    # The limits are not a setting, so the listener is met in this process, with a clock of its own.
    from collections import Counter

    from twisted.internet.task import Clock
    from twisted.internet.testing import StringTransport

    from resolver.server import StreamConnection, StreamLimits, StreamListener

    clock = Clock()
    listener = StreamListener(None, StreamLimits(idle=10, total=60), Counter(), clock)  # type: ignore[arg-type]
    connection = StreamConnection(listener, "192.0.2.1")
    transport = StringTransport()
    transport.setTcpNoDelay = lambda _on: None  # type: ignore[attr-defined]
    transport.abortConnection = transport.loseConnection  # type: ignore[method-assign]
    connection.makeConnection(transport)
    for _ in range(9):
        clock.advance(1)
        connection.dataReceived(b"\x40")
    assert not transport.disconnecting
    clock.advance(1)
    assert transport.disconnecting, "octets that make no message earn no time"


@pytest.mark.parametrize(("bound", "asked"), [("0.0.0.0", "127.0.0.9"), ("[::]", "::1")])
def test_bound_to_all_addresses_it_answers_from_the_one_that_was_asked(tmp_path, double, bound, asked):
    names = plain_list(tmp_path, "a.com")
    more = {"hosts": (bound,)}
    with resolver(tmp_path, [double.address], "--list", str(names), "--trial", **more) as live:
        for name, rcode in (("a.com", dns.rcode.NXDOMAIN), ("b.net", dns.rcode.NOERROR)):
            # dnspython takes an answer from the address asked only.
            reply = dns.query.udp(dns.message.make_query(name, "A"), asked, port=live.port, timeout=3)
            assert reply.rcode() == rcode


def test_systemd_is_told_when_it_is_ready_alive_reloading_and_stopping(tmp_path, double):
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{short}/n")
        notify.settimeout(10)
        names = plain_list(tmp_path, "a.com")
        environ = {"NOTIFY_SOCKET": f"{short}/n", "WATCHDOG_USEC": "200000"}
        with resolver(tmp_path, [double.address], "--list", str(names), environ=environ) as live:
            heard: list[str] = []

            def hears(word: str) -> str:
                while not heard or word not in heard[-1]:
                    heard.append(notify.recv(1000).decode())
                return heard[-1]

            hears("READY=1")
            hears("WATCHDOG=1")
            live.process.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in hears("RELOADING=1")
            hears("READY=1")
            live.process.send_signal(signal.SIGTERM)
            hears("STOPPING=1")


@pytest.mark.root
@pytest.mark.usefixtures("need_root")
@pytest.mark.parametrize("user", ["nobody", "daemon"])
def test_root_is_given_up_with_all_groups_and_swaps_still_work(double, user):
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        where.chmod(0o755)
        names = plain_list(where, "a.com")
        with resolver(where, [double.address], "--list", str(names), user=user) as live:
            pid = live.process.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            uid, gid = pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid
            for process in (str(pid), *children):
                status = dict(
                    line.split(":\t", 1)
                    for line in Path(f"/proc/{process}/status").read_text().splitlines()
                    if ":\t" in line
                )
                assert set(status["Uid"].split()) == {str(uid)}
                assert set(status["Gid"].split()) == {str(gid)}
                assert not status["Groups"].split()
                assert int(status["CapEff"], 16) == 0
            plain_list(where, "b.com")
            live.process.send_signal(signal.SIGHUP)
            live.waits_for("enforcing", 2)
            assert live.asks("b.com").rcode() == dns.rcode.NXDOMAIN
            assert live.asks("x.net").rcode() == dns.rcode.NOERROR
            assert live.asks("y.net", tcp=True).rcode() == dns.rcode.NOERROR
            assert live.metrics()["blocker_dns_faults_total"] == 0


def test_ports_in_use_are_one_sentence(live, tmp_path, double):
    from tests.resolver.live import BLOCKER

    names = plain_list(tmp_path, "a.com")
    run = subprocess.run(
        [BLOCKER, "dns", "serve", "--list", names, "--listen", f"127.0.0.1:{live.port}", "--upstream", double.address],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert run.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {live.port}" in run.stderr
    assert "Traceback" not in run.stderr


def test_connections_from_all_of_a_households_ipv6_addresses_are_counted_together():
    listener = StreamListener(None, StreamLimits(per_address=2), Counter(), Clock())  # type: ignore[arg-type]
    addresses = [IPv6Address("TCP", f"2001:db8:0:1{i}::1", 9) for i in range(3)]
    opened = [listener.buildProtocol(address) for address in addresses]
    assert [one is not None for one in opened] == [True, True, False]
    assert listener.buildProtocol(IPv6Address("TCP", "2001:db8:0:200::1", 9)) is not None
    opened[0].connectionLost()
    assert listener.buildProtocol(addresses[2]) is not None
