"""iptables in the kernel: the chain, used by the operator's own rule, drops what is listed, ports included."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feeds.ipfilter import iptables
from feeds.rule import hours
from tests.golden.sample import rule
from tests.golden.state import state
from tests.interop.forwarding import Network, forwarding

pytestmark = [pytest.mark.interop, pytest.mark.root]

LISTED, NEIGHBOUR, LIMITED = "198.51.100.7", "198.51.100.8", "198.51.100.9"
LISTED6, NEIGHBOUR6 = "2001:db8:1::5", "2001:db8:1::6"
LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))
LIST = (
    rule(f"{LISTED}/32", number=1, expires=LATER),
    rule(f"{LIMITED}/32", number=2, limits="tcp/80,8000-8100", expires=LATER),
    rule(f"{LISTED6}/128", number=3, expires=LATER),
)


@pytest.fixture
def network(need_root: None, need_program: Callable[[str, str], str]) -> Iterator[Network]:
    need_program("iptables", "iptables")
    need_program("ip", "iproute2")
    with forwarding([LISTED, NEIGHBOUR, LIMITED, LISTED6, NEIGHBOUR6]) as made:
        yield made


def test_the_chain_drops_what_is_listed_and_forgets_what_is_not(network: Network, tmp_path: Path) -> None:
    kept = state(tmp_path / "state", LIST)

    def applied() -> dict[str, object]:
        plan: dict[str, object] = json.loads(
            network.blocker("ip", "plan", "iptables", "--state", str(kept), "--json").stdout
        )
        words = ("ip", "apply", "iptables", "--state", str(kept), "--checksum", str(plan["checksum"]))
        done = network.blocker(*words)
        assert done.returncode == 0, done.stderr
        return plan

    assert applied()["notes"] == [f"used by a rule of yours, such as: {rule}" for rule in iptables.rules_hint()]
    for hint in iptables.rules_hint():
        assert network.inside(network.router, *hint.split()).returncode == 0
    assert not network.reaches(LISTED)
    assert network.reaches(NEIGHBOUR)
    assert not network.reaches(LIMITED, 80)
    assert not network.reaches(LIMITED, 8050)
    assert network.reaches(LIMITED, 443)
    assert not network.reaches(LISTED6)
    assert network.reaches(NEIGHBOUR6)
    assert applied()["empty"] is True

    state(kept, LIST[1:2], serial=8)
    applied()
    assert network.reaches(LISTED)
    assert network.reaches(LISTED6)
    assert not network.reaches(LIMITED, 80)
