"""What Prometheus is shown of foreign zones; their names are settings of the operator's, not names that are blocked."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from resolver.frames import ZoneLoaded

TRIGGERS = ("qname", "ip", "client-ip")


def checked_at(zone: ZoneLoaded) -> float:
    """When its primary was last heard, in seconds since 1970; 0 for a file."""
    try:
        return Path(zone.checked).stat().st_mtime if zone.checked else 0.0
    except OSError:
        return 0.0


def zone_metrics(zones: Iterable[ZoneLoaded], met: Mapping[tuple[str, str, str], int]) -> Iterator[Metric]:
    """`met`: matches by zone, trigger and action."""
    zones = tuple(zones)
    if not zones:
        return
    gauges = (
        ("serial", "Serial of the zone's SOA record; 0 while there is none.", lambda zone: zone.serial),
        ("rules", "Rules of the zone.", lambda zone: zone.rules),
        ("changed_timestamp_seconds", "When the records in force came; 0 if unknown.", lambda zone: zone.changed_at),
        ("checked_timestamp_seconds", "When its primary was last heard; 0 for a file.", checked_at),
        ("stale", "1 while older records stay in force, since no newer ones are to be had.", lambda z: bool(z.problem)),
    )
    for name, text, read in gauges:
        family = GaugeMetricFamily(f"blocker_dns_zone_{name}", text, labels=["zone"])
        for zone in zones:
            family.add_metric([zone.name], read(zone))
        yield family
    skipped = GaugeMetricFamily(
        "blocker_dns_zone_skipped_records", "Records of the zone that no rule was made of.", labels=["zone", "reason"]
    )
    for zone in zones:
        for reason, count in zone.skipped.items():
            skipped.add_metric([zone.name, reason], count)
    yield skipped
    matches = CounterMetricFamily(
        "blocker_dns_zone_matches", "Queries that met a rule of the zone.", labels=["zone", "trigger", "action"]
    )
    names = {zone.name for zone in zones}
    seen = {**{(name, trigger, "nxdomain"): 0 for name in names for trigger in TRIGGERS}, **met}
    for (name, trigger, action), count in sorted(seen.items()):
        if name in names:
            matches.add_metric([name, trigger, action], count)
    yield matches
