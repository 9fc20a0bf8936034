"""The command `blocker ip` without a kernel: what is refused, what is said, what is written."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from feeds.errors import Held, Unavailable
from feeds.ipfilter import ipset, metrics, nftables
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.intervals import merged
from feeds.ipfilter.kernel import Count, InKernel, run
from feeds.ipfilter.plan import Plan
from feeds.ipfilter.target import TARGETS
from feeds.ipfilter.wanted import check_safe, wanted
from feeds.language import speak
from feeds.prefix import Prefix
from feeds.rule import Action, Rule, hours
from tests.golden.sample import NOW, RULES, rule
from tests.golden.state import state

LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))


@pytest.fixture(autouse=True)
def english() -> None:
    speak("en")


def blocker(*words: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).parent / "blocker")
    return subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={"LANG": "C.UTF-8", "PATH": "/nowhere"},
    )


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_render_prints_a_script_and_needs_neither_root_nor_the_tool(target: str, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", [rule("192.0.2.0/24", expires=LATER), rule("a.example", number=2)])
    done = blocker("ip", "render", target, "--state", str(kept))
    assert done.returncode == 0, done.stderr
    assert "192.0.2.0/24" in done.stdout
    assert "hanoi, serial 7" in done.stdout
    as_json = json.loads(blocker("ip", "render", target, "--state", str(kept), "--json").stdout)
    assert as_json["script"] == done.stdout


def test_lapsed_rules_are_not_in_the_filter(tmp_path: Path) -> None:
    kept = state(
        tmp_path / "state", [rule("192.0.2.0/24", expires=1), rule("198.51.100.0/24", number=2, expires=LATER)]
    )
    made = blocker("ip", "render", "nftables", "--state", str(kept)).stdout
    assert "192.0.2.0" not in made
    assert "198.51.100.0/24" in made


def test_without_a_release_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    done = blocker("ip", "plan", "nftables", "--state", str(tmp_path))
    assert done.returncode == 1
    assert "there is no accepted release" in done.stderr
    assert "blocker feed pull" in done.stderr


def test_every_bad_line_of_the_exceptions_is_named(tmp_path: Path) -> None:
    kept = state(tmp_path / "state", RULES)
    (tmp_path / "ours").write_text("192.0.2.1\nbogus\n10.0.0.1/8\n")
    done = blocker("ip", "render", "ipset", "--state", str(kept), "--except", str(tmp_path / "ours"))
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert "line 3" in done.stderr
    assert "10.0.0.0/8" in done.stderr
    assert blocker("ip", "render", "ipset", "--state", str(kept), "--except", str(tmp_path)).returncode == 1


def test_a_filter_larger_than_the_limit_is_held_with_the_figures(tmp_path: Path) -> None:
    kept = state(
        tmp_path / "state", [rule("192.0.2.0/24", expires=LATER), rule("2001:db8::/48", number=2, expires=LATER)]
    )
    done = blocker(
        "ip", "render", "nftables", "--state", str(kept), "--max-addresses", "255", "--max-networks", "65535"
    )
    assert done.returncode == 5
    assert "256 IPv4 addresses would be dropped, the limit is 255" in done.stderr
    assert "65536 IPv6 networks of /64" in done.stderr
    exact = ("--max-addresses", "256", "--max-networks", "65536")
    assert blocker("ip", "render", "nftables", "--state", str(kept), *exact).returncode == 0


@pytest.mark.parametrize("prefix", ["10.1.2.0/24", "8.0.0.0/8", "224.0.0.5/32", "fe80::1/128"])
def test_what_crosses_the_floor_is_held_even_if_it_got_into_a_release(prefix: str) -> None:
    rules = [rule(prefix)]
    with pytest.raises(Held, match="not safe") as raised:
        check_safe(rules, False, wanted(rules), 1 << 40, 1 << 70)
    assert raised.value.problems[0].place == prefix
    assert raised.value.exit_code == 5


def test_a_missing_tool_and_a_missing_right_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no-such-tool is not installed"):
        run(["no-such-tool"], "")
    with pytest.raises(Unavailable, match="false refuses") as raised:
        run(["false"], "")
    assert raised.value.kept


TABLES = '{"nftables": [{"table": {"family": "inet", "name": "blocker"}}]}'


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[]",
        "{}",
        '{"nftables": [{"map": {"name": "blocked4_0", "elem": [[{"range": ["x", "y"]}, "spam4"]]}}]}',
        '{"nftables": 1}',
    ],
)
def test_what_nft_never_prints_is_refused_in_one_sentence(said: str) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        nftables.parse(said)
    with pytest.raises(Unavailable, match="cannot be read"):
        nftables.read(lambda command, stdin: said if "table" in command else TABLES, lambda: None)


def test_a_rule_that_does_more_than_drop_by_our_set_does_not_count_as_ours() -> None:
    def table(*expressions: object) -> str:
        chain = {"chain": {"name": "forward", "hook": "forward"}}
        return json.dumps({"nftables": [chain, {"rule": {"chain": "forward", "expr": list(expressions)}}]})

    address = {"payload": {"protocol": "ip", "field": "daddr"}}
    near = {"match": {"op": "==", "left": address, "right": {"range": ["0.0.0.0", "31.255.255.255"]}}}
    counted = {"counter": {"map": {"key": address, "data": "@blocked4_0"}}}
    assert nftables.parse(table(near, counted, {"drop": None})).uses == ("forward:blocked4_0",)
    as_prefix = {"match": {**near["match"], "right": {"prefix": {"addr": "0.0.0.0", "len": 3}}}}
    assert nftables.parse(table(as_prefix, counted, {"drop": None})).uses == ("forward:blocked4_0",)
    assert nftables.parse(table({"accept": None})).uses == ("forward:?",)
    assert nftables.parse(table(near, counted, {"accept": None})).uses == ("forward:?",)
    assert nftables.parse(table(counted, {"drop": None})).uses == ("forward:?",)
    narrowed = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth0"}}
    assert nftables.parse(table(narrowed, near, counted, {"drop": None})).uses == ("forward:?",)
    elsewhere = {"match": {**near["match"], "right": {"range": ["32.0.0.0", "63.255.255.255"]}}}
    assert nftables.parse(table(elsewhere, counted, {"drop": None})).uses == ("forward:?",)
    by_source = {"counter": {"map": {"key": {"payload": {"protocol": "ip", "field": "saddr"}}, "data": "@blocked4_0"}}}
    assert nftables.parse(table(near, by_source, {"drop": None})).uses == ("forward:?",)


def kernel(held: Filter, *, takes: bool = True) -> tuple[Callable[[Sequence[str], str], str], list[str]]:
    """A kernel that holds `held` as ipset prints it, and the commands that it was given."""
    given: list[str] = []

    def act(command: Sequence[str], stdin: str) -> str:
        given.append(" ".join(command))
        if command[1] == "restore" and not takes:
            raise Unavailable("no")
        if command[1] == "save":
            return "".join(
                f"add blocked4 {Prefix(4, s.first, 32)}\n" for s in held.blocked4 if command[2] == "blocked4"
            )
        return "blocked4\nblocked6\n" if command[1] == "list" else ""

    return act, given


def test_a_plan_that_changes_nothing_runs_no_tool() -> None:
    held = Filter(merged([(5, 5)]))
    act, given = kernel(held)
    target = TARGETS["ipset"]
    plan = target.plan(7, held, (), act)
    assert plan.empty
    given.clear()
    assert target.apply(plan, (), [], act).filter == held
    assert given == []


def test_a_kernel_that_holds_something_else_afterwards_is_reported() -> None:
    act, _given = kernel(Filter(merged([(5, 5)])))
    target = TARGETS["ipset"]
    with pytest.raises(Unavailable, match="something else than it was just given"):
        target.apply(target.plan(7, Filter(merged([(6, 6)])), (), act), (), [], act)


def test_a_failed_load_is_tidied_up() -> None:
    act, given = kernel(Filter(), takes=False)
    target = TARGETS["ipset"]
    with pytest.raises(Unavailable):
        target.apply(target.plan(7, Filter(merged([(6, 6)])), (), act), (), [], act)
    assert given[-2:] == ["ipset destroy blocked4_new", "ipset destroy blocked6_new"]


def test_the_checksum_tells_what_changed() -> None:
    one, two = Filter(merged([(1, 1)])), Filter(merged([(2, 2)]))

    def plan(serial: int, held: Filter, wish: Filter) -> Plan:
        return Plan("nftables", serial, InKernel(held, (), {}), wish, ())

    seen = plan(7, one, two).checksum
    plan(7, one, two).check(seen)
    for changed, says in (
        (plan(8, one, two), "the release is now 8, it was 7"),
        (plan(7, two, two), "what nftables holds was changed"),
        (plan(7, one, one), "what is wanted changed"),
    ):
        with pytest.raises(Held, match=says):
            changed.check(seen)
    for nonsense in ("", "x", "ipset-7-a-b", seen + "-", "-" * 9):
        with pytest.raises(Held, match="no checksum of a plan for nftables"):
            plan(7, one, two).check(nonsense)


def test_counts_do_not_hide_what_a_filter_cannot_carry_out() -> None:
    rules: list[Rule] = [rule("192.0.2.0/24"), rule("198.51.100.0/24", Action.NODATA, number=2)]
    made = wanted(rules, [Prefix.of_text("192.0.2.0/25"), Prefix.of_text("203.0.113.0/24")])
    assert (made.rules, made.dns_only) == (2, 1)
    assert made.excepted == {4: 128, 6: 0}
    assert ipset.script(made.filter).count("add blocked4_new") == 1


@pytest.mark.interop
def test_metrics_keep_the_time_of_the_last_apply_and_are_what_promtool_likes(
    tmp_path: Path, need_program: Callable[[str, str], str]
) -> None:
    path = tmp_path / "filter.prom"
    held = wanted(RULES).filter
    uses = nftables.uses(["forward"])
    plan = Plan("nftables", 7, InKernel(held, uses, {"gambling4": Count(3, 180)}), held, uses)
    metrics.write(path, plan, NOW, NOW)
    metrics.write(path, plan, NOW)
    written = path.read_text()
    values = {sample.name: sample.value for f in text_string_to_metric_families(written) for sample in f.samples}
    assert values["blocker_ipfilter_applied_timestamp_seconds"] == NOW.timestamp()
    assert 'blocker_ipfilter_prefixes{family="ipv6",target="nftables"} 2.0' in written
    where = '{category="gambling",family="ipv4",target="nftables"}'
    assert f"blocker_ipfilter_dropped_packets_total{where} 3.0" in written
    assert f"blocker_ipfilter_dropped_bytes_total{where} 180.0" in written
    assert list(tmp_path.iterdir()) == [path]
    promtool = need_program("promtool", "prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=written, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_an_unwritable_metrics_file_is_one_sentence(tmp_path: Path) -> None:
    plan = Plan("nftables", 7, InKernel(Filter(), (), {}), Filter(), ())
    with pytest.raises(Unavailable):
        metrics.write(tmp_path / "none" / "filter.prom", plan, NOW)
