"""The socket's side of HTTPS: time, turns, and the limits that are shared with TCP and TLS."""

from collections import Counter
from types import SimpleNamespace

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from resolver.effects import Reply
from resolver.https.connection import LINGER_SECONDS, HttpsConnection, HttpsListener
from resolver.https.frames import NO_ERROR
from resolver.https.turns import TURN_SECONDS, Turns
from resolver.metrics import Counters
from resolver.server import StreamLimits, StreamListener
from tests.resolver.play import query, response
from tests.resolver.play_https import Browser, frames_of, goaway_of

QUERY = query("www.example.com")
ANSWER = response(QUERY, "www.example.com. 60 IN A 192.0.2.1")
LIMITS = StreamLimits(idle=10, total=60, per_address=2)


class Wire(StringTransport):
    """One client's TLS, as Twisted shows it."""

    aborted = False

    def setTcpNoDelay(self, on):
        """As it is."""

    def registerProducer(self, producer, streaming):
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def abortConnection(self):
        self.aborted = True

    def taken(self):
        data = self.value()
        self.clear()
        return data


class Stage:
    """A listener with a clock, and a session that answers when it is told to."""

    def __init__(self):
        self.clock, self.counts = Clock(), Counter()
        self.waiting = []
        self.prompt = True
        session = SimpleNamespace(query=self.query, counters=Counters())
        self.edge = SimpleNamespace(session=session, perform=self.perform, fault=self.fault)
        self.plain = StreamListener(self.edge, LIMITS, self.counts, self.clock)
        self.listener = HttpsListener(self.plain)

    def query(self, data, client, tcp, now, local, host, secure):
        if self.prompt:
            return (Reply(client, ANSWER),)
        self.waiting.append(client)
        return (SimpleNamespace(),)

    def perform(self, effects):
        for effect in effects:
            if isinstance(effect, Reply):
                effect.client.send(effect.data)

    def fault(self, error):
        raise error

    def connects(self):
        connection, wire = self.listener.buildProtocol(IPv4Address("TCP", "192.0.2.1", 9)), Wire()
        connection.makeConnection(wire)
        return connection, wire

    def passes(self, connection, browser, wire):
        """Both say what they have to say."""
        for _turn in range(5):
            connection.dataReceived(browser.out())
            self.clock.advance(0)
            browser.hear(wire.taken())


def test_an_idle_connection_is_said_goodbye_and_only_answers_earn_time():
    stage, browser = Stage(), Browser()
    connection, wire = stage.connects()
    stage.clock.advance(9)
    browser.post(QUERY)
    stage.passes(connection, browser, wire)
    for _second in range(9):
        stage.clock.advance(1)
        browser.h2.ping(bytes(8))
        stage.passes(connection, browser, wire)
    assert not wire.disconnecting
    stage.clock.advance(1)
    assert wire.disconnecting
    assert goaway_of(wire.value()) == NO_ERROR


def test_the_total_time_is_bounded_and_what_is_under_way_is_still_answered():
    stage, browser = Stage(), Browser()
    connection, wire = stage.connects()
    for _round in range(7):
        stage.clock.advance(8)
        stream = browser.post(QUERY)
        stage.passes(connection, browser, wire)
        assert stream in browser.whole
    stage.prompt = False
    late = browser.post(QUERY)
    connection.dataReceived(browser.out())
    stage.clock.advance(4)
    assert not wire.disconnecting, "an answer is still under way"
    stage.waiting.pop().send(ANSWER)
    assert wire.disconnecting
    goaway, _headers, data = frames_of(wire.taken())
    assert (goaway.last_stream_id, goaway.error_code) == (late, NO_ERROR)
    assert (data.stream_id, data.data) == (late, ANSWER)


def test_when_the_resolver_ends_clients_are_told_to_go_and_queries_under_way_are_answered():
    stage, browser = Stage(), Browser()
    stage.listener.doStart()
    idle, busy, gone = stage.connects(), stage.connects(), stage.connects()
    stage.passes(idle[0], Browser(), idle[1])
    gone[0].connectionLost()
    stage.prompt = False
    stream = browser.post(QUERY)
    stage.passes(busy[0], browser, busy[1])
    stage.listener.doStop()
    assert goaway_of(idle[1].value()) == goaway_of(busy[1].taken()) == NO_ERROR
    assert (idle[1].disconnecting, busy[1].disconnecting, gone[1].disconnecting) == (True, False, False)
    stage.waiting.pop().send(ANSWER)
    assert [frame.stream_id for frame in frames_of(busy[1].value())] == [stream, stream]
    assert busy[1].disconnecting


def test_a_client_that_does_not_go_is_cut_off():
    stage = Stage()
    _connection, wire = stage.connects()
    stage.clock.advance(LIMITS.idle)
    assert not wire.aborted
    stage.clock.advance(LINGER_SECONDS)
    assert wire.aborted


def test_connections_are_counted_with_those_of_tcp_until_they_are_lost():
    stage = Stage()
    address = IPv4Address("TCP", "192.0.2.1", 9)
    connection, _wire = stage.connects()
    assert stage.plain.buildProtocol(address) is not None
    assert not stage.plain.has_room(address)
    connection.connectionLost()
    assert stage.plain.has_room(address)
    assert stage.counts.total() == 1


def test_while_a_client_takes_nothing_nothing_is_read_from_it_and_then_all_is_answered():
    stage, browser = Stage(), Browser()
    connection, wire = stage.connects()
    stage.passes(connection, browser, wire)
    connection.pauseProducing()
    assert wire.producerState == "paused"
    streams = [browser.post(QUERY) for _query in range(50)]
    connection.dataReceived(browser.out())
    stage.clock.advance(0)
    assert wire.value() == b""
    connection.resumeProducing()
    for _turn in range(30):
        stage.clock.advance(0)
    browser.hear(wire.taken())
    assert browser.whole == set(streams)
    assert wire.producerState == "producing"


def test_no_more_than_two_reads_are_kept_of_a_connection_that_waits_for_its_turn():
    stage, browser = Stage(), Browser()
    connection, wire = stage.connects()
    for _read in range(2):
        browser.post(QUERY)
        connection.dataReceived(browser.out())
    assert wire.producerState == "paused"
    stage.clock.advance(0)
    assert wire.producerState == "producing"


def test_an_answer_after_the_connection_is_lost_is_lost():
    stage, browser = Stage(), Browser()
    stage.prompt = False
    connection, _wire = stage.connects()
    browser.post(QUERY)
    connection.dataReceived(browser.out())
    stage.clock.advance(0)
    connection.connectionLost()
    stage.waiting.pop().send(ANSWER)


class Glutton:
    """Has always more to do, and takes a quarter of the time that there is for all."""

    now = 0.0

    def __init__(self):
        self.turns = 0

    def take_turn(self, frames):
        self.turns += 1
        assert self.turns < 10, "the loop never gets on"
        Glutton.now += TURN_SECONDS / 4
        return True


def test_all_connections_together_get_a_part_of_the_loop_and_each_its_share(monkeypatch):
    monkeypatch.setattr("resolver.https.turns.monotonic", lambda: Glutton.now)
    due = []
    loop = SimpleNamespace(callLater=lambda _seconds, what: due.append(what))
    turns, gluttons = Turns(loop), [Glutton() for _one in range(20)]
    for one in gluttons:
        turns.want(one)
    for _turn_of_the_loop in range(12):
        before = Glutton.now
        due.pop()()
        assert Glutton.now - before <= TURN_SECONDS * 1.5, "others' datagrams wait no longer"
    assert {one.turns for one in gluttons} <= {2, 3}


@pytest.mark.parametrize("broken", ["query", "perform"])
def test_a_fault_met_in_one_query_is_no_fault_of_the_connection(broken):
    stage, browser = Stage(), Browser()
    faults = []
    stage.edge.fault = faults.append
    connection, wire = stage.connects()
    stage.passes(connection, browser, wire)

    def fails(*_arguments):
        raise RuntimeError("a bug")

    setattr(stage.edge.session if broken == "query" else stage.edge, broken, fails)
    browser.post(QUERY)
    connection.dataReceived(browser.out())
    stage.clock.advance(0)
    assert len(faults) == 1
    assert wire.aborted is (broken == "perform")
    assert isinstance(connection, HttpsConnection)
