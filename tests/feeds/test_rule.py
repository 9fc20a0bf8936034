"""Promises of `feeds.rule`: no rule without a decision, an end and a category of the closed list."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from feeds.errors import Rejected
from feeds.rule import Action, Category, Limits, Serial, good_text, hour_of_text, hour_text, hours, hours_up
from tests.rules import rule


def test_the_categories_are_crimes_and_nothing_else() -> None:
    assert {str(c) for c in Category} == {
        *("phishing", "malware", "botnet", "fraud", "csam", "gambling", "illegal_trade", "spam", "court_order")
    }


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"decision": ""}, "rule.decision"),
        ({"decision": " "}, "rule.decision"),
        ({"decision": "a\tb"}, "rule.decision"),
        ({"decision": "Qu\u0079e\u0302\u0301t"}, "rule.decision"),
        ({"entry": "vn-test"}, "rule.entry"),
        ({"entry": "vn-test:0"}, "rule.entry"),
        ({"expires": 0}, "rule.expiry"),
        ({"expires": 10**9}, "rule.expiry"),
        ({"action": Action.LOCAL}, "rule.data"),
        ({"action": Action.LOCAL, "data": "192.0.2.1,notice.test"}, "rule.data"),
        ({"action": Action.LOCAL, "data": "NOTICE.test"}, "rule.data"),
        ({"data": "192.0.2.1"}, "rule.data"),
        ({"limits": Limits("tcp")}, "rule.limits"),
        ({"extra": (("a b", ""),)}, "rule.extra"),
        ({"extra": (("a", "x\ny"),)}, "rule.extra"),
    ],
)
def test_a_rule_that_lacks_something_cannot_exist(changes: dict[str, object], broken: str) -> None:
    with pytest.raises(Rejected) as caught:
        rule("evil.test", **changes)
    assert caught.value.rule == broken


def test_limits_are_joined_and_bounded() -> None:
    assert str(Limits.parse("TCP/443, 80,81,8000-8100,8050-8200")) == "tcp/80-81,443,8000-8200"
    assert str(Limits.parse("")) == "-"
    for bad in ("icmp", "tcp/", "tcp/70000", "80", "tcp/9-1", "tcp/80;90"):
        with pytest.raises(Rejected):
            Limits.parse(bad)


def test_hours_round_down_for_now_and_up_for_an_end() -> None:
    moment = datetime(2026, 11, 24, 5, 30, tzinfo=UTC)
    assert hour_text(hours(moment)) == "2026-11-24T05Z"
    assert hour_text(hours_up(moment)) == "2026-11-24T06Z"
    assert hours(moment.astimezone(timezone(timedelta(hours=7)))) == hours(moment)
    assert hours_up(moment.replace(minute=0)) == hours(moment)


def test_a_rule_lapses_at_its_expiry_and_not_before() -> None:
    lapsing = rule("evil.test", expires=hour_of_text("2026-11-24T06Z"))
    assert lapsing.in_force(datetime(2026, 11, 24, 5, 59, 59, tzinfo=UTC))
    assert not lapsing.in_force(datetime(2026, 11, 24, 6, tzinfo=UTC))


@pytest.mark.parametrize("text", ["2026-11-24", "2026-13-01T00Z", "2026-11-24T24Z", "2026-11-24T5Z", ""])
def test_an_hour_has_one_form(text: str) -> None:
    with pytest.raises(Rejected):
        hour_of_text(text)


@pytest.mark.parametrize("number", [0, -1, 4_294_967])
def test_a_serial_fits_an_rpz_zone_s_soa(number: int) -> None:
    with pytest.raises(Rejected):
        Serial(number)


def test_text_is_one_printable_nfc_line() -> None:
    assert good_text("Quyết định số 12", 100)
    assert not good_text("a\u202eb", 100)
    assert not good_text("", 100)
    assert good_text("", 100, empty=True)
