"""The command's metrics, for node_exporter's textfile collector: the file is there whole or not at all."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from feeds import durable
from feeds.ipfilter.filter import BITS
from feeds.ipfilter.plan import Plan, address_count, prefix_count

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
        plan, held = self._plan, self._plan.held
        families = {f"ipv{version}": version for version in BITS}
        yield self._gauge(
            "prefixes",
            "Prefixes that the target drops.",
            "family",
            {family: prefix_count(held.filter, version) for family, version in families.items()},
        )
        yield self._gauge(
            "addresses",
            "Addresses that the target drops.",
            "family",
            {family: address_count(held.filter, version) for family, version in families.items()},
        )
        changes = plan.changes()
        pending = {
            "added": sum(len(change.added) for change in changes),
            "removed": sum(len(change.removed) for change in changes),
        }
        yield self._gauge("pending_prefixes", "Changes that an apply would make.", "change", pending)
        yield from self._drops()
        if plan.uses:
            in_place = held.uses == plan.uses
            yield self._single("rules_in_place", "1 if every rule that drops by the sets is in its place.", in_place)
        yield self._single("serial", "Serial of the release that the target was compared with.", plan.serial)
        checked = self._now.timestamp()
        yield self._single("checked_timestamp_seconds", "When target and release were compared.", checked)
        yield self._single("applied_timestamp_seconds", "When a plan was last applied; 0 is never.", self._applied)

    def _drops(self) -> Iterator[Metric]:
        labels = ["category", "family", "target"]
        packets = CounterMetricFamily("blocker_ipfilter_dropped_packets", "Packets dropped.", labels=labels)
        octets = CounterMetricFamily("blocker_ipfilter_dropped_bytes", "Bytes of the packets dropped.", labels=labels)
        for name, count in sorted(self._plan.held.counts.items()):
            where = [name[:-1], f"ipv{name[-1]}", self._plan.target]
            packets.add_metric(where, count.packets)
            octets.add_metric(where, count.octets)
        yield from (packets, octets)

    def _gauge(self, name: str, says: str, label: str, values: dict[str, int]) -> Metric:
        family = GaugeMetricFamily(f"blocker_ipfilter_{name}", says, labels=[label, "target"])
        for value, number in values.items():
            family.add_metric([value, self._plan.target], number)
        return family

    def _single(self, name: str, says: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"blocker_ipfilter_{name}", says, labels=["target"])
        family.add_metric([self._plan.target], value)
        return family


def _last_applied(path: Path) -> float:
    try:
        families = text_string_to_metric_families(path.read_text("utf-8"))
        return max((s.value for f in families for s in f.samples if s.name == _APPLIED), default=0.0)
    except (FileNotFoundError, ValueError):
        return 0.0
