"""NOTIFYs end: answered, tried often enough, or overtaken by a newer one; and they never pile up."""

from typing import Any

import dns.message
import dns.opcode
from twisted.internet.task import Clock

from feeds.transfer.metrics import Counts
from feeds.transfer.notifying import MAX_OUTSTANDING, RETRY_SECONDS, Notifying
from feeds.transfer.settings import Secondary
from tests.feeds.transfer_sides import ONE, TWO, ZONE, FakeLine, Present, query


class Told:
    """NOTIFYs with a clock of the test, and what was sent."""

    def __init__(self) -> None:
        self.clock, self.counts, self.sent = Clock(), Counts(), []  # type: ignore[var-annotated]
        ids = iter(range(1, 100_000))
        self.line: Any = FakeLine()
        self.notifying = Notifying(self.clock, self.send, self.counts, lambda: 1_700_000_000, lambda: next(ids))

    def send(self, message: bytes, endpoint: tuple[str, int]) -> None:
        self.sent.append((self.clock.seconds(), dns.message.from_wire(message), endpoint))

    def reply(self, number: int = -1) -> bytes:
        return dns.message.make_response(self.sent[number][1]).to_wire()


def test_a_notify_is_tried_so_often_and_then_no_more() -> None:
    told = Told()
    told.notifying.tell(ONE, told.line)
    told.clock.pump([0.5] * 400)
    assert [moment for moment, *_rest in told.sent] == [0, 2, 6, 14, 30]
    assert len(told.sent) == len(RETRY_SECONDS)
    assert {(message.id, message.opcode()) for _at, message, _to in told.sent} == {(1, dns.opcode.NOTIFY)}
    assert len(told.notifying) == 0
    assert told.clock.getDelayedCalls() == []


def test_an_answer_ends_the_tries_for_that_endpoint_only() -> None:
    told = Told()
    told.notifying.tell(TWO, told.line)
    assert [to for _at, _message, to in told.sent] == list(TWO.notify)
    assert told.notifying.answered(told.reply(0), TWO.notify[0])
    assert not told.notifying.answered(told.reply(0), TWO.notify[0])
    told.clock.advance(2)
    assert [to for _at, _message, to in told.sent[2:]] == [TWO.notify[1]]
    assert told.counts.notifies_acknowledged == {("two", ZONE): 1}
    assert told.counts.notifies_sent == {("two", ZONE): 3}


def test_a_wrong_source_or_id_or_what_is_no_answer_ends_nothing() -> None:
    told = Told()
    told.notifying.tell(ONE, told.line)
    right = told.reply()
    wrong_id = bytes([right[0] ^ 1]) + right[1:]
    for data, source in (
        (right, ("192.0.2.9", 53)),
        (right, ("192.0.2.1", 54)),
        (wrong_id, ("192.0.2.1", 53)),
        (told.sent[0][1].to_wire(), ("192.0.2.1", 53)),
        (query("SOA"), ("192.0.2.1", 53)),
        (right[:11], ("192.0.2.1", 53)),
        (b"", ("192.0.2.1", 53)),
    ):
        assert not told.notifying.answered(data, source)
    assert len(told.notifying) == 1


def test_a_newer_change_takes_the_place_of_the_older_one() -> None:
    told = Told()
    for serial in range(8000, 8050):
        told.line.present = Present(serial)
        told.notifying.tell(ONE, told.line)
    assert len(told.notifying) == 1
    assert not told.notifying.answered(told.reply(0), ONE.notify[0])
    told.clock.advance(2)
    assert told.sent[-1][1].answer[0][0].serial == 8049
    assert len(told.sent) == 51
    assert told.notifying.answered(told.reply(), ONE.notify[0])
    assert told.clock.getDelayedCalls() == []


def test_a_storm_is_bounded_and_everybody_is_told_in_the_end() -> None:
    told = Told()
    endpoints = tuple((f"198.51.{n // 250}.{n % 250}", 53) for n in range(3 * MAX_OUTSTANDING))
    told.notifying.tell(Secondary("many", frozenset(), endpoints, None), told.line)
    assert len(told.sent) == MAX_OUTSTANDING
    assert told.notifying.answered(told.reply(0), endpoints[0])
    assert len(told.sent) == MAX_OUTSTANDING + 1
    most = 0
    for _second in range(400):
        told.clock.advance(1)
        most = max(most, len(told.clock.getDelayedCalls()))
    assert most == MAX_OUTSTANDING
    assert {to for _at, _message, to in told.sent} == set(endpoints)
    assert len(told.notifying) == 0
