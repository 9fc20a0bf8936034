"""The real lists: judged fast, nothing refused that should not be, what is told stays what was looked at."""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from blocker.guard import Guard
from blocker.sheet import parse_targets
from tests.blocker.guard_case import guard, guard_cache

__all__ = ["guard", "guard_cache"]
LISTS = ("gambling-vn.domains.txt.gz", "threat-vn.domains.txt", "gambling-vn.ipv4.txt")


@pytest.mark.data
def test_the_three_lists_are_judged_in_under_30_seconds_and_none_is_refused(
    guard: Guard, real_list: Callable[[str], list[str]]
) -> None:
    targets = [parsed.target for name in LISTS for line in real_list(name) for parsed in parse_targets(line)]
    assert len(targets) == 72_283
    guard.judge(targets[0])
    started = time.perf_counter()
    counts = Counter(finding.rule for one in targets for finding in guard.judge(one))
    assert time.perf_counter() - started < 30
    refused = {rule for rule in counts if rule.startswith("floor.")} | counts.keys() & {
        "guard.dns-infrastructure",
        "guard.public-resolver",
        "guard.vietnam",
        "guard.captive-portal",
        "guard.certificate-status",
    }
    assert not refused
    assert counts["guard.popular-top"] >= 20, "bet365.com and its like need a second look"
    assert counts["guard.shared-address"] >= 90
    assert counts["guard.popular"] >= 1_000
    clean = sum(not guard.judge(one) for one in targets[::50])
    assert clean > len(targets) / 50 * 0.9, "a guard that warns of everything is not read"


@pytest.mark.data
@pytest.mark.slow
def test_a_million_names_are_judged_in_under_two_minutes(guard: Guard, real_list: Callable[[str], list[str]]) -> None:
    started = time.perf_counter()
    judged = sum(
        1 for line in real_list("malware.domains.txt.gz") for p in parse_targets(line) if guard.judge(p.target) or 1
    )
    assert judged == 1_109_721
    assert time.perf_counter() - started < 120
