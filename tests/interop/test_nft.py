"""nftables in the kernel: what is listed is dropped on the way through, its neighbour passes, counters move."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feeds.ipfilter import nftables
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.kernel import InKernel
from feeds.ipfilter.wanted import wanted
from feeds.rule import Action, Category, hours
from tests.golden.sample import RULES, rule
from tests.golden.state import state
from tests.interop.forwarding import Network, forwarding

pytestmark = [pytest.mark.interop, pytest.mark.root]

LISTED, NEIGHBOUR, LIMITED = "198.51.100.7", "198.51.100.8", "198.51.100.9"
INSIDE, FREED = "203.0.113.70", "203.0.113.71"
LISTED6, NEIGHBOUR6 = "2001:db8:1::5", "2001:db8:1::6"
LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))
LIST = (
    rule(f"{LISTED}/32", number=1, expires=LATER),
    rule(f"{LIMITED}/32", number=2, limits="tcp/80,8000-8100", expires=LATER, category=Category.MALWARE),
    rule("203.0.113.64/26", number=3, expires=LATER),
    rule(f"{FREED}/32", Action.PASSTHRU, number=4, expires=LATER),
    rule(f"{LISTED6}/128", number=5, expires=LATER, category=Category.PHISHING),
    rule(f"{NEIGHBOUR6}/128", number=6, limits="tcp/80", expires=LATER),
)


@pytest.fixture
def network(need_root: None, need_program: Callable[[str, str], str]) -> Iterator[Network]:
    need_program("nft", "nftables")
    need_program("ip", "iproute2")
    with forwarding([LISTED, NEIGHBOUR, LIMITED, INSIDE, FREED, LISTED6, NEIGHBOUR6]) as made:
        yield made


def nft_says(network: Network) -> InKernel:
    """What nft prints of the table, which must be what the command reads from the kernel itself."""
    return nftables.read(
        lambda command, stdin: network.inside(network.router, *command, stdin=stdin).stdout, lambda: None
    )


def plan(network: Network, kept: Path, *options: str) -> dict[str, object]:
    done = network.blocker("ip", "plan", "nftables", "--state", str(kept), "--json", *options)
    assert done.returncode == 0, done.stderr
    made: dict[str, object] = json.loads(done.stdout)
    return made


def apply(network: Network, kept: Path, checksum: object, *options: str) -> subprocess.CompletedProcess[str]:
    return network.blocker("ip", "apply", "nftables", "--state", str(kept), "--checksum", str(checksum), *options)


def test_listed_addresses_are_dropped_and_their_neighbours_pass(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)
    assert network.reaches(LISTED)
    assert network.reaches(LISTED6)

    first = plan(network, kept)
    done = apply(network, kept, first["checksum"], "--metrics-file", str(tmp_path / "filter.prom"))
    assert done.returncode == 0, done.stderr

    assert not network.reaches(LISTED)
    assert network.reaches(NEIGHBOUR)
    assert not network.reaches(INSIDE)
    assert network.reaches(FREED), "a pass-through is cut out of the wider prefix"
    assert not network.reaches(LIMITED, 80)
    assert not network.reaches(LIMITED, 8050)
    assert network.reaches(LIMITED, 443)
    assert not network.reaches(LISTED6)
    assert network.reaches(NEIGHBOUR6)
    assert not network.reaches(NEIGHBOUR6, 80)

    counts = nft_says(network).counts
    for name in ("gambling4", "gambling6", "malware4", "phishing6"):
        assert counts[name].packets > 0, (name, counts)
        assert counts[name].octets >= 40 * counts[name].packets, "each packet has at least its headers"
    assert counts["phishing4"].packets == counts["spam4"].packets == 0
    again = plan(network, kept, "--metrics-file", str(tmp_path / "filter.prom"))
    assert again["empty"] is True
    metrics = (tmp_path / "filter.prom").read_text()
    assert 'blocker_ipfilter_prefixes{family="ipv4",target="nftables"}' in metrics
    for name, count in counts.items():
        where = f'{{category="{name[:-1]}",family="ipv{name[-1]}",target="nftables"}}'
        assert f"blocker_ipfilter_dropped_packets_total{where} {float(count.packets)}" in metrics
        assert f"blocker_ipfilter_dropped_bytes_total{where} {float(count.octets)}" in metrics
    assert 'blocker_ipfilter_applied_timestamp_seconds{target="nftables"} 0.0' not in metrics


def test_only_the_plan_that_was_looked_at_is_applied(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)
    seen = plan(network, kept)["checksum"]
    state(kept, LIST[:2], serial=8)
    done = apply(network, kept, seen)
    assert done.returncode == 5
    assert "the release is now 8, it was 7" in done.stderr
    assert network.reaches(LISTED), "nothing was applied"

    assert apply(network, kept, plan(network, kept)["checksum"]).returncode == 0
    seen = plan(network, kept, "--hook", "forward", "--hook", "output")["checksum"]
    network.inside(network.router, "nft", 'add element inet blocker blocked4_6 { 192.0.2.1 : "spam4" }')
    done = apply(network, kept, seen, "--hook", "forward", "--hook", "output")
    assert done.returncode == 5
    assert "what nftables holds was changed" in done.stderr
    assert "the release is now" not in done.stderr


def test_a_shrunken_release_unblocks_and_lost_rules_are_put_back(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)
    assert apply(network, kept, plan(network, kept)["checksum"]).returncode == 0
    network.inside(network.router, "nft", "flush chain inet blocker forward")
    assert network.reaches(LISTED)
    drifted = plan(network, kept)
    assert drifted["rules_in_place"] is False
    assert apply(network, kept, drifted["checksum"]).returncode == 0
    assert not network.reaches(LISTED)

    state(kept, LIST[1:], serial=8)
    smaller = plan(network, kept)
    sets = smaller["sets"]
    assert isinstance(sets, dict)
    assert sets["blocked4"]["removed"] == [f"{LISTED}/32"]
    assert apply(network, kept, smaller["checksum"]).returncode == 0
    assert network.reaches(LISTED)


def test_exceptions_are_never_dropped(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)
    (tmp_path / "ours").write_text(f"# our own\n{LISTED}\n203.0.113.68-203.0.113.70  # NTP\n")
    options = ("--except", str(tmp_path / "ours"))
    assert apply(network, kept, plan(network, kept, *options)["checksum"], *options).returncode == 0
    assert network.reaches(LISTED)
    assert network.reaches(INSIDE)


def test_the_output_hook_holds_the_machine_itself(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)
    options = ("--hook", "output")
    assert apply(network, kept, plan(network, kept, *options)["checksum"], *options).returncode == 0
    assert network.reaches(LISTED), "what is forwarded passes"
    router = Network(network.router, network.router, network.server)
    assert not router.reaches(LISTED)
    assert router.reaches(NEIGHBOUR)


def test_a_failing_transaction_leaves_the_old_filter_whole(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)
    assert apply(network, kept, plan(network, kept)["checksum"]).returncode == 0
    before = network.inside(network.router, "nft", "list", "table", "inet", "blocker").stdout
    broken = nftables.script(wanted(LIST[1:]).filter, ["forward"]) + "add rule inet blocker nowhere drop\n"
    assert network.inside(network.router, "nft", "-f", "-", stdin=broken).returncode != 0
    after = network.inside(network.router, "nft", "list", "table", "inet", "blocker").stdout
    assert [line for line in after.splitlines() if "packets" not in line] == [
        line for line in before.splitlines() if "packets" not in line
    ]


def test_nft_takes_the_golden_script(network: Network) -> None:
    path = Path(__file__).parent.parent / "golden" / "blocker.nft"
    done = network.inside(network.router, "nft", "-c", "-f", str(path))
    assert done.returncode == 0, done.stderr
    assert path.read_text() == nftables.script(wanted(RULES).filter, ["forward"], ["hanoi, serial 7"])


def test_a_lapse_unblocks_by_itself_and_blocks_nothing(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)
    assert apply(network, kept, plan(network, kept)["checksum"]).returncode == 0
    changed = (rule(f"{NEIGHBOUR}/32", number=9, expires=LATER), rule(f"{LIMITED}/32", limits="tcp/80", expires=LATER))
    state(kept, changed, serial=8)
    metrics = tmp_path / "filter.prom"
    lapse = ("ip", "apply", "nftables", "--state", str(kept), "--lapse", "--metrics-file", str(metrics))
    done = network.blocker(*lapse)
    assert done.returncode == 0, done.stderr
    assert "There is more to do" in done.stderr
    assert network.reaches(LISTED)
    assert network.reaches(NEIGHBOUR), "a timer adds nothing that nobody looked at"
    assert not network.reaches(LIMITED, 80)
    assert network.reaches(LIMITED, 8050)
    assert 'blocker_ipfilter_pending_prefixes{change="added",target="nftables"} 1.0' in metrics.read_text()
    assert 'blocker_ipfilter_pending_prefixes{change="removed",target="nftables"} 0.0' in metrics.read_text()


@pytest.mark.parametrize("hook", [("prerouting",), ("ingress", "--device", "to-c")])
def test_hooks_before_routing_drop_what_comes_in(network: Network, tmp_path: Path, hook: tuple[str, ...]) -> None:
    kept = state(tmp_path / "state", LIST)
    options = ("--hook", *hook)
    assert apply(network, kept, plan(network, kept, *options)["checksum"], *options).returncode == 0
    assert not network.reaches(LISTED)
    assert network.reaches(NEIGHBOUR)
    assert not network.reaches(LISTED6)
    assert not network.reaches(LIMITED, 80)
    assert plan(network, kept, *options)["empty"] is True

    # Another place: the old chain goes, in the same transaction.
    elsewhere = ("--hook", "ingress", "--device", "to-s")
    assert plan(network, kept, *elsewhere)["rules_in_place"] is False
    assert apply(network, kept, plan(network, kept, *elsewhere)["checksum"], *elsewhere).returncode == 0
    assert network.reaches(LISTED), "answers come in there, and they are not to a listed address"


def test_a_device_that_is_not_there_changes_nothing(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)
    assert apply(network, kept, plan(network, kept)["checksum"]).returncode == 0
    options = ("--hook", "ingress", "--device", "eth99")
    done = network.blocker("ip", "plan", "nftables", "--state", str(kept), *options)
    assert done.returncode == 1
    assert "there is no network device eth99" in done.stderr
    done = network.blocker("ip", "plan", "nftables", "--state", str(kept), "--hook", "ingress")
    assert done.returncode == 2
    assert not network.reaches(LISTED), "the old filter is still there"


def test_entries_lapse_by_themselves_when_nobody_renews_them(network: Network) -> None:
    made = wanted(LIST).filter
    seconds = 4
    lasting = ((seconds, Filter(made.blocked4, (), made.tcp4)), (3600, Filter((), made.blocked6, (), made.tcp6)))
    script = nftables.script(made, ["forward"], (), lasting)
    done = network.inside(network.router, "nft", "-f", "-", stdin=script)
    assert done.returncode == 0, done.stderr
    assert not network.reaches(LISTED)
    held = nft_says(network)
    assert held.filter == made
    assert held.left_seconds is not None
    assert 3500 < held.left_seconds <= 3600
    time.sleep(seconds)
    assert network.reaches(LISTED)
    assert network.reaches(LIMITED, 80)
    assert not network.reaches(LISTED6)
    assert not network.reaches(NEIGHBOUR6, 80)


def test_a_lifetime_is_carried_and_renewed_when_half_of_it_is_gone(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)
    options = ("--lifetime", "1")
    assert apply(network, kept, plan(network, kept, *options)["checksum"], *options).returncode == 0
    assert plan(network, kept, *options)["empty"] is True
    longer = plan(network, kept, "--lifetime", "3")
    assert (longer["empty"], longer["renewed"]) == (False, True)
    assert plan(network, kept)["renewed"] is True, "without a lifetime, entries shall stay"
    assert apply(network, kept, longer["checksum"], "--lifetime", "3").returncode == 0
    assert plan(network, kept, "--lifetime", "3")["empty"] is True


@pytest.mark.data
def test_the_real_addresses_go_into_the_kernel_and_come_back(
    network: Network, tmp_path: Path, real_list: Callable[[str], list[str]]
) -> None:
    rules = [rule(f"{address}/32", number=n) for n, address in enumerate(real_list("gambling-vn.ipv4.txt"), 1)]
    made = wanted(rules).filter
    done = network.inside(network.router, "nft", "-f", "-", stdin=nftables.script(made, ["forward"]))
    assert done.returncode == 0, done.stderr
    held = nft_says(network)
    assert held.filter == made
    assert held.uses == nftables.uses(["forward"])
