"""The command's metrics, for node_exporter's textfile collector: the file is there whole or not at all."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from feeds import durable
from feeds.ipfilter.plan import Plan, address_count, prefix_count
from feeds.ipfilter.wanted import BITS

_APPLIED = "blocker_ipfilter_applied_timestamp_seconds"


def text(plan: Plan, now: datetime, applied: float) -> bytes:
    """The metrics of a plan made at `now`; `applied` is the Unix time of the last apply, 0 is never."""
    registry = CollectorRegistry()
    registry.register(_Families(plan, now, applied))
    return generate_latest(registry)


def write(path: Path, plan: Plan, now: datetime, applied: datetime | None = None) -> None:
    """Write the file; without `applied` the time in the file that is there stays. Raises Unavailable."""
    with durable.told():
        durable.write(path, text(plan, now, applied.timestamp() if applied else _last_applied(path)))


class _Families(Collector):
    def __init__(self, plan: Plan, now: datetime, applied: float) -> None:
        self._plan, self._now, self._applied = plan, now, applied

    def collect(self) -> Iterator[Metric]:
        plan = self._plan
        by_version = {f"ipv{version}": version for version in BITS}
        yield _gauge(
            "prefixes",
            "Prefixes that the kernel drops.",
            "family",
            {family: prefix_count(plan.held.filter, version) for family, version in by_version.items()},
        )
        yield _gauge(
            "addresses",
            "Addresses that the kernel drops.",
            "family",
            {family: address_count(plan.held.filter, version) for family, version in by_version.items()},
        )
        changes = plan.changes()
        yield _gauge(
            "pending_prefixes",
            "Changes that an apply would make.",
            "change",
            {
                "added": sum(len(change.added) for change in changes),
                "removed": sum(len(change.removed) for change in changes),
            },
        )
        drops = CounterMetricFamily("blocker_ipfilter_dropped_packets", "Packets dropped by a set.", labels=["set"])
        for name, count in plan.held.packets.items():
            drops.add_metric([name], count)
        yield drops
        if plan.uses:
            in_place = plan.held.uses == plan.uses
            yield _single("rules_in_place", "1 if every rule that drops by the sets is in its place.", in_place)
        yield _single("serial", "Serial of the release that the kernel was compared with.", plan.serial)
        yield _single("checked_timestamp_seconds", "When kernel and release were compared.", self._now.timestamp())
        yield _single("applied_timestamp_seconds", "When a plan was last applied; 0 is never.", self._applied)


def _gauge(name: str, says: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(f"blocker_ipfilter_{name}", says, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _single(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(f"blocker_ipfilter_{name}", says, value=value)


def _last_applied(path: Path) -> float:
    try:
        families = text_string_to_metric_families(path.read_text("utf-8"))
        return max((s.value for f in families for s in f.samples if s.name == _APPLIED), default=0.0)
    except (FileNotFoundError, ValueError):
        return 0.0
