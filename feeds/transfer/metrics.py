"""What Prometheus sees of zone transfers: by zone and by the configured name of a secondary, never by address.

Every series that can exist is there from the start with 0, so that a rate over it is right from the first event on.
How far a secondary lags is left to PromQL, as for a zone whose content has a time and a secondary that has another
serial.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from feeds.message.building import name_text
from feeds.transfer.line import Line
from feeds.transfer.primary import REFUSALS

FORMS = ("axfr", "ixfr")
# A connection too many; a transfer too many; a request too long; a transfer too slow.
QUOTAS = ("connections", "transfers", "request", "slow")
_PAIR = ("secondary", "zone")
Seen = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(slots=True)
class Counts:
    """What one process has counted. Pairs are of a secondary's and a zone's name."""

    transfers: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # secondary, zone, form
    refused: Counter[str] = field(default_factory=Counter)
    over_quota: Counter[str] = field(default_factory=Counter)
    notifies_sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    notifies_acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)


class TransferCollector(Collector):
    """Shows them. `shown` and `seen` are those of `feeds.transfer.watching.Fetched`."""

    def __init__(
        self,
        counts: Counts,
        lines: Mapping[bytes, Line],
        secondaries: Iterable[str],
        shown: Mapping[str, Mapping[str, Any]],
        seen: Seen,
    ) -> None:
        self._counts = counts
        self._lines = {name_text(wire): line for wire, line in lines.items()}
        self._pairs = list(product(secondaries, self._lines))
        self._shown = shown
        self._seen = seen

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, read now."""
        yield _gauge("serial", "Serial of the zone; 0 before the first content.", ("zone",), self._serials())
        changed = {(zone,): _stamp(self._shown.get(zone, {}).get("since")) for zone in self._lines}
        yield _gauge("changed_timestamp_seconds", "Since when the zone has its serial.", ("zone",), changed)
        for name, text, word in (
            ("serial", "Serial that the secondary fetched last.", "serial"),
            ("soa_timestamp_seconds", "When the secondary last asked for the SOA.", "soa"),
            ("transfer_timestamp_seconds", "When the secondary last had a whole answer to AXFR or IXFR.", "transfer"),
        ):
            values = {pair: _number(self._seen.get(pair[0], {}).get(pair[1], {}).get(word)) for pair in self._pairs}
            yield _gauge(f"secondary_{name}", text, _PAIR, values)
        yield from self._counters()

    def _serials(self) -> dict[tuple[str, ...], float]:
        return {(zone,): line.present.serial if line.present else 0 for zone, line in self._lines.items()}

    def _counters(self) -> Iterator[Metric]:
        counts = self._counts
        transfers = {(*pair, form): counts.transfers[*pair, form] for pair in self._pairs for form in FORMS}
        text = "Answers to AXFR and IXFR that were sent whole, by what was asked for."
        yield _counter("transfers", text, (*_PAIR, "form"), transfers)
        for name, text, label, words, counted in (
            ("refused", "Requests that got no data, by reason.", "reason", REFUSALS, counts.refused),
            ("quota_refusals", "Connections ended by a quota.", "quota", QUOTAS, counts.over_quota),
        ):
            yield _counter(name, text, (label,), {(word,): counted[word] for word in words})
        for name, text, told in (
            ("notifies_sent", "NOTIFYs sent, retries too.", counts.notifies_sent),
            ("notifies_acknowledged", "NOTIFYs that were answered.", counts.notifies_acknowledged),
        ):
            yield _counter(name, text, _PAIR, {pair: told[pair] for pair in self._pairs})


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _filled(GaugeMetricFamily(f"blocker_zone_{name}", text, labels=labels), values)


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _filled(CounterMetricFamily(f"blocker_zone_{name}", text, labels=labels), values)


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[Any, float]
) -> GaugeMetricFamily | CounterMetricFamily:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _number(value: Any) -> float:
    """A serial, or a time as Fetched writes it; 0 where there is none yet."""
    return _stamp(value) if isinstance(value, str) else float(value or 0)


def _stamp(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
