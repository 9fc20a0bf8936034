"""The sockets of zone transfers without sockets: slow and hostile secondaries end, others do not notice."""

import struct
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from feeds.transfer.exposing import metrics_site
from feeds.transfer.metrics import Counts, TransferCollector
from feeds.transfer.primary import Answer, Primary
from feeds.transfer.server import Datagrams, Quota, Serving, Stream, Streams
from tests.feeds.transfer_sides import ONE, TWO, WIRE, ZONE, FakeLine, query

QUOTA = Quota(transfers=3, transfers_each=2, connections=4, connections_each=3)


class Other(StringTransport):
    """A secondary that takes what it is sent when the test says so."""

    def ended(self) -> bool:
        return bool(self.disconnecting)

    def take(self, messages: int = 1000) -> None:
        for _n in range(messages):
            if self.producer is None or self.ended():
                return
            self.producer.resumeProducing()

    def got(self) -> list[dns.message.Message]:
        data, found = self.value(), []  # type: ignore[no-untyped-call]
        while data:
            size = int.from_bytes(data[:2])
            found.append(dns.message.from_wire(data[2 : 2 + size], one_rr_per_rrset=True))
            data = data[2 + size :]
        return found


class Primaried:
    """What serves, with a clock of the test."""

    def __init__(self, line: FakeLine | None = None, quota: Quota = QUOTA) -> None:
        self.clock = Clock()
        self.seen: list[Answer] = []
        lines: Any = {WIRE: line or FakeLine()}
        primary = Primary(lines, (ONE, TWO))
        ids = iter(range(1, 100_000))
        self.serving = Serving(primary, self.clock, self.seen.append, quota, lambda: 1_700_000_000, lambda: next(ids))
        self.streams = Streams(self.serving)

    def connect(self, host: str = "192.0.2.1") -> tuple[Stream, Other]:
        address = IPv6Address if ":" in host else IPv4Address
        stream = self.streams.buildProtocol(address("TCP", host, 40_000))
        assert stream is not None
        transport = Other()  # type: ignore[no-untyped-call]
        stream.makeConnection(transport)  # type: ignore[no-untyped-call]
        return stream, transport

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([1.0] * int(seconds))


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack("!H", len(one)) + one for one in messages)


class Unreachable:
    def write(self, _message: bytes, _addr: object) -> None:
        raise OSError(101, "Network is unreachable")

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", "192.0.2.53", 53)


def test_an_endpoint_that_cannot_be_reached_stops_nothing() -> None:
    made = Primaried()
    datagrams = Datagrams(made.serving)
    datagrams.makeConnection(Unreachable())  # type: ignore[arg-type]
    made.serving.notifying.tell(ONE, FakeLine())  # type: ignore[arg-type]
    made.pass_time(100)
    datagrams.datagramReceived(query("SOA"), ("192.0.2.1", 4000))
    assert len(made.seen) == 1


# Datagrams


class Sent:
    def __init__(self, host: str = "192.0.2.53") -> None:
        self.host = host
        self.sent: list[tuple[dns.message.Message, tuple[str, int]]] = []

    def write(self, message: bytes, addr: tuple[str, int]) -> None:
        self.sent.append((dns.message.from_wire(message, one_rr_per_rrset=True), addr))

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", self.host, 53)


def by_datagram(data: bytes, host: str = "192.0.2.1", line: FakeLine | None = None) -> tuple[Primaried, Sent]:
    made, transport = Primaried(line), Sent()
    datagrams = Datagrams(made.serving)
    datagrams.makeConnection(transport)  # type: ignore[arg-type]
    datagrams.datagramReceived(data, (host, 4000))
    return made, transport


def test_an_address_counts_the_same_on_a_socket_of_both_families() -> None:
    made, transport = by_datagram(query("SOA"), "::ffff:192.0.2.1")
    assert transport.sent[0][0].rcode() == dns.rcode.NOERROR
    assert transport.sent[0][1] == ("::ffff:192.0.2.1", 4000)
    made.connect("::ffff:192.0.2.1")
    assert made.serving.connections == {"192.0.2.1": 1}


def test_an_ixfr_that_fits_a_datagram_comes_whole_and_counts_as_a_transfer() -> None:
    made, transport = by_datagram(query("IXFR", serial=6000))
    types = [rrset.rdtype for rrset in transport.sent[0][0].answer]
    assert types == [dns.rdatatype.SOA, dns.rdatatype.SOA, dns.rdatatype.A, dns.rdatatype.SOA, dns.rdatatype.SOA]
    assert made.serving.counts.transfers == {("one", ZONE, "ixfr"): 1}


def test_an_ixfr_too_large_for_a_datagram_is_the_soa_alone_and_counts_as_none() -> None:
    made, transport = by_datagram(query("IXFR", serial=6000), line=FakeLine(change=200))
    (answer,) = transport.sent[0][0].answer
    assert answer[0].serial == 7000
    assert [one.what for one in made.seen] == ["soa"]
    assert made.serving.counts.transfers == {}


def test_an_axfr_by_datagram_is_refused_and_counted() -> None:
    made, transport = by_datagram(query("AXFR"))
    assert transport.sent[0][0].rcode() == dns.rcode.FORMERR
    assert made.serving.counts.refused == {"malformed": 1}


def test_who_is_not_known_is_refused_and_no_longer_than_he_asked() -> None:
    made, transport = by_datagram(query("SOA"), "192.0.2.77")
    assert transport.sent[0][0].rcode() == dns.rcode.REFUSED
    assert len(transport.sent[0][0].to_wire()) <= len(query("SOA"))
    assert made.serving.counts.refused == {"not_allowed": 1}
    # An answer to nothing is not answered: no two servers talk for ever.
    made, transport = by_datagram(dns.message.make_response(dns.message.from_wire(query("SOA"))).to_wire())
    assert transport.sent == []


def test_a_notify_reaches_both_families_from_a_socket_of_both_and_its_answer_counts() -> None:
    made, transport = Primaried(), Sent("::")
    datagrams = Datagrams(made.serving)
    datagrams.makeConnection(transport)  # type: ignore[arg-type]
    made.serving.notifying.tell(TWO, FakeLine())  # type: ignore[arg-type]
    assert [to for _message, to in transport.sent] == [("::ffff:192.0.2.2", 53), ("2001:db8::2", 5353)]
    for message, to in list(transport.sent):
        datagrams.datagramReceived(dns.message.make_response(message).to_wire(), to)
    assert len(made.serving.notifying) == 0
    assert made.serving.counts.notifies_acknowledged == {("two", ZONE): 2}


# Streams


def test_a_transfer_is_made_one_message_after_the_other_and_counted_when_it_is_whole() -> None:
    made = Primaried()
    stream, other = made.connect()
    stream.dataReceived(framed(query()))
    other.take(2)
    assert len(other.got()) == 2
    assert made.serving.transfers == {"one": 1}
    assert made.seen == []
    other.take()
    assert sum(len(message.answer) for message in other.got()) == 5002
    assert made.serving.counts.transfers == {("one", ZONE, "axfr"): 1}
    assert made.serving.transfers == {"one": 0}
    assert other.producer is None


def test_pipelined_requests_are_answered_in_their_order_whatever_the_pieces() -> None:
    made = Primaried(FakeLine(size=10))
    stream, other = made.connect()
    requests = framed(query("SOA", 1), query("AXFR", 2), query("IXFR", 3, 6000), query("SOA", 4))
    for octet in requests:
        stream.dataReceived(bytes([octet]))
    other.take()
    assert [message.id for message in other.got()] == [1, 2, 3, 4]


def test_half_a_request_ends_when_it_stays_half_however_slowly_it_grows() -> None:
    made = Primaried()
    stream, other = made.connect()
    for octet in framed(query())[:29]:
        stream.dataReceived(bytes([octet]))
        made.pass_time(1)
    assert not other.ended()
    made.pass_time(2)
    assert other.ended()
    assert other.got() == []
    assert made.serving.counts.over_quota == {}


def test_requests_without_end_do_not_hold_a_connection_for_ever() -> None:
    made = Primaried()
    stream, other = made.connect()
    for _n in range(int(QUOTA.total_seconds / 20) + 1):
        if not other.ended():
            stream.dataReceived(framed(query("SOA")))
            other.take()
            made.pass_time(20)
    assert other.ended()


@pytest.mark.parametrize("data", [struct.pack("!H", 4097), framed(*[b"\0" * 4000] * 5)])
def test_a_request_too_long_or_too_many_waiting_end_the_connection(data: bytes) -> None:
    made = Primaried()
    stream, other = made.connect()
    stream.dataReceived(data)
    assert other.ended()
    assert made.serving.counts.over_quota["request"] == 1


def test_who_takes_nothing_is_ended_and_leaves_room_and_another_one_does_not_notice() -> None:
    made = Primaried()
    slow, slow_other = made.connect()
    slow.dataReceived(framed(query()))
    slow_other.take(1)
    stream, other = made.connect("192.0.2.2")
    stream.dataReceived(framed(query()))
    other.take()
    assert made.serving.counts.transfers == {("two", ZONE, "axfr"): 1}
    made.pass_time(QUOTA.idle_seconds)
    assert slow_other.ended()
    assert made.serving.counts.over_quota == {"slow": 1}
    slow.connectionLost()
    assert made.serving.transfers == {"one": 0, "two": 0}
    assert made.serving.connections == {"192.0.2.2": 1}


def test_who_takes_a_little_now_and_then_is_ended_by_the_least_rate() -> None:
    made = Primaried(FakeLine(size=200_000), Quota(bytes_per_second=8192))
    stream, other = made.connect()
    stream.dataReceived(framed(query()))
    seconds = 0
    while not other.ended() and seconds < 1000:
        other.take(1)
        made.pass_time(10)
        seconds += 10
    assert 30 <= seconds <= 50
    assert made.serving.counts.over_quota == {"slow": 1}


def test_transfers_are_bounded_for_each_secondary_and_in_all() -> None:
    made = Primaried()
    held = [made.connect() for _n in range(3)]
    for stream, _other in held:
        stream.dataReceived(framed(query()))
    assert [other.ended() for _stream, other in held] == [False, False, True]
    held[2][0].connectionLost()
    others = [made.connect("192.0.2.2") for _n in range(2)]
    for stream, _other in others:
        stream.dataReceived(framed(query()))
    assert [other.ended() for _stream, other in others] == [False, True]
    others[1][0].connectionLost()
    others[0][1].take()
    assert len(made.seen) == 1
    assert made.serving.counts.over_quota == {"transfers": 2}
    # The SOA costs nothing and is told to whoever may have it.
    stream, other = made.connect()
    stream.dataReceived(framed(query("SOA")))
    other.take()
    assert len(other.got()) == 1


def test_connections_are_bounded_for_each_address_and_in_all() -> None:
    made = Primaried()
    held = [made.connect("192.0.2.9") for _n in range(3)]
    assert made.streams.buildProtocol(IPv4Address("TCP", "192.0.2.9", 1)) is None
    made.connect("192.0.2.1")
    assert made.streams.buildProtocol(IPv4Address("TCP", "192.0.2.2", 1)) is None
    assert made.serving.counts.over_quota == {"connections": 2}
    for stream, _other in held:
        stream.connectionLost()
    made.connect("192.0.2.2")
    assert made.serving.connections == {"192.0.2.1": 1, "192.0.2.2": 1}
    assert len(made.clock.getDelayedCalls()) == 4


# Metrics


LABELS = ("secondary", "zone", "form", "reason", "quota")


def samples(made: Primaried, shown: Any = (), seen: Any = ()) -> dict[tuple[str, ...], float]:
    lines: Any = {WIRE: FakeLine()}
    collector = TransferCollector(made.serving.counts, lines, ["one", "two"], dict(shown), dict(seen))
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    assert "192.0.2" not in text
    return {
        (sample.name, *(sample.labels[label] for label in LABELS if label in sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_series_is_there_before_anything_happens() -> None:
    found = samples(Primaried())
    assert found.pop(("blocker_zone_serial", ZONE)) == 7000
    assert set(found.values()) == {0}
    for name in ("serial", "soa_timestamp_seconds", "transfer_timestamp_seconds"):
        assert (f"blocker_zone_secondary_{name}", "two", ZONE) in found
    for form in ("axfr", "ixfr"):
        assert ("blocker_zone_transfers_total", "one", ZONE, form) in found
    for reason in ("not_allowed", "malformed", "no_content", "badkey", "badsig", "badtime", "badtrunc"):
        assert ("blocker_zone_refused_total", reason) in found
    for quota in ("connections", "transfers", "request", "slow"):
        assert ("blocker_zone_quota_refusals_total", quota) in found
    assert ("blocker_zone_notifies_sent_total", "two", ZONE) in found
    assert ("blocker_zone_notifies_acknowledged_total", "two", ZONE) in found


def test_metrics_tell_times_and_what_was_counted() -> None:
    made, _transport = by_datagram(query("IXFR", serial=6000))
    moment = "2026-01-01T00:00:00+00:00"
    seen = {"one": {ZONE: {"soa": moment, "transfer": moment, "form": "ixfr", "serial": 7000}}}
    found = samples(made, {ZONE: {"serial": 7000, "since": moment}}, seen)
    assert found["blocker_zone_secondary_serial", "one", ZONE] == 7000
    assert found["blocker_zone_secondary_soa_timestamp_seconds", "one", ZONE] == 1_767_225_600
    assert found["blocker_zone_secondary_transfer_timestamp_seconds", "one", ZONE] == 1_767_225_600
    assert found["blocker_zone_changed_timestamp_seconds", ZONE] == 1_767_225_600
    assert found["blocker_zone_transfers_total", "one", ZONE, "ixfr"] == 1


def test_the_metrics_page_bounds_its_connections() -> None:
    site = metrics_site(TransferCollector(Counts(), {}, [], {}, {}))
    made = [site.buildProtocol(IPv4Address("TCP", "192.0.2.1", n)) for n in range(21)]
    assert [one is None for one in made] == [False] * 20 + [True]
