"""`blocker ip why`: the rule behind an address, in words and as JSON."""

import json
from datetime import UTC, datetime
from pathlib import Path

from feeds.rule import Action, hours
from tests.feeds.test_ipfilter import blocker
from tests.golden.sample import rule
from tests.golden.state import state

LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))
RULES = (
    rule("192.0.2.0/24", number=1, expires=LATER),
    rule("192.0.2.64/26", Action.PASSTHRU, number=2, expires=LATER),
    rule("198.51.100.7/32", number=3, limits="tcp/443", expires=LATER),
    rule("2001:db8::/48", number=4, expires=LATER),
)


def test_the_longest_prefix_decides_and_the_decision_is_named(tmp_path: Path) -> None:
    kept = state(tmp_path / "state", RULES)
    done = blocker("ip", "why", "192.0.2.70", "--state", str(kept))
    assert done.returncode == 0, done.stderr
    assert "192.0.2.70/32: the filter lets it pass" in done.stdout
    rows = [line for line in done.stdout.splitlines() if "hanoi:" in line]
    assert "decides" in rows[0]
    assert "hanoi:2" in rows[0]
    assert "hanoi:1" in rows[1]
    assert "12/QĐ-STTTT" in rows[0]

    said = json.loads(blocker("ip", "why", "192.0.2.7", "--state", str(kept), "--json").stdout)
    assert said["targets"][0]["filter"] == "dropped"
    assert said["targets"][0]["decided_by"] == "hanoi:1"


def test_parts_ports_exceptions_and_unlisted_addresses_are_told_apart(tmp_path: Path) -> None:
    kept = state(tmp_path / "state", RULES)
    (tmp_path / "ours").write_text("192.0.2.7\n")

    def verdict(asked: str) -> dict[str, object]:
        words = ("ip", "why", asked, "--state", str(kept), "--except", str(tmp_path / "ours"), "--json")
        first: dict[str, object] = json.loads(blocker(*words).stdout)["targets"][0]
        return first

    assert verdict("198.51.100.7")["filter"] == "partly"
    assert verdict("198.51.100.7")["decided_by"] is None
    assert verdict("192.0.2.0/24")["filter"] == "partly"
    assert verdict("192.0.2.7")["filter"] == "passed"
    assert verdict("192.0.2.7")["exceptions"] == ["192.0.2.7/32"]
    assert verdict("203.0.113.1")["rules"] == []
    assert verdict("2001:db8::1")["filter"] == "dropped"


def test_what_is_no_address_is_one_sentence(tmp_path: Path) -> None:
    done = blocker("ip", "why", "bet.example", "--state", str(state(tmp_path / "state", RULES)))
    assert done.returncode == 1
    assert "is not an IP address" in done.stderr
