"""`blocker feed ...` as an engineer meets it: what it prints, what it ends with, that no traceback is shown."""

import json
import os
import queue
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feeds.command.why import why_in_state
from feeds.errors import Rejected
from feeds.follower import WAKE_REFILL_SECONDS, WAKES, Pace, Wakes
from feeds.manifest import Contact, DecisionRef
from feeds.metrics import FeedCollector
from feeds.store import Store
from tests.feeds.tuf_feed import TufFeed, many
from tests.rules import rule

BLOCKER = "from blocker.cli import main; main()"


class Machine:
    """An ISP's machine: a feed beside it and a state directory of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state"
        self.feed = TufFeed(path / "feed", now=datetime.now(UTC))
        self.root = path / "root.json"
        self.root.write_bytes(self.feed.anchor)
        self.env = {**os.environ, "BLOCKER_STATE": str(self.state), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}

    def run(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        found = subprocess.run(
            [sys.executable, "-c", BLOCKER, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self.env,
        )
        assert found.returncode == code, found.stdout + found.stderr
        assert "Traceback" not in found.stderr
        return found

    def json(self, *arguments: object) -> dict[str, object]:
        made = json.loads(self.run(*arguments, "--json").stdout)
        assert isinstance(made, dict)
        return made

    def init(self, url: str | None = None) -> None:
        self.run("feed", "init", "--root", self.root, url or self.feed.url, "--training")

    def start(self, *arguments: object, **env: str) -> "Running":
        return Running(
            subprocess.Popen(
                [sys.executable, "-c", BLOCKER, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**self.env, **env},
            )
        )


class Running:
    """A process whose lines are read with a time limit."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def line(self, seconds: float = 20) -> str:
        return self._lines.get(timeout=seconds)

    def silent(self, seconds: float) -> bool:
        try:
            self._lines.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def end(self) -> str:
        """SIGTERM; what was said on stderr. It must end with 0 within three seconds."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(5) == 0
        assert self.process.stderr is not None
        return self.process.stderr.read()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def running() -> Iterator[list[Running]]:
    started: list[Running] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_the_way_of_an_isp_from_init_to_render(machine: Machine) -> None:
    feed = machine.feed
    manifest = feed.publish([*many(300), rule("192.0.2.0/24", 999)])
    machine.init()
    pulled = machine.json("feed", "pull")
    assert (pulled["changed"], pulled["serial"], pulled["rules"], pulled["way"]) == (True, 1, 301, "full")
    assert "nothing new" in machine.run("feed", "pull").stdout
    status = machine.json("feed", "status")
    assert (status["serial"], status["digest"], status["training"]) == (1, manifest.digest, True)
    assert status["counts"] == {"rules": 301, "names": 300, "prefixes": 1, "category:gambling": 301}
    assert "TRAINING" in machine.run("feed", "status").stdout
    assert machine.json("feed", "verify")["rules"] == 301
    assert "n17.test\n" in machine.run("feed", "render", "plain").stdout
    assert "Left out: rules for address prefixes: 1" in machine.run("feed", "render", "dnsmasq").stderr
    target = machine.path / "out"
    target.write_text("old")
    assert machine.json("feed", "render", "hosts", "--to", target)["serial"] == 1
    assert "n17.test" in target.read_text()
    assert [p.name for p in machine.path.iterdir() if p.name.startswith(".new-")] == []


def test_verify_needs_no_network_and_notices_what_the_disk_changed(machine: Machine) -> None:
    machine.feed.publish(many(3))
    machine.init()
    machine.run("feed", "pull")
    shutil.rmtree(machine.feed.path)
    machine.run("feed", "verify")
    accepted = Store(machine.state).accepted()
    assert accepted is not None
    (accepted.directory / "manifest.json").write_bytes(b"{}")
    assert "whole" in machine.run("feed", "verify", code=1).stderr


def test_verify_fails_while_the_release_before_stands_in_for_a_damaged_one(machine: Machine) -> None:
    machine.feed.publish(many(3))
    machine.init()
    machine.run("feed", "pull")
    machine.feed.publish(many(4))
    machine.run("feed", "pull")
    accepted = Store(machine.state).accepted()
    assert accepted is not None
    (accepted.directory / "release.zst").write_bytes(b"")
    text = machine.run("feed", "verify", code=4).stderr
    assert "is damaged" in text
    assert "release 1, the one before it, is in force" in text
    assert "is damaged" in machine.run("feed", "status").stdout
    machine.run("feed", "pull")
    machine.run("feed", "verify")


def test_every_outcome_has_its_exit_code_and_says_what_was_kept_and_what_next(machine: Machine) -> None:
    feed = machine.feed

    def fails(code: int, *arguments: object) -> str:
        text = machine.run("feed", *arguments, code=code).stderr
        assert "Error: " in text
        assert "Kept: " in text
        assert "Next: " in text
        return text

    assert "is not set up" in fails(1, "pull")
    feed.publish(many(300))
    machine.init()
    machine.run("feed", "pull")
    manifest = feed.publish(many(100))
    text = fails(5, "pull")
    assert f"blocker feed accept 2 {manifest.digest}" in text
    machine.run("feed", "status")
    machine.run("feed", "status", "--check", code=5)
    fails(4, "accept", "2", "0" * 64)
    fails(1, "accept", "2", "short")
    assert machine.json("feed", "accept", "2", manifest.digest)["removed"] == 200
    machine.run("feed", "accept", "2", manifest.digest)
    machine.run("feed", "accept", "zero", manifest.digest, code=2)
    timestamp = feed.path / "metadata" / "timestamp.json"
    whole = timestamp.read_bytes()
    timestamp.write_bytes(whole.replace(b'"version":', b'"version":9'))
    fails(4, "pull")
    timestamp.write_bytes(whole)
    feed.now, feed.life = datetime.now(UTC) - timedelta(days=1), timedelta(hours=1)
    feed.version += 10
    feed.sign()
    fails(3, "pull")
    problem = json.loads(machine.run("feed", "pull", "--json", code=3).stderr.splitlines()[0])
    assert (problem["error"], problem["exit_code"]) == ("stale", 3)
    counts = Store(machine.state).counts()
    assert (counts["held"], counts["untrusted"], counts["stale"]) == (1, 2, 2)


def test_init_refuses_what_is_no_root_and_no_address(machine: Machine) -> None:
    machine.root.write_bytes(b"{}")
    assert "no root file" in machine.run("feed", "init", "--root", machine.root, machine.feed.url, code=1).stderr
    other = (machine.feed.path / "metadata").joinpath("timestamp.json")
    machine.feed.publish([])
    assert "no root file" in machine.run("feed", "init", "--root", other, machine.feed.url, code=1).stderr
    machine.root.write_bytes(machine.feed.anchor)
    assert "no address" in machine.run("feed", "init", "--root", machine.root, "feed.example", code=1).stderr
    assert not machine.state.exists()


def test_a_change_reaches_a_follower_within_two_seconds_by_the_hint(machine: Machine, running: list[Running]) -> None:
    machine.feed.publish(many(300))
    server = machine.start("feed", "serve", machine.feed.path, "--listen", "127.0.0.1:0")
    running.append(server)
    url = server.line().split()[-1]
    machine.init(url)
    follower = machine.start("feed", "follow", "--every", 3600, "--json")
    running.append(follower)
    assert json.loads(follower.line())["serial"] == 1
    time.sleep(1)  # it has asked for its first hint by now
    took = []
    for count in (301, 302, 303):
        machine.feed.publish(many(count), now=datetime.now(UTC))
        began = time.monotonic()
        assert json.loads(follower.line())["added"] == 1
        took.append(time.monotonic() - began)
    assert max(took) < 2
    machine.feed.publish(many(100), now=datetime.now(UTC))
    assert json.loads(follower.line())["result"] == "held"
    assert follower.end() == ""
    assert server.end() == ""


def test_a_follower_outlives_the_feed_says_so_once_and_recovers(machine: Machine, running: list[Running]) -> None:
    machine.feed.publish(many(3))
    machine.init()
    follower = machine.start("feed", "follow", "--every", 1)
    running.append(follower)
    assert "Release 1 is in force" in follower.line()
    away = machine.feed.path.rename(machine.path / "away")
    assert "there is no such file" in follower.line()
    assert follower.silent(2.5)
    away.rename(machine.feed.path)
    assert "Release 1" in follower.line()
    follower.end()


def test_systemd_and_prometheus_hear_from_a_follower(
    machine: Machine, running: list[Running], need_program: Callable[[str, str], str]
) -> None:
    promtool = need_program("promtool", "prometheus")
    machine.feed.publish([*many(300), rule("google.com", 999)])
    machine.init()
    path = machine.path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, socket.create_server(("127.0.0.1", 0)) as free:
        systemd.bind(str(path))
        port = free.getsockname()[1]
        free.close()
        follower = machine.start(
            "feed", "follow", "--metrics", f"127.0.0.1:{port}", NOTIFY_SOCKET=str(path), WATCHDOG_USEC="400000"
        )
        running.append(follower)
        follower.line()
        said = [systemd.recv(100) for _n in range(6) if select.select([systemd], [], [], 5)[0]]
        assert said.count(b"READY=1") == 1
        assert said.count(b"WATCHDOG=1") >= 3
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        follower.end()
        while select.select([systemd], [], [], 0.2)[0]:
            said.append(systemd.recv(100))
        assert said[-1] == b"STOPPING=1"
    found = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")
    for line in (
        "blocker_feed_serial 1.0",
        'blocker_feed_rules{kind="names"} 300.0',
        'blocker_feed_pulls_total{result="accepted"} 1.0',
        'blocker_feed_pulls_total{result="untrusted"} 0.0',
        'blocker_feed_refused_rules{reason="floor.training"} 1.0',
        "blocker_feed_held 0.0",
    ):
        assert line + "\n" in text
    # No metric names what is blocked.
    assert ".test" not in text
    assert "google" not in text


def test_an_address_for_metrics_that_is_taken_is_told(machine: Machine) -> None:
    machine.init()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "cannot listen" in machine.run("feed", "follow", "--metrics", address, code=1).stderr
    machine.run("feed", "follow", "--metrics", "localhost", code=2)


def test_metrics_stand_before_the_first_pull_and_move_with_pulls_of_other_processes(machine: Machine) -> None:
    machine.init()
    collector = FeedCollector(Store(machine.state))

    def value(name: str, **labels: str) -> float:
        return next(
            sample.value
            for metric in collector.collect()
            for sample in metric.samples
            if sample.name == name and sample.labels == labels
        )

    assert value("blocker_feed_serial") == 0
    assert value("blocker_feed_pulls_total", result="accepted") == 0
    machine.feed.publish(many(300))
    machine.run("feed", "pull")
    assert value("blocker_feed_serial") == 1
    assert value("blocker_feed_pulls_total", result="accepted") == 1
    assert value("blocker_feed_expiry_timestamp_seconds") > time.time()
    machine.feed.publish(many(100))
    machine.run("feed", "pull", code=5)
    assert value("blocker_feed_held") == 1
    assert value("blocker_feed_held_serial") == 2
    accepted = Store(machine.state).accepted()
    assert accepted is not None


def test_hints_wake_ten_times_at_once_and_then_once_in_half_a_minute() -> None:
    wakes = Wakes()
    assert [wakes.take(0.0) for _n in range(WAKES + 2)] == [True] * WAKES + [False] * 2
    assert not wakes.take(WAKE_REFILL_SECONDS / 2)
    assert wakes.take(WAKE_REFILL_SECONDS)
    assert not wakes.take(WAKE_REFILL_SECONDS)


def test_followers_do_not_all_come_at_once() -> None:
    rolls = iter((0.0, 0.5, 1.0))
    pace = Pace(60, lambda: next(rolls))
    assert [pace.pause() for _n in range(3)] == pytest.approx([48, 60, 72])


# --- why --------------------------------------------------------------------------------------------------------


def test_why_names_the_rule_the_decision_the_end_and_the_contact(machine: Machine) -> None:
    machine.feed.publish(
        [
            rule("evil.test", 1),
            rule("=a.evil.test", 2),
            rule("192.0.2.0/24", 3),
            rule("192.0.2.7/32", 4),
            rule("2001:db8:1::/48", 5),
            rule("old.test", 6, expires=1),
        ]
    )
    machine.init()
    machine.run("feed", "pull")
    options = {"state": str(machine.state)}

    def entry(text: str) -> tuple[object, object, list[str]]:
        found = why_in_state(text, options)
        assert found is not None
        others = found.get("others", [])
        assert isinstance(others, list)
        return found["listed"], found.get("entry"), [other["entry"] for other in others]

    assert entry("evil.test") == (True, "vn-test:1", [])
    assert entry("http://X.Evil[.]test/path") == (True, "vn-test:1", [])
    assert entry("a.evil.test") == (True, "vn-test:2", ["vn-test:1"])
    assert entry("x.a.evil.test") == (True, "vn-test:1", [])
    assert entry("192.0.2.7") == (True, "vn-test:4", ["vn-test:3"])
    assert entry("192.0.2.8") == (True, "vn-test:3", [])
    assert entry("2001:db8:1:2::1") == (True, "vn-test:5", [])
    for free in ("good.test", "test", "notevil.test", "198.51.100.1", "old.test"):
        assert entry(free) == (False, None, []), free
    found = why_in_state("evil.test", options)
    assert found is not None
    assert found["match"] == "exact"
    decision = found["decision"]
    assert isinstance(decision, dict)
    assert decision["legal_basis"] == "NĐ 15/2020/NĐ-CP"
    for part in ("12/QĐ-STTTT", "khieunai@so.example", "vn-test:1", "release 1"):
        assert part in str(found["text"])
    with pytest.raises(Rejected):
        why_in_state("not a name", options)
    with pytest.raises(Rejected, match=r"write it as 192\.0\.2\.7"):
        why_in_state("::ffff:192.0.2.7", options)
    with pytest.raises(Rejected, match="more than one"):
        why_in_state("192.0.2.1-192.0.2.9", options)
    assert "evil.test is listed" in machine.run("why", "evil.test").stdout
    assert machine.run("why", "not a name", code=1).stdout == ""


def test_nothing_a_manifest_says_writes_on_the_terminal_or_breaks_an_answer(machine: Machine) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\nnext\u202e"
    decision = DecisionRef(
        notation="12/QĐ-STTTT",
        agency=evil,
        number=evil,
        date="2026-99-99",
        legal_basis=evil,
        contact=evil,
    )
    machine.feed.publish(
        [rule("evil.test", 1)],
        authority_name=evil,
        contact=Contact(email="a@so.example", name=evil, url=evil, phone=evil),
        decisions=(decision,),
    )
    machine.init()
    words = ([*["feed", "pull"]], ["why", "evil.test"], *(["feed", *w.split()] for w in ("status", "verify")))
    for command in (*words, ["feed", "render", "csv"]):
        done = machine.run(*command)
        said = done.stdout + done.stderr
        assert not {"\x1b", "\x07", "\u202e"} & set(said), command
        assert not any(line.startswith("next") for line in said.splitlines()), command


def test_why_is_silent_where_there_is_no_state_directory(tmp_path: Path) -> None:
    assert why_in_state("evil.test", {"state": str(tmp_path / "none")}) is None
