"""ipset in the kernel: the sets, used by the operator's own rule, drop what is listed and nothing else."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feeds.ipfilter import ipset
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.wanted import wanted
from feeds.rule import Action, Category, hours
from tests.golden.sample import RULES, rule
from tests.golden.state import state
from tests.interop.forwarding import Network, forwarding

pytestmark = [pytest.mark.interop, pytest.mark.root]

LISTED, NEIGHBOUR, LISTED6, NEIGHBOUR6 = "198.51.100.7", "198.51.100.8", "2001:db8:1::5", "2001:db8:1::6"
LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))
LIST = (
    rule("198.51.100.0/29", number=1, expires=LATER),
    rule("198.51.100.3/32", Action.PASSTHRU, number=2, expires=LATER),
    rule(f"{LISTED6}/128", number=3, expires=LATER, category=Category.PHISHING),
    rule(f"{NEIGHBOUR}/32", number=4, limits="tcp/80", expires=LATER),
)


@pytest.fixture
def network(need_root: None, need_program: Callable[[str, str], str]) -> Iterator[Network]:
    for program, package in (("ipset", "ipset"), ("iptables", "iptables"), ("ip", "iproute2")):
        need_program(program, package)
    with forwarding([LISTED, NEIGHBOUR, LISTED6, NEIGHBOUR6]) as made:
        yield made


def applied(network: Network, kept: Path) -> dict[str, object]:
    done = network.blocker("ip", "plan", "ipset", "--state", str(kept), "--json")
    assert done.returncode == 0, done.stderr
    plan: dict[str, object] = json.loads(done.stdout)
    checksum = str(plan["checksum"])
    done = network.blocker("ip", "apply", "ipset", "--state", str(kept), "--checksum", checksum)
    assert done.returncode == 0, done.stderr
    return plan


def use(network: Network) -> None:
    for hint in ipset.rules_hint():
        done: subprocess.CompletedProcess[str] = network.inside(network.router, *hint.split())
        assert done.returncode == 0, done.stderr


def test_the_sets_drop_through_the_rules_that_the_command_suggests(network: Network, tmp_path: Path) -> None:
    plan = applied(network, state(tmp_path / "state", LIST))
    assert "left out, since ipset cannot say it: rules limited to ports" in str(plan["notes"])
    assert network.reaches(LISTED), "a set alone drops nothing"
    use(network)
    assert not network.reaches(LISTED)
    assert network.reaches(NEIGHBOUR, 80)
    assert not network.reaches(LISTED6)
    assert network.reaches(NEIGHBOUR6)
    counted = network.inside(network.router, "iptables", "-L", "FORWARD", "-v", "-n", "-x").stdout
    packets = int(next(line for line in counted.splitlines() if "blocked4" in line).split()[0])
    assert packets > 0
    metrics = tmp_path / "filter.prom"
    words = ("ip", "plan", "ipset", "--state", str(tmp_path / "state"), "--metrics-file", str(metrics))
    assert network.blocker(*words).returncode == 0
    where = 'category="gambling",family="ipv4",target="ipset"'
    assert f"blocker_ipfilter_dropped_packets_total{{{where}}} {float(packets)}" in metrics.read_text()
    six = float(re.findall(r'packets_total{category="phishing",family="ipv6",.*} (.*)', metrics.read_text())[0])
    assert six > 0


def test_a_new_release_is_swapped_in_under_rules_that_use_the_sets(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)
    applied(network, kept)
    use(network)
    state(kept, [rule(f"{NEIGHBOUR}/32", expires=LATER)], serial=8)
    applied(network, kept)
    assert network.reaches(LISTED)
    assert not network.reaches(NEIGHBOUR)
    names = network.inside(network.router, "ipset", "list", "-n").stdout.split()
    assert sorted(names) == ["blocked4", "blocked6"], "nothing is left behind"


def test_a_failing_script_leaves_both_old_sets_whole(network: Network, tmp_path: Path) -> None:
    applied(network, state(tmp_path / "state", LIST))
    before = network.inside(network.router, "ipset", "save").stdout
    script = ipset.script(wanted(LIST[2:]).filter).replace(
        f"add blocked6_new {LISTED6}/128", "add blocked6_new nonsense"
    )
    assert network.inside(network.router, "ipset", "restore", stdin=script).returncode != 0
    after = network.inside(network.router, "ipset", "save").stdout
    assert [line for line in after.splitlines() if "_new" not in line] == before.splitlines()
    # What is left of it is no obstacle to the next apply.
    applied(network, state(tmp_path / "state", LIST[2:], serial=8))


def test_a_foreign_set_of_our_name_is_not_touched(network: Network, tmp_path: Path) -> None:
    network.inside(network.router, "ipset", "create", "blocked4", "hash:ip")
    done = network.blocker("ip", "plan", "ipset", "--state", str(state(tmp_path / "state", LIST)))
    assert done.returncode == 1
    assert "of type hash:ip, not hash:net" in done.stderr


def test_ipset_takes_the_golden_script(network: Network) -> None:
    path = Path(__file__).parent.parent / "golden" / "blocker.ipset"
    assert path.read_text() == ipset.script(wanted(RULES).filter, ["hanoi, serial 7"])
    done = network.inside(network.router, "ipset", "restore", stdin=path.read_text())
    assert done.returncode == 0, done.stderr
    held = ipset.read(lambda command, stdin: network.inside(network.router, *command, stdin=stdin).stdout)
    assert held.filter == ipset.sayable(wanted(RULES).filter)


def test_entries_lapse_by_themselves_when_nobody_renews_them(network: Network, tmp_path: Path) -> None:
    made = ipset.sayable(wanted(LIST).filter)
    lasting = ((3, Filter(made.blocked4)), (3600, Filter((), made.blocked6)))
    done = network.inside(network.router, "ipset", "restore", stdin=ipset.script(made, (), lasting))
    assert done.returncode == 0, done.stderr
    use(network)
    held = ipset.read(lambda command, stdin: network.inside(network.router, *command, stdin=stdin).stdout)
    assert held.filter == made
    assert held.left_seconds is not None
    assert 3500 < held.left_seconds <= 3600
    assert not network.reaches(LISTED)
    time.sleep(3.5)
    assert network.reaches(LISTED)
    assert not network.reaches(LISTED6)


def test_a_lifetime_is_carried_and_a_fresh_one_needs_nothing(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)

    def planned(*options: str) -> dict[str, object]:
        made: dict[str, object] = json.loads(
            network.blocker("ip", "plan", "ipset", "--state", str(kept), "--json", *options).stdout
        )
        return made

    words = ("ip", "apply", "ipset", "--state", str(kept), "--lifetime", "2")
    checksum = str(planned("--lifetime", "2")["checksum"])
    assert network.blocker(*words, "--checksum", checksum).returncode == 0
    assert planned("--lifetime", "2")["empty"] is True
    assert planned("--lifetime", "8")["renewed"] is True
    assert planned()["renewed"] is True
