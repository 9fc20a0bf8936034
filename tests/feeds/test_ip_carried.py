"""Targets behind a file: what was told is known, only changes are told, and what is refused is taken back."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.errors import Unavailable
from feeds.ipfilter.carried import WAYS, FileTarget, target_of
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.intervals import merged
from feeds.ipfilter.kernel import run
from feeds.rule import hours
from tests.feeds.test_ipfilter import blocker
from tests.golden.sample import rule
from tests.golden.state import state

LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))
HOPS = {4: "192.0.2.1", 6: "100::1"}
fours = st.lists(st.tuples(st.integers(1 << 24, 1 << 31), st.integers(0, 300)), max_size=6)
sixes = st.lists(st.tuples(st.integers(1 << 120, 1 << 125), st.integers(0, 300)), max_size=6)


def made(fours: list[tuple[int, int]], sixes: list[tuple[int, int]]) -> Filter:
    return Filter(merged((n, n + more) for n, more in fours), merged((n, n + more) for n, more in sixes))


def quiet(name: str, folder: Path) -> FileTarget:
    return target_of(name, folder / "told", (), HOPS)


def carry(target: FileTarget, wish: Filter) -> None:
    target.apply(target.plan(1, wish, (), run), (), ["hanoi, serial 1"], run)


@pytest.mark.parametrize("name", sorted(WAYS))
@given(st.lists(st.builds(made, fours, sixes), min_size=1, max_size=4))
def test_what_was_told_is_read_back_after_any_number_of_changes(
    name: str, tmp_path_factory: pytest.TempPathFactory, wishes: list[Filter]
) -> None:
    target = quiet(name, tmp_path_factory.mktemp("carried"))
    for wish in wishes:
        carry(target, wish)
        assert target.plan(1, wish, (), run).empty


def test_a_refused_file_is_put_back_and_its_program_told_again(tmp_path: Path) -> None:
    told = tmp_path / "told"
    carry(quiet("plain", tmp_path), Filter(merged([(9, 9)])))
    before = told.read_bytes()
    log = tmp_path / "log"
    command = ("sh", "-c", f"wc -l < {told} >> {log}; exit 1")
    refusing = target_of("plain", told, command, {})
    with pytest.raises(Unavailable, match="sh refuses"):
        carry(refusing, Filter(merged([(9, 9), (90, 90)])))
    assert told.read_bytes() == before
    assert log.read_text().split() == ["3", "2"]

    fresh = target_of("plain", tmp_path / "new", command, {})
    with pytest.raises(Unavailable):
        carry(fresh, Filter(merged([(9, 9)])))
    assert not (tmp_path / "new").exists()


def test_refused_changes_are_said_again_by_the_next_apply(tmp_path: Path) -> None:
    told = tmp_path / "told"
    carry(quiet("frr", tmp_path), Filter(merged([(9, 9)])))
    wish = Filter(merged([(90, 90)]))
    with pytest.raises(Unavailable, match="refuses: % Unknown command"):
        carry(target_of("frr", told, ("echo", "% Unknown command"), {}), wish)
    copied = target_of("frr", told, ("cp", "{changes}", str(tmp_path / "said")), {})
    carry(copied, wish)
    assert (tmp_path / "said").read_text().splitlines() == [
        "no ip route 0.0.0.9/32 Null0 tag 666",
        "ip route 0.0.0.90/32 Null0 tag 666",
    ]


def test_a_new_next_hop_is_told_although_the_prefixes_stay(tmp_path: Path) -> None:
    wish = Filter(merged([(9, 9)]))
    carry(quiet("exabgp", tmp_path), wish)
    moved = target_of("exabgp", tmp_path / "told", None, {4: "192.0.2.2", 6: "100::1"})
    assert not moved.plan(1, wish, (), run).empty
    carry(moved, wish)
    assert moved.plan(1, wish, (), run).empty
    said = (tmp_path / "told").read_text().splitlines()
    assert [line.split()[0] for line in said] == ["announce", "withdraw", "announce"]
    assert "192.0.2.2" in said[2]


def test_a_file_of_something_else_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "told").write_text("0.0.0.1/77\n")
    with pytest.raises(Unavailable, match="not what this program wrote"):
        quiet("plain", tmp_path).plan(1, Filter(), (), run)


def test_the_command_plans_and_applies_a_plain_file(tmp_path: Path) -> None:
    rules = [rule("192.0.2.7/32", expires=LATER), rule("192.0.2.9/32", number=2, limits="tcp/80", expires=LATER)]
    kept, file = state(tmp_path / "state", rules), tmp_path / "blocked.txt"
    words = ("plain", "--state", str(kept), "--file", str(file))
    plan = json.loads(blocker("ip", "plan", *words, "--json").stdout)
    assert plan["sets"]["blocked4"]["added"] == ["192.0.2.7/32"]
    assert not file.exists(), "a plan changes nothing"
    done = blocker("ip", "apply", *words, "--checksum", plan["checksum"])
    assert done.returncode == 0, done.stderr
    assert "plain now drops 1 IPv4 and 0 IPv6 prefixes of serial 7" in done.stdout
    assert file.read_text().splitlines()[-1] == "192.0.2.7/32"
    assert "rules limited to ports" in file.read_text()

    state(kept, rules[1:], serial=8)
    assert blocker("ip", "apply", *words, "--checksum", plan["checksum"]).returncode == 5
    assert blocker("ip", "apply", *words, "--lapse").returncode == 0
    assert "192.0.2.7/32" not in file.read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("gobgp",), "needs --next-hop"),
        (("nftables", "--file", "x"), "are for these targets"),
        (("nftables", "--hook", "ingress"), "belong together"),
        (("nftables", "--hook", "ingress", "--device", 'a"b'), "a device is named"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = blocker("ip", "plan", *words, "--state", str(tmp_path))
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())


def test_follow_keeps_a_file_at_the_release_and_ends_with_zero(tmp_path: Path) -> None:
    seven, nine = (rule(f"192.0.2.{n}/32", number=n, expires=LATER) for n in (7, 9))
    kept, file = state(tmp_path / "state", [seven]), tmp_path / "blocked.txt"
    program = str(Path(sys.executable).parent / "blocker")
    words = (program, "ip", "follow", "plain", "--state", str(kept), "--file", str(file), "--every", "0.2")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)

    def until(text: str) -> None:
        end = time.monotonic() + 20
        while not file.exists() or file.read_text().splitlines()[-1] != text:
            assert time.monotonic() < end, text
            time.sleep(0.1)

    try:
        until("192.0.2.7/32")
        state(kept, [nine], serial=8)
        until("192.0.2.9/32")
        assert "192.0.2.7/32" not in file.read_text()
    finally:
        process.terminate()
        assert process.wait(20) == 0
