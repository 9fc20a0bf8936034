"""What Prometheus sees of a feed: a collector over the state directory, which counts what all processes did there."""

from collections.abc import Iterable
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from feeds.client import RESULTS
from feeds.client.limits import NO_DECISION
from feeds.errors import Failure
from feeds.floor import FLOOR_WORDS
from feeds.store import Accepted, Store

KINDS = ("names", "prefixes")


class FeedCollector(Collector):
    """Reads the directory at each scrape; the release itself only when another one was accepted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._token: tuple[int, int] | None = None
        self._accepted: Accepted | None = None
        self._damaged = False

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when the collector is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All metrics; those of a release are 0 before the first one."""
        self._look()
        found = self._accepted
        manifest = found.manifest if found else None
        yield _gauge("serial", "Serial of the release in force.", manifest.serial if manifest else 0)
        yield _gauge(
            "accepted_timestamp_seconds",
            "When the release in force was accepted.",
            _stamp(found.accepted_at if found else None),
        )
        yield _gauge(
            "issued_timestamp_seconds",
            "When the release in force was signed.",
            _stamp(manifest.issued if manifest else None),
        )
        yield _gauge(
            "expiry_timestamp_seconds", "When the feed expires unless it is signed anew.", _stamp(self._store.expires())
        )
        held = self._store.held()
        yield _gauge("held", "1 while the brake holds a release back.", int(held is not None))
        yield _gauge("held_serial", "Serial of the release that is held back.", held.serial if held else 0)
        yield _gauge("damaged", "1 while files of the release in force are damaged.", int(self._damaged))
        rules = GaugeMetricFamily("blocker_feed_rules", "Rules in the release in force.", labels=["kind"])
        for kind in KINDS:
            rules.add_metric([kind], (found.counts.get(kind, 0) if found else 0))
        yield rules
        refused = GaugeMetricFamily(
            "blocker_feed_refused_rules", "Signed rules that this machine refuses to enforce.", labels=["reason"]
        )
        for reason in (*FLOOR_WORDS, NO_DECISION):
            refused.add_metric([reason], (found.refused.get(reason, 0) if found else 0))
        yield refused
        pulls = CounterMetricFamily("blocker_feed_pulls", "Pulls of the feed by result.", labels=["result"])
        counts = self._store.counts()
        for result in RESULTS:
            pulls.add_metric([result], counts.get(result, 0))
        yield pulls

    def _look(self) -> None:
        token = self._store.token()
        if token == self._token and token is not None and not self._damaged:
            return
        try:
            self._accepted = self._store.accepted()
            self._damaged = bool(self._accepted and self._accepted.damage)
        except Failure:
            # What was read last is what other processes have loaded.
            self._damaged = True
        self._token = token


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"blocker_feed_{name}", text, value=value)


def _stamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
