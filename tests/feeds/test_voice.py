"""What followers say of a fault: whole sentences in one line, once."""

import pytest

from feeds.command.ip_follow import _Voice
from feeds.command.voice import Voice
from feeds.errors import Problem, Unavailable

FAULT = Unavailable("no connection: refused", kept="the last good release stays", then="pull again")
LINE = "no connection: refused. Kept: the last good release stays. Next: pull again.\n"


def test_a_fault_is_one_line_of_sentences_and_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    feed, filter_ = Voice(as_json=False), _Voice(as_json=False)
    for _twice in range(2):
        feed.complain("failed", FAULT)
        filter_.complain(FAULT)
    assert capsys.readouterr().out == LINE * 2


def test_the_problems_of_a_filter_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem("rule 7", "ipfilter.too-wide", "it is too wide")
    _Voice(as_json=False).complain(Unavailable("not safe", problems=[problem], then="look"))
    assert capsys.readouterr().out == "not safe; rule 7: it is too wide [ipfilter.too-wide]. Next: look.\n"
