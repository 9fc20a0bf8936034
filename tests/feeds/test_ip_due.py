"""When a follower looks again, and what it does then."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from feeds.command import ip_follow, ip_wish
from feeds.ipfilter.due import RECHECK_SECONDS, RETRY_SECONDS, Due
from feeds.rule import hours
from tests.golden.sample import NOW, rule
from tests.golden.state import state


def test_a_turn_is_due_at_the_start_at_every_change_and_after_a_while() -> None:
    due = Due()
    assert due.take(None, 0.0)
    assert not due.take(None, 1.0)
    assert due.take((7, 1), 1.0)
    assert due.take((7, 2), 2.0), "the hour changed: something may have lapsed"
    assert not due.take((7, 2), 1.0 + RECHECK_SECONDS)
    assert due.take((7, 2), 2.0 + RECHECK_SECONDS)


def test_a_failed_turn_is_tried_again_soon() -> None:
    due = Due()
    assert due.take((7, 1), 0.0)
    due.failed(10.0)
    assert not due.take((7, 1), 9.0 + RETRY_SECONDS)
    assert due.take((7, 1), 10.0 + RETRY_SECONDS)


def test_the_end_of_an_hour_takes_out_what_lapsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lapses, stays = rule("192.0.2.7/32", expires=hours(NOW) + 1), rule("192.0.2.9/32", number=2)
    kept = state(tmp_path / "state", [lapses, stays])
    held: list[str] = []

    def kernel(command: Sequence[str], stdin: str) -> str:
        if command[1] == "restore":
            held[:] = [line.split(maxsplit=2)[2] for line in stdin.splitlines() if line.startswith("add blocked4_new")]
        if command[1] == "save":
            return "".join(f"add {command[2]} {entry}\n" for entry in held if command[2] == "blocked4")
        return "blocked4\nblocked6\n" if command[1] == "list" else ""

    clock = [NOW]
    for module in (ip_follow, ip_wish):
        monkeypatch.setattr(module, "run", kernel)
        monkeypatch.setattr(module, "now", lambda: clock[0])
    options = {
        "target": "ipset",
        "state": kept,
        "exceptions": None,
        "hooks": (),
        "max_addresses": 9,
        "max_networks": 9,
    }
    before = ip_follow._key(kept, None)
    ip_follow._turn(None, options)
    assert held == ['192.0.2.7/32 comment "gambling"', '192.0.2.9/32 comment "gambling"']
    clock[0] = NOW + timedelta(minutes=40)
    assert ip_follow._key(kept, None) != before
    ip_follow._turn(None, options)
    assert held == ['192.0.2.9/32 comment "gambling"']
