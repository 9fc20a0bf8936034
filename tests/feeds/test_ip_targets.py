"""Every target behind a file, through the commands: planned, applied, nothing left to do, lapsed."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from feeds.command.ip import ip
from feeds.ipfilter.carried.ways import LISTED, WAYS
from feeds.ipfilter.routers import FORMS
from feeds.ipfilter.target import TARGETS
from feeds.language import speak
from feeds.rule import hours
from tests.golden.sample import rule
from tests.golden.state import state

LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))
SEVEN = rule("192.0.2.7/32", number=7, expires=LATER)
NINE = rule("192.0.2.9/32", number=9, limits="tcp/80,443", expires=LATER)
SIX = rule("2001:db8::/64", number=6, expires=LATER)
NAMES = {
    *("nftables", "ipset", "iptables", "bird", "frr", "exabgp", "gobgp", "ios", "iosxr", "junos", "huawei", "nokia"),
    *("arista", "routeros", "pf", "plain"),
}


def run(*words: str) -> Any:
    done = CliRunner().invoke(ip, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_every_name_is_planned_applied_and_followed() -> None:
    assert {*TARGETS, *WAYS} == NAMES
    assert set(FORMS) <= NAMES


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, ()) for name in WAYS),
        *((name, ("--rtbh",)) for name in LISTED),
        *((name, ("--flowspec",)) for name in ("bird", "exabgp", "gobgp")),
    ],
    ids=lambda value: "".join(value) or "usual",
)
def test_what_is_applied_leaves_nothing_to_do_until_something_changes(
    name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    speak("en")
    kept = state(tmp_path / "state", [SEVEN, NINE, SIX])
    hops = ("--next-hop", "192.0.2.1", "--next-hop", "100::1")
    metrics = tmp_path / "filter.prom"
    words = (name, "--state", str(kept), "--file", str(tmp_path / "told"), "--run", "", *options, *hops)
    plan = run("plan", *words)
    ports = "--flowspec" in options
    assert plan["sets"]["blocked4"]["added"] == ["192.0.2.7/32"]
    assert plan["sets"]["blocked6"]["added"] == ["2001:db8::/64"]
    assert ("tcp4" in plan["sets"]) == ports
    assert any("rules limited to ports" in note for note in plan["notes"]) == (not ports)
    assert not (tmp_path / "told").exists(), "a plan changes nothing"
    done = run("apply", *words, "--checksum", plan["checksum"], "--metrics-file", str(metrics))
    assert done["prefixes"] == {"ipv4": 3 if ports else 1, "ipv6": 1}
    assert run("plan", *words)["empty"] is True
    said = metrics.read_text()
    assert f'blocker_ipfilter_pending_prefixes{{change="added",target="{name}"}} 0.0' in said
    assert f'blocker_ipfilter_addresses{{family="ipv4",target="{name}"}} {2.0 if ports else 1.0}' in said

    state(kept, [SIX], serial=8)
    drifted = run("plan", *words, "--metrics-file", str(metrics))
    assert drifted["sets"]["blocked4"]["removed"] == ["192.0.2.7/32"]
    assert f'blocker_ipfilter_pending_prefixes{{change="removed",target="{name}"}} {3.0 if ports else 1.0}' in (
        metrics.read_text()
    )
    run("apply", *words, "--lapse")
    assert run("plan", *words)["empty"] is True


def test_a_next_hop_is_never_dropped_though_its_prefix_is(tmp_path: Path) -> None:
    kept = state(tmp_path / "state", [rule("192.0.2.0/30", number=1, expires=LATER)])
    words = ("exabgp", "--state", str(kept), "--next-hop", "192.0.2.1")
    wanted = ["192.0.2.0/32", "192.0.2.2/31"]
    plan = run("plan", *words, "--file", str(tmp_path / "told"))
    assert plan["sets"]["blocked4"]["added"] == wanted
    said = run("render", *words, "--rtbh")["script"]
    assert [line.split()[2] for line in said.splitlines() if line.startswith("announce")] == wanted
