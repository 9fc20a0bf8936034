"""The written forms: golden files, what each must never say, and the command around them."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.ipfilter.filter import Filter
from feeds.ipfilter.intervals import intersect, merged
from feeds.ipfilter.lifetime import lifetimes
from feeds.ipfilter.routers import FORMS
from feeds.ipfilter.routers.form import Order, Setup
from feeds.ipfilter.routers.junos import MOST_ENTRIES
from feeds.ipfilter.wanted import wanted
from feeds.rule import Action, hours
from tests.feeds.test_ipfilter import blocker
from tests.golden.sample import NOW, RULES, rule
from tests.golden.state import state

GOLDEN = Path(__file__).parent.parent / "golden" / "routers"
HOPS = {4: "192.0.2.1", 6: "100::1"}
LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))
HOPS_WORDS = ("--next-hop", "192.0.2.1", "--next-hop", "100::1")
SETUP = Setup(True, True, HOPS, 64512, "127.0.0.1", 64513, "127.0.0.3")


def order(rtbh: bool = False, flowspec: bool = False, rules: tuple[object, ...] = RULES) -> Order:
    made = wanted(rules).filter  # type: ignore[arg-type]
    lasting = lifetimes(rules, (), int(NOW.timestamp()), 24 * 3600)  # type: ignore[arg-type]
    return Order(made, 7, hours(NOW), rtbh, flowspec, HOPS, lasting)


def whole(name: str, rtbh: bool = False, flowspec: bool = False) -> str:
    return "".join(f"{line}\n" for line in FORMS[name].write(order(rtbh, flowspec)))


def cases() -> list[tuple[str, str, bool, bool]]:
    found = []
    for name, form in FORMS.items():
        if not form.must_announce:
            found.append((name, name, False, False))
        if form.announces:
            found.append((f"{name}-bgp", name, "rtbh" in form.announces, "flowspec" in form.announces))
    return found


@pytest.mark.parametrize(("file", "name", "rtbh", "flowspec"), cases(), ids=lambda value: str(value))
def test_every_form_writes_its_golden_file(file: str, name: str, rtbh: bool, flowspec: bool) -> None:
    assert whole(name, rtbh=rtbh, flowspec=flowspec) == (GOLDEN / f"{file}.txt").read_text()


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_target_prints_what_is_pasted_once(name: str) -> None:
    form = FORMS[name]
    setup = Setup("rtbh" in form.announces, "flowspec" in form.announces, HOPS, 64512, "127.0.0.1", 64513, "127.0.0.3")
    assert "".join(f"{line}\n" for line in form.setup(setup)) == (GOLDEN / f"{name}.config.txt").read_text()


@pytest.mark.parametrize(("file", "name", "rtbh", "flowspec"), cases(), ids=lambda value: str(value))
def test_what_is_limited_to_ports_is_never_written_as_a_whole_address(
    file: str, name: str, rtbh: bool, flowspec: bool
) -> None:
    for line in whole(name, rtbh=rtbh, flowspec=flowspec).splitlines():
        if "198.51.100.7" in line:
            assert re.search(r"port|dport", line), line
    assert ("198.51.100.7" in whole(name, rtbh=rtbh, flowspec=flowspec)) == (flowspec or name == "iptables")


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if "rtbh" in form.announces])
def test_blackhole_routes_carry_both_communities(name: str) -> None:
    form = FORMS[name]
    said = whole(name, rtbh=True) + "\n".join(form.setup(SETUP))
    assert re.search(r"65535[:, ]+666", said)
    assert re.search(r"65535[:, ]+65281|no-export", said)
    assert "192.0.2.1" in said
    assert "100::1" in said


@pytest.mark.parametrize("name", ["ios", "frr", "arista", "huawei"])
def test_an_empty_prefix_list_denies_everything_since_a_missing_one_permits_it(name: str) -> None:
    said = "\n".join(FORMS[name].write(order(rules=())))
    assert "permit" not in said
    assert len(re.findall(r"deny (?:0\.0\.0\.0[/ ]0|::[/ ]0)", said)) == 2


def test_a_junos_list_never_passes_its_limit_and_every_list_is_in_the_filter() -> None:
    many = Filter(merged((2 * n, 2 * n) for n in range(1 << 24, (1 << 24) + MOST_ENTRIES + 1)))
    said = "\n".join(FORMS["junos"].write(Order(many, 7, 0)))
    sizes = [part.count("/32;") for part in said.split("prefix-list blocked4-")[1:3]]
    assert sizes == [MOST_ENTRIES, 1]
    assert "blocked4-1;" in said
    assert "blocked4-2;" in said
    assert "from {" not in said.split("filter blocker6")[1], "an empty `from` would discard everything"


def test_routeros_fills_a_new_list_with_timeouts_before_the_rule_is_pointed_at_it() -> None:
    lines = whole("routeros").splitlines()
    added = [n for n, line in enumerate(lines) if " add list=" in line]
    swapped = [n for n, line in enumerate(lines) if " raw set " in line]
    assert added
    assert max(added) < min(swapped)
    assert all(re.search(r"timeout=\d+s$", lines[n]) for n in added)
    assert any(line.startswith("/ipv6 firewall address-list add") for line in lines)


def test_routeros_parts_hold_at_most_500_lines_and_older_parts_go(tmp_path: Path) -> None:
    rules = [rule(f"2001:db8::{2 * n + 2:x}/128", number=n + 1, expires=LATER) for n in range(512)]
    into, kept = tmp_path / "parts", tmp_path / "state"
    words = ("ip", "render", "routeros", "--state", str(kept), "--into", str(into), "--json")
    state(kept, rules)
    files = json.loads(blocker(*words).stdout)["files"]
    assert len(files) == 2
    assert all(len(Path(file).read_text().splitlines()) <= 500 for file in files)
    state(kept, rules[:3], serial=8)
    assert len(json.loads(blocker(*words).stdout)["files"]) == 1
    assert len(list(into.iterdir())) == 1


@pytest.mark.parametrize(
    ("target", "words", "says"),
    [
        ("exabgp", (), "choose --rtbh, --flowspec or both"),
        ("gobgp", ("--rtbh",), "--rtbh needs --next-hop"),
        ("gobgp", ("--rtbh", "--next-hop", "router1"), "is no address"),
        ("pf", ("--rtbh", *HOPS_WORDS), "bird, frr, exabgp, gobgp, ios, iosxr, junos, huawei, nokia, arista"),
        ("frr", ("--flowspec",), "announce it with bird, exabgp or gobgp"),
        ("nftables", ("--flowspec",), "does not know --flowspec"),
        ("plain", ("--previous", "x"), "--previous is not needed"),
    ],
)
def test_what_a_target_cannot_do_is_wrong_usage_with_a_way_out(
    target: str, words: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    done = blocker("ip", "render", target, "--state", str(tmp_path), *words)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())


@pytest.mark.parametrize("target", ["ios", "bird", "plain"])
def test_left_out_ports_are_said(target: str, tmp_path: Path) -> None:
    kept = state(
        tmp_path / "state",
        [rule("192.0.2.7/32", limits="tcp/80", expires=LATER), rule("192.0.2.9/32", number=2, expires=LATER)],
    )
    words = ("ip", "render", target, "--state", str(kept))
    if target != "bird":
        assert f"since {target} cannot say it: rules limited to ports" in blocker(*words).stdout
    else:
        assert "left out: rules limited to ports; --flowspec announces them" in blocker(*words).stdout
        assert "rules limited to ports" not in blocker(*words, "--flowspec").stdout


@pytest.mark.parametrize(
    ("target", "gone", "stays"),
    [
        ("exabgp", "withdraw route 192.0.2.7/32", "announce route 192.0.2.9/32"),
        ("gobgp", "gobgp global rib del -a ipv4 192.0.2.7/32", "gobgp global rib add -a ipv4 192.0.2.9/32"),
        ("frr", "no ip route 192.0.2.7/32 Null0 tag 666", "ip route 192.0.2.9/32 Null0 tag 666"),
        ("ios", "no ip route 192.0.2.7 255.255.255.255 Null0 tag 666", "ip route 192.0.2.9 255.255.255.255"),
        ("arista", "no ip route 192.0.2.7/32 Null0 tag 666", "ip route 192.0.2.9/32 Null0 tag 666"),
        (
            "iosxr",
            "no router static address-family ipv4 unicast 192.0.2.7/32 Null0 tag 666",
            "router static address-family ipv4 unicast 192.0.2.9/32 Null0",
        ),
        ("huawei", "undo ip route-static 192.0.2.7 32 NULL0", "ip route-static 192.0.2.9 32 NULL0 tag 666"),
        (
            "junos",
            "delete routing-options static route 192.0.2.7/32",
            "set routing-options static route 192.0.2.9/32 discard tag 666",
        ),
        (
            "nokia",
            'delete /configure router "Base" static-routes route 192.0.2.7/32 route-type unicast',
            "static-routes route 192.0.2.9/32 route-type unicast blackhole admin-state enable tag 666",
        ),
    ],
)
def test_previous_takes_back_what_is_gone_and_repeats_nothing(
    target: str, gone: str, stays: str, tmp_path: Path
) -> None:
    seven, nine, more = (rule(f"192.0.2.{n}/32", number=n, expires=LATER) for n in (7, 9, 11))
    kept, last = tmp_path / "state", tmp_path / "last"
    words = ("ip", "render", target, "--rtbh", *HOPS_WORDS, "--state", str(kept))
    state(kept, [seven, nine])
    last.write_text(blocker(*words).stdout)
    assert stays in last.read_text()
    state(kept, [nine, more], serial=8)
    said = blocker(*words, "--previous", str(last)).stdout
    assert gone in said
    assert "192.0.2.9" not in said
    assert "192.0.2.11" in said


def test_config_needs_what_bgp_needs() -> None:
    done = blocker("ip", "config", "--for", "bird", "--rtbh", *HOPS_WORDS)
    assert done.returncode == 2
    assert "needs --asn and --peer" in done.stderr
    good = blocker("ip", "config", "--for", "bird", "--rtbh", *HOPS_WORDS, "--asn", "64512", "--peer", "10.0.0.1")
    assert "neighbor 10.0.0.1 as 64512;" in good.stdout


ends = st.lists(
    st.tuples(st.integers(0, 15), st.integers(28, 32), st.integers(1, 30), st.sampled_from([*Action][:3])), max_size=8
)


@given(ends, st.integers(1, 24))
def test_no_entry_outlives_a_rule_that_it_needs(found: list[tuple[int, int, int, Action]], longest: int) -> None:
    now = hours(NOW)
    rules = []
    for number, (low, length, lasts, action) in enumerate(found, 1):
        keep = low >> (32 - length) << (32 - length)
        rules.append(rule(f"192.0.2.{keep}/{length}", action, number=number, expires=now + lasts))
    moment = int((NOW.replace(minute=0)).timestamp())
    parts = lifetimes(rules, (), moment, longest * 3600)
    assert merged(span for _s, part in parts for span in part.blocked4) == wanted(rules).filter.blocked4
    for hour in range(longest):
        alive = [one for one in rules if one.expires > now + hour]
        held = merged(span for seconds, part in parts if seconds > hour * 3600 for span in part.blocked4)
        assert intersect(held, wanted(alive).filter.blocked4) == held, timedelta(hours=hour)


def write_golden(write: Callable[[Path, str], object]) -> None:
    """Write the golden files anew; `write` is `Path.write_text`."""
    for file, name, rtbh, flowspec in cases():
        write(GOLDEN / f"{file}.txt", whole(name, rtbh=rtbh, flowspec=flowspec))
    for name, form in FORMS.items():
        setup = Setup(
            "rtbh" in form.announces, "flowspec" in form.announces, HOPS, 64512, "127.0.0.1", 64513, "127.0.0.3"
        )
        write(GOLDEN / f"{name}.config.txt", "".join(f"{line}\n" for line in form.setup(setup)))
