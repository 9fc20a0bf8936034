"""Targets behind a file: what was told is known, only changes are told, and what is refused is taken back."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.errors import Unavailable
from feeds.ipfilter.carried.target import FileTarget, target_of
from feeds.ipfilter.carried.told import CUT
from feeds.ipfilter.carried.ways import LISTED, WAYS, way_of
from feeds.ipfilter.filter import Box, Filter
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


ports = st.sampled_from([(0, 65535), (80, 80), (8000, 8100)])


def boxes(spans: list[tuple[int, int]], low: int, high: int) -> tuple[Box, ...]:
    return tuple(Box(first, last, low, high) for first, last in merged((n, n + more) for n, more in spans))


def made(
    fours: list[tuple[int, int]],
    sixes: list[tuple[int, int]],
    limited: list[tuple[int, int]],
    between: tuple[int, int],
) -> Filter:
    """Whole addresses, and others with ports."""
    return Filter(
        merged((n, n + more) for n, more in fours),
        merged((n, n + more) for n, more in sixes),
        tcp4=boxes(limited, *between),
        udp6=boxes(limited, *between),
    )


def quiet(name: str, folder: Path, *, rtbh: bool = False, flowspec: bool = False) -> FileTarget:
    return target_of(name, way_of(name, rtbh), folder / "told", (), HOPS, flowspec=flowspec, now_seconds=time.time())


def usual(name: str, file: Path, command: tuple[str, ...] | None, hops: dict[int, str]) -> FileTarget:
    return target_of(name, way_of(name, False), file, command, hops)


def carry(target: FileTarget, wish: Filter, serial: int = 1) -> None:
    lasting = ((3600, wish),) if target.way.in_parts else ()
    plan = target.plan(serial, wish, (), run, 3600 if lasting else None, lasting)
    target.apply(plan, (), ["hanoi, serial 1"], run)


WAYS_TO_TELL = [
    *((name, False, False) for name in WAYS),
    *((name, True, False) for name in LISTED),
    *((name, False, True) for name in ("bird", "exabgp", "gobgp")),
]


@pytest.mark.parametrize(("name", "rtbh", "flowspec"), WAYS_TO_TELL)
@settings(max_examples=30)
@given(st.lists(st.builds(made, fours, sixes, fours, ports), min_size=1, max_size=4))
def test_what_was_told_is_read_back_after_any_number_of_changes(
    name: str, rtbh: bool, flowspec: bool, tmp_path_factory: pytest.TempPathFactory, wishes: list[Filter]
) -> None:
    target = quiet(name, tmp_path_factory.mktemp("carried"), rtbh=rtbh, flowspec=flowspec)
    for serial, wish in enumerate(wishes, 1):
        carry(target, wish, serial)
        plan = target.plan(serial, wish, (), run)
        assert plan.held.filter == plan.wanted
        assert (plan.held.filter.tcp4 == wish.joined().tcp4) == (flowspec or not wish.tcp4)
        assert plan.held.filter.blocked4 == wish.blocked4


def test_flowspec_alone_needs_no_next_hop_and_carries_whole_prefixes_too(tmp_path: Path) -> None:
    wish = made([(9, 0)], [(7, 0)], [(20, 3)], (80, 80))
    target = target_of("gobgp", way_of("gobgp", False), tmp_path / "told", (), {}, flowspec=True)
    carry(target, wish)
    assert target.plan(1, wish, (), run).held.filter == wish.joined()
    assert "nexthop" not in (tmp_path / "told").read_text()


def test_a_program_that_was_not_told_before_a_kill_is_told_by_the_next_apply(tmp_path: Path) -> None:
    told, log = tmp_path / "told", tmp_path / "log"
    wish = Filter(merged([(9, 9)]))

    def kill(command: Sequence[str], stdin: str) -> str:
        os._exit(9)

    telling = usual("plain", told, ("sh", "-c", f"cat {{file}} >> {log}"), {})
    child = os.fork()
    if child == 0:
        telling.apply(telling.plan(1, wish, (), run), (), [], kill)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert told.exists()
    assert not log.exists()
    assert not telling.plan(1, wish, (), run).empty
    carry(telling, wish)
    assert "0.0.0.9/32" in log.read_text()
    assert telling.plan(1, wish, (), run).empty


@pytest.mark.parametrize("cut", range(1, 80, 3))
def test_a_command_that_a_kill_cut_short_is_never_read_as_another_prefix(cut: int, tmp_path: Path) -> None:
    target, told = quiet("exabgp", tmp_path), tmp_path / "told"
    carry(target, Filter(merged([(0xC0000200, 0xC00002FF)])))
    whole = told.read_text()
    told.write_text(whole[:-cut])
    wish = Filter(merged([(9, 9)]))
    carry(target, wish)
    assert target.plan(1, wish, (), run).empty
    lines = told.read_text().splitlines()
    # ExaBGP takes the line for nothing, or for all of what it was.
    assert all(line in whole or line.endswith(CUT) or "0.0.0.9/32" in line or line[:8] == "withdraw" for line in lines)


def test_routeros_gets_a_whole_directory_of_short_parts_at_once(tmp_path: Path) -> None:
    target = quiet("routeros", tmp_path)
    wish = Filter(merged((2 * n, 2 * n) for n in range(1 << 24, (1 << 24) + 600)))
    for serial in (1, 2, 3):
        carry(replace(target, now_seconds=target.now_seconds + serial), wish if serial < 3 else Filter(), serial)
        parts = sorted((tmp_path / "told").iterdir())
        assert all(len(part.read_text().splitlines()) <= 500 for part in parts)
    assert len(parts) == 1
    assert len([path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()]) == 2
    held = target.plan(1, wish, (), run)
    assert held.held.left_seconds is None
    carry(target, wish, 4)
    lasting = ((3600, wish),)
    assert not target.plan(4, wish, (), run, 3600, lasting).ageing
    old = time.time() - 2000
    os.utime(tmp_path / "told", (old, old), follow_symlinks=True)
    assert target.plan(4, wish, (), run, 3600, lasting).ageing, "half of its life is over: it is written again"


def test_a_refused_file_is_put_back_and_its_program_told_again(tmp_path: Path) -> None:
    told = tmp_path / "told"
    carry(quiet("plain", tmp_path), Filter(merged([(9, 9)])))
    before = told.read_bytes()
    log = tmp_path / "log"
    command = ("sh", "-c", f"wc -l < {told} >> {log}; exit 1")
    refusing = usual("plain", told, command, {})
    with pytest.raises(Unavailable, match="sh refuses"):
        carry(refusing, Filter(merged([(9, 9), (90, 90)])))
    assert told.read_bytes() == before
    assert log.read_text().split() == ["3", "2"]

    fresh = usual("plain", tmp_path / "new", command, {})
    with pytest.raises(Unavailable):
        carry(fresh, Filter(merged([(9, 9)])))
    assert not (tmp_path / "new").exists()


def test_refused_changes_are_said_again_by_the_next_apply(tmp_path: Path) -> None:
    told = tmp_path / "told"
    carry(quiet("frr", tmp_path), Filter(merged([(9, 9)])))
    wish = Filter(merged([(90, 90)]))
    with pytest.raises(Unavailable, match="refuses: % Unknown command"):
        carry(usual("frr", told, ("echo", "% Unknown command"), {}), wish)
    copied = usual("frr", told, ("cp", "{changes}", str(tmp_path / "said")), {})
    carry(copied, wish)
    assert (tmp_path / "said").read_text().splitlines() == [
        "no ip route 0.0.0.9/32 Null0 tag 666",
        "ip route 0.0.0.90/32 Null0 tag 666",
    ]


def test_a_new_next_hop_is_told_although_the_prefixes_stay(tmp_path: Path) -> None:
    wish = Filter(merged([(9, 9)]))
    carry(quiet("exabgp", tmp_path), wish)
    moved = usual("exabgp", tmp_path / "told", None, {4: "192.0.2.2", 6: "100::1"})
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
        (("exabgp", "--next-hop", "192.0.2.1", "--run", "true"), "--run is not for it"),
        (("no-such",), "iosxr | junos | huawei"),
        (("frr", "--flowspec"), "FRR passes Flowspec on and cannot originate it"),
        (("ios", "--flowspec"), "these do: bird, exabgp, gobgp"),
        (("nokia", "--rtbh"), "give with --run what brings {changes} to it"),
        (("nftables", "--file", "x"), "are for these targets"),
        (("nftables", "--hook", "ingress"), "belong together"),
        (("nftables", "--hook", "ingress", "--device", 'a"b'), "a device is named"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = blocker("ip", "plan", *words, "--state", str(tmp_path))
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())


def test_a_version_that_cannot_be_announced_for_want_of_a_next_hop_is_said(tmp_path: Path) -> None:
    both = [rule("192.0.2.7/32", number=7, expires=LATER), rule("2001:db8:bad::/64", number=9, expires=LATER)]
    words = ("exabgp", "--state", str(state(tmp_path / "state", both)), "--next-hop", "192.0.2.1")
    says = "no --next-hop of its own is given: IPv6"
    carried = ("--file", str(tmp_path / "told"))
    assert says in blocker("ip", "plan", *words, *carried).stdout
    assert says in blocker("ip", "render", *words, "--rtbh").stdout
    assert says not in blocker("ip", "plan", *words, *carried, "--next-hop", "100::1").stdout


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


@pytest.mark.parametrize("name", sorted(name for name, way in WAYS.items() if not way.by_changes))
def test_refused_means_put_back_and_what_somebody_else_wrote_is_noticed(name: str, tmp_path: Path) -> None:
    told, way = tmp_path / "told", way_of(name, False)
    one, two = Filter(merged([(9, 9)])), Filter(merged([(90, 91)]))
    quietly = quiet(name, tmp_path)
    carry(quietly, one)
    stranger = f"{{file}}{'/0001.rsc' if way.in_parts else ''}"
    for serial, (command, says) in enumerate(
        (
            (("false",), "refuses"),
            (("sh", "-c", f"echo permit 9.9.9.9/32 permit 9.9.9.9 32 >> {stranger}"), "something else than it was"),
        ),
        2,
    ):
        target = replace(quietly, command=command, now_seconds=quietly.now_seconds + serial)
        with pytest.raises(Unavailable, match=says):
            carry(target, two, serial)
        held = quietly.read(run)
        assert (held.filter == one) == (command == ("false",))
        assert "?" not in held.uses
    assert told.exists()
    carry(replace(quietly, now_seconds=quietly.now_seconds + 9), two, 9)
    assert quietly.read(run).filter == two, "the next apply sets it right"


def test_gobgp_s_own_words_are_read_and_what_neighbours_told_is_left_alone(tmp_path: Path) -> None:
    communities = {"type": 8, "communities": [4294902426, 4294967041]}
    path = {"attrs": [{"type": 1, "value": 2}, communities, {"type": 3, "nexthop": "192.0.2.1"}]}
    plain = {"attrs": [{"type": 1, "value": 2}, {"type": 3, "nexthop": "192.0.2.1"}]}
    printed = [
        {
            "0.0.0.9/32": [path],
            "0.0.0.10/32": [{**path, "neighbor-ip": "192.0.2.250"}],
            "0.0.0.11/32": [plain],
        },
        {
            "[destination: 0.0.0.20/32][protocol: ==tcp][destination-port: >=80&<=81]": [plain],
            "[destination: 0.0.0.22/32][source: 0.0.0.23/32]": [plain],
        },
        {"[destination: ::9/128/0][protocol: ==udp]": [plain]},
    ]
    for number, each in enumerate(printed):
        (tmp_path / str(number)).write_text(json.dumps(each))
    reads = tuple(("cat", str(tmp_path / str(number))) for number in range(3))
    target = target_of("gobgp", way_of("gobgp", False), tmp_path / "told", (), HOPS, flowspec=True, reads=reads)
    held = target.read(run).filter
    assert held == Filter(merged([(9, 9)]), tcp4=(Box(20, 20, 80, 81),), udp6=(Box(9, 9, 0, 65535),))
    for nonsense in ("nonsense", "[1]", '{"0.0.0.9/32": [{}]}'):
        (tmp_path / "0").write_text(nonsense)
        with pytest.raises(Unavailable, match="cat prints cannot be read"):
            target.read(run)
