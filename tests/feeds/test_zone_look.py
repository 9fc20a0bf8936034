"""`blocker zone status` tells who has which serial, who is behind and for how long, and who never came."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from feeds.command.zone_look import status
from feeds.store import Store
from feeds.transfer.watching import FILE

ZONE = "rpz.blocker"


def test_status_tells_lag_and_who_never_came(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "state", url="https://feed.example/", root=b"{}", training=True)
    since = (datetime.now(UTC) - timedelta(seconds=60)).isoformat()
    seen = {"soa": since, "transfer": since, "form": "ixfr"}
    store.remember(
        FILE,
        {
            "zones": {ZONE: {"serial": 7000, "since": since}},
            "secondaries": {
                "behind": {ZONE: {**seen, "serial": 6000}},
                "current": {ZONE: {**seen, "serial": 7000}},
                "never": {ZONE: {}},
            },
        },
    )
    done = CliRunner().invoke(status, ["--state", str(store.path), "--json"])
    assert done.exit_code == 0, done.output
    behind, current, never = json.loads(done.stdout)["secondaries"]
    assert (behind["secondary"], behind["serial"]) == ("behind", 6000)
    assert 60 <= behind["lag"] < 90
    assert (current["secondary"], current["lag"]) == ("current", 0)
    assert never == {
        "secondary": "never",
        "zone": ZONE,
        "serial": None,
        "soa": None,
        "transfer": None,
        "lag": None,
    }
    text = CliRunner().invoke(status, ["--state", str(store.path)]).stdout
    (line,) = [line for line in text.splitlines() if "never" in line]
    assert "None" not in line


def test_status_before_anything_was_served_is_empty(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "state", url="https://feed.example/", root=b"{}", training=True)
    done = CliRunner().invoke(status, ["--state", str(store.path), "--json"])
    assert json.loads(done.stdout)["secondaries"] == []


@pytest.mark.parametrize(
    "damaged",
    [
        {"secondaries": []},
        {"secondaries": {"one": {ZONE: 3}}},
        {"zones": {ZONE: {"serial": 1, "since": "2026-01-01T00:00:00"}}, "secondaries": {"one": {ZONE: {"serial": 2}}}},
    ],
)
def test_a_damaged_account_is_no_fault_of_the_program(tmp_path: Path, damaged: dict[str, object]) -> None:
    store = Store.create(tmp_path / "state", url="https://feed.example/", root=b"{}", training=True)
    store.remember(FILE, damaged)
    done = CliRunner().invoke(status, ["--state", str(store.path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"zones": {}, "secondaries": []}
