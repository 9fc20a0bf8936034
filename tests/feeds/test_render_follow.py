"""`blocker feed follow --render`: the file is the release in force, and its reader is told of each change once."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from feeds.command import rendering_file
from feeds.command.following import follow
from feeds.command.rendering_file import RETRY_SECONDS, RenderedFile, run_command
from feeds.errors import Unavailable
from feeds.rule import Rule, hours
from feeds.store import Store
from tests.feeds.test_feed_command import Machine, Running, machine, running  # noqa: F401 - fixtures
from tests.feeds.tuf_feed import many
from tests.golden.sample import rule
from tests.interop.test_transfer_bind import accept

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


class Case:
    """A state directory, a file, and a command that can be made to fail; `seconds` pass as the test says."""

    def __init__(self, path: Path) -> None:
        self.store = Store.create(path / "state", url="https://feed.example/", root=b"{}", training=True)
        self.file = path / "list.conf"
        self.runs = 0
        self.fails = False
        self.seconds = 0.0
        self.restart()

    def restart(self) -> None:
        self.kept = RenderedFile(self.store, "dnsmasq", self.file, self.run)

    def run(self) -> None:
        self.runs += 1
        if self.fails:
            raise Unavailable("the command failed")

    def look(self, later: timedelta = timedelta()) -> int | None:
        """The serial of what was kept, None where nothing was done."""
        self.seconds += 1
        done = self.kept.look(NOW + later, self.seconds)
        if done is not None:
            assert done.size == self.file.stat().st_size
        return None if done is None else done.serial

    def names(self) -> set[str]:
        return {line.split("/")[1] for line in self.file.read_text().splitlines() if line.startswith("address=")}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def lapsing(name: str, in_hours: int) -> Rule:
    return rule(name, expires=hours(NOW) + in_hours)


def test_each_release_and_each_lapse_is_written_and_told_once(case: Case) -> None:
    assert case.look() is None
    assert not case.file.exists()
    accept(case.store, 1, [rule("a.example"), lapsing("b.example", 2)])
    assert case.look() == 1
    assert case.names() == {"a.example", "b.example"}
    assert [case.look(), case.look(HOUR)] == [None, None]
    assert case.look(2 * HOUR) == 1
    assert case.names() == {"a.example"}
    assert case.look(50 * HOUR) is None
    accept(case.store, 2, [rule("c.example")])
    assert case.look(50 * HOUR) == 2
    assert case.names() == {"c.example"}
    assert case.runs == 3


def test_a_restart_runs_nothing_where_the_file_is_as_it_shall_be(case: Case) -> None:
    accept(case.store, 1, [rule("a.example"), lapsing("b.example", 2)])
    case.look(2 * HOUR)
    before = case.file.stat()
    case.restart()
    assert case.look(9 * HOUR) is None
    assert (case.runs, case.file.stat()) == (1, before)


def test_a_file_that_was_changed_meanwhile_is_made_good_and_told(case: Case) -> None:
    accept(case.store, 1, [rule("a.example")])
    case.look()
    for harm in (case.file.unlink, lambda: case.file.write_text("")):
        harm()
        case.restart()
        assert case.look() == 1
        assert case.names() == {"a.example"}
    assert case.runs == 3


def test_a_command_that_fails_is_run_again_later_also_after_a_restart(case: Case) -> None:
    accept(case.store, 1, [rule("a.example")])
    case.fails = True
    with pytest.raises(Unavailable):
        case.look()
    assert case.names() == {"a.example"}
    assert case.look() is None
    case.seconds += RETRY_SECONDS
    with pytest.raises(Unavailable):
        case.look()
    case.restart()
    case.fails = False
    assert case.look() == 1
    assert case.look() is None
    assert case.runs == 3


def test_the_last_good_file_stays_where_the_next_cannot_be_written(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(case.store, 1, [rule("a.example")])
    case.look()
    accept(case.store, 2, [rule("b.example")])
    with monkeypatch.context() as patched:

        def full(_file: int, _data: object) -> int:
            raise OSError(28, "No space left on device")

        patched.setattr(os, "write", full)
        with pytest.raises(Unavailable, match="No space left") as told:
            case.look()
    assert str(case.file) in told.value.kept
    assert (case.names(), case.runs) == ({"a.example"}, 1)
    assert list(case.file.parent.glob(".new-*")) == []
    case.seconds += RETRY_SECONDS
    assert case.look() == 2


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_another_user_may_read_the_file_whatever_our_umask(case: Case, narrow_umask: None) -> None:
    accept(case.store, 1, [rule("a.example")])
    case.look()
    assert case.file.stat().st_mode & 0o777 == 0o644


def test_a_command_is_run_without_a_shell_and_its_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "a; b $HOME"
    run_command(["touch", str(odd)])
    assert odd.exists()
    with pytest.raises(Unavailable, match="status 3"):
        run_command(["sh", "-c", "exit 3"])
    with pytest.raises(Unavailable, match="No such file"):
        run_command([str(tmp_path / "nothing")])
    monkeypatch.setattr(rendering_file, "RUN_SECONDS", 0.2)
    with pytest.raises(Unavailable, match="did not end"):
        run_command(["sleep", "30"])


@pytest.mark.parametrize(
    "words",
    [
        ["--render", "dnsmasq"],
        ["--render", "dnsmasq", "--to", "f"],
        ["--run", "true"],
        ["--render", "dnsmasq", "--to", "f", "--run", "a 'b"],
        ["--render", "dnsmasq", "--to", "f", "--run", " "],
        ["--render", "dnsmaskk", "--to", "f", "--run", "true"],
    ],
)
def test_half_an_order_is_wrong_usage(tmp_path: Path, words: list[str]) -> None:
    done = CliRunner().invoke(follow, ["--state", str(tmp_path), *words])
    assert done.exit_code == 2, done.output


def test_a_follower_keeps_the_file_and_says_a_fault_once(machine: Machine, running: list[Running]) -> None:  # noqa: F811
    machine.feed.publish(many(300))
    machine.init()
    file, told, ready = machine.path / "list.conf", machine.path / "told", machine.path / "ready"
    command = f"""sh -c 'echo loud; test -e "{ready}" && echo told >> "{told}"'"""
    follower = machine.start(
        "feed", "follow", "--every", 1, "--json", "--render", "dnsmasq", "--to", file, "--run", command
    )
    running.append(follower)
    said = [json.loads(follower.line()) for _n in range(2)]
    assert [one["result"] for one in said] == ["accepted", "failed"]
    assert "status 1" in said[1]["what"]
    assert follower.silent(2.5)
    assert file.read_text().count("address=") == 300
    follower.end()
    ready.touch()
    follower = machine.start(
        "feed", "follow", "--every", 1, "--json", "--render", "dnsmasq", "--to", file, "--run", command
    )
    running.append(follower)
    assert json.loads(follower.line())["result"] == "rendered"
    machine.feed.publish(many(301), now=datetime.now(UTC))
    said = [json.loads(follower.line()) for _n in range(2)]
    assert [one["result"] for one in said] == ["accepted", "rendered"]
    assert (said[1]["serial"], said[1]["bytes"]) == (2, file.stat().st_size)
    follower.end()
    assert told.read_text() == "told\n" * 2
