"""`blocker ip follow` against the kernel: new releases, lapses and foreign hands, without anybody asking."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feeds.rule import hours
from tests.golden.sample import rule
from tests.golden.state import state

pytestmark = [pytest.mark.interop, pytest.mark.root]

LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))
ONE, TWO = "192.0.2.7", "192.0.2.9"


class Followed:
    """A namespace in which the command runs."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target, self.folder, self.namespace = target, folder, f"blkfol{os.getpid()}"

    def inside(self, *command: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command], capture_output=True, text=True, timeout=30
        )
        return done.stdout + done.stderr

    def held(self) -> str:
        if self.target == "ipset":
            return self.inside("ipset", "save")
        return self.inside("nft", "list", "table", "inet", "blocker")

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(0.1)
        raise AssertionError(self.held() + (self.folder / "out").read_text() + (self.folder / "err").read_text())

    def said(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "out").read_text().splitlines()]

    @contextmanager
    def running(self, *options: str, notify: str = "") -> Iterator["subprocess.Popen[bytes]"]:
        program = shutil.which("blocker", path=str(Path(sys.executable).parent)) or "blocker"
        words = [
            program,
            "ip",
            "follow",
            self.target,
            "--state",
            str(self.folder / "state"),
            "--every",
            "0.2",
            "--json",
        ]
        command = ["ip", "netns", "exec", self.namespace, *words, *options]
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, "NOTIFY_SOCKET": notify})
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


@pytest.fixture(params=["nftables", "ipset"])
def followed(
    request: pytest.FixtureRequest, need_root: None, need_program: Callable[[str, str], str], tmp_path: Path
) -> Iterator[Followed]:
    need_program("nft", "nftables")
    need_program("ipset", "ipset")
    made = Followed(request.param, tmp_path)
    subprocess.run(["ip", "netns", "add", made.namespace], check=True, timeout=30)
    try:
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.namespace], check=False, timeout=30)


def test_releases_are_applied_as_they_come_and_stay_when_it_ends(followed: Followed, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", [rule(f"{ONE}/32", expires=LATER)])
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "notify"))
    listening.settimeout(15)
    with followed.running("--metrics-file", str(tmp_path / "m.prom"), notify=str(tmp_path / "notify")):
        followed.until(lambda: ONE in followed.held())
        said = b""
        while b"READY=1" not in said:
            said += listening.recv(4096)
        assert b"STATUS=serial 7: 1 added" in said
        state(kept, [rule(f"{TWO}/32", number=2, expires=LATER)], serial=8)
        followed.until(lambda: TWO in followed.held() and ONE not in followed.held())
    assert TWO in followed.held()
    assert [line["serial"] for line in followed.said()] == [7, 8]
    assert f'blocker_ipfilter_serial{{target="{followed.target}"}} 8.0' in (tmp_path / "m.prom").read_text()
    listening.close()


def test_a_release_past_the_limit_is_held_but_what_was_withdrawn_leaves(followed: Followed, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", [rule(f"{ONE}/32", expires=LATER), rule(f"{TWO}/32", number=2, expires=LATER)])
    with followed.running("--max-addresses", "2"):
        followed.until(lambda: ONE in followed.held() and TWO in followed.held())
        state(
            kept,
            [rule(f"{TWO}/32", number=2, expires=LATER), rule("203.0.113.0/30", number=3, expires=LATER)],
            serial=8,
        )
        followed.until(lambda: ONE not in followed.held())
        assert TWO in followed.held()
        assert "203.0.113" not in followed.held()
        followed.until(lambda: len(followed.said()) == 2)
    assert followed.said()[1]["error"] == "held"


def test_it_waits_for_the_first_release_and_says_so_once(followed: Followed, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with followed.running():
        followed.until(lambda: len(followed.said()) == 1)
        time.sleep(1)
        state(tmp_path / "state", [rule(f"{ONE}/32", expires=LATER)])
        followed.until(lambda: ONE in followed.held())
    assert [line["result"] for line in followed.said()] == ["failed", "applied"]
