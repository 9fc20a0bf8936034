"""Counters as plain integers, and the Collector that shows them to Prometheus.

Counted is per outcome, category and upstream only; no name and no client ever becomes a label. Every series that can
exist is there from the start with 0, so that a rate over it is right from the first event on.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from feeds.rule import Action, Category
from resolver.health import Upstream

OUTCOMES = ("blocked", "canary", "cached", "forwarded", "stale", "failed", "refused", "malformed", "dropped", "shed")
COOKIES = ("given", "proven")
LIMITED = ("shortened", "dropped")
UPSTREAM_RESULTS = ("answered", "lost", "refused")
BLOCKING = tuple(action for action in Action if action is not Action.PASSTHRU)
NO_CATEGORY = "none"
# Seconds. Blocked and cached answers take microseconds, upstream ones milliseconds, a dead upstream seconds.
BOUNDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def _blocked() -> dict[tuple[str, str], int]:
    categories = [*map(str, Category), NO_CATEGORY]
    return {(category, str(action)): 0 for category in categories for action in BLOCKING}


@dataclass(slots=True)
class Counters:
    """Everything one resolver process counts."""

    udp: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    tcp: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    blocked: dict[tuple[str, str], int] = field(default_factory=_blocked)
    durations: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    duration_sum: float = 0.0
    cache_hits: int = 0
    cache_misses: int = 0
    upstream: dict[tuple[int, str], int] = field(default_factory=dict)
    near_misses: int = 0
    private: int = 0
    faults: int = 0
    cookies: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COOKIES, 0))
    limited: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LIMITED, 0))
    canaries: dict[str, float] = field(default_factory=lambda: {str(action): 0.0 for action in Action})
    swaps: int = 0
    swap_failures: int = 0

    def took(self, seconds: float) -> None:
        """One query was answered after so long."""
        self.durations[bisect_left(BOUNDS, seconds)] += 1
        self.duration_sum += seconds


@dataclass(slots=True)
class Standing:
    """What is enforced at the moment. `serial` 0: no release (an open or a trial resolver)."""

    serial: int = 0
    rules: int = 0
    refused: int = 0
    trial: bool = False
    open: bool = False
    control: bool = True
    swapped_at: float = 0.0  # seconds since 1970


class ResolverCollector(Collector):
    """Shows the counters of one resolver. `cache` gives (bytes, entries, evicted); `connections` the TCP ones now."""

    def __init__(
        self,
        counters: Counters,
        standing: Standing,
        upstreams: Iterable[Upstream],
        cache: Callable[[], tuple[int, int, int]],
        connections: Callable[[], int],
        version: str,
    ) -> None:
        self._counters = counters
        self._standing = standing
        self._upstreams = tuple(upstreams)
        self._cache = cache
        self._connections = connections
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """All families, read now."""
        yield from self._queries()
        yield from self._keeping()
        yield from self._enforcement()

    def _queries(self) -> Iterator[Metric]:
        counters = self._counters
        queries = CounterMetricFamily(
            "blocker_dns_queries", "Queries by transport and outcome.", labels=["transport", "outcome"]
        )
        for transport, counts in (("udp", counters.udp), ("tcp", counters.tcp)):
            for outcome, count in counts.items():
                queries.add_metric([transport, outcome], count)
        yield queries
        blocked = CounterMetricFamily(
            "blocker_dns_blocked",
            "Queries that met a rule, by its category and action; canaries are left out.",
            labels=["category", "action"],
        )
        for (category, action), count in counters.blocked.items():
            blocked.add_metric([category, action], count)
        yield blocked
        buckets, total = [], 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), counters.durations, strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "blocker_dns_query_duration_seconds",
            "From reading a query to handing over its answer.",
            buckets=buckets,
            sum_value=counters.duration_sum,
        )
        limited = CounterMetricFamily(
            "blocker_dns_limited",
            "Answers over the rate of a client's network: replaced by a short one, or not sent.",
            labels=["result"],
        )
        for result, count in counters.limited.items():
            limited.add_metric([result], count)
        yield limited
        cookies = CounterMetricFamily(
            "blocker_dns_cookies",
            "Queries with a DNS cookie: one was given, or the client proved its address with ours.",
            labels=["result"],
        )
        for result, count in counters.cookies.items():
            cookies.add_metric([result], count)
        yield cookies
        yield GaugeMetricFamily(
            "blocker_dns_tcp_connections", "TCP connections of clients now.", value=self._connections()
        )
        yield CounterMetricFamily(
            "blocker_dns_faults", "Faults of the program that were caught; each is a bug.", value=counters.faults
        )

    def _keeping(self) -> Iterator[Metric]:
        counters = self._counters
        size, entries, evicted = self._cache()
        yield GaugeMetricFamily("blocker_dns_cache_bytes", "Bytes of memory that kept answers take.", value=size)
        yield GaugeMetricFamily("blocker_dns_cache_entries", "Answers kept.", value=entries)
        yield CounterMetricFamily("blocker_dns_cache_hits", "Queries with a fresh answer kept.", counters.cache_hits)
        yield CounterMetricFamily("blocker_dns_cache_misses", "Queries without one.", counters.cache_misses)
        yield CounterMetricFamily("blocker_dns_cache_evictions", "Answers let go to keep the bound.", evicted)
        up = GaugeMetricFamily("blocker_dns_upstream_up", "1 if the upstream answers.", labels=["upstream"])
        asked = CounterMetricFamily(
            "blocker_dns_upstream_queries", "Queries sent to an upstream, by result.", labels=["upstream", "result"]
        )
        for index, upstream in enumerate(self._upstreams):
            up.add_metric([upstream.label], int(upstream.up))
            for result in UPSTREAM_RESULTS:
                asked.add_metric([upstream.label, result], counters.upstream.get((index, result), 0))
        yield up
        yield asked
        yield CounterMetricFamily(
            "blocker_dns_upstream_near_misses",
            "Answers from an upstream's address that fitted no question; many are an attack.",
            value=counters.near_misses,
        )
        yield CounterMetricFamily(
            "blocker_dns_private_answers",
            "Answers from an upstream that private addresses were taken out of.",
            value=counters.private,
        )

    def _enforcement(self) -> Iterator[Metric]:
        counters, standing = self._counters, self._standing
        gauges = (
            ("release_serial", "Serial of the release enforced; 0 without one.", standing.serial),
            ("rules", "Rules enforced.", standing.rules),
            (
                "refused_rules",
                "Rules of the release or list that cross the floor and are not enforced.",
                standing.refused,
            ),
            ("trial", "1 while a plain list is served, without decisions behind it.", int(standing.trial)),
            ("open", "1 while nothing at all is enforced.", int(standing.open)),
            ("control_up", "0 when nothing watches for new releases any more.", int(standing.control)),
            ("swap_timestamp_seconds", "When the release enforced was swapped in.", standing.swapped_at),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"blocker_dns_{name}", text, value=value)
        yield CounterMetricFamily("blocker_dns_swaps", "Releases swapped in.", counters.swaps)
        yield CounterMetricFamily(
            "blocker_dns_swap_failures",
            "New releases that could not be used; the old one stays.",
            counters.swap_failures,
        )
        canaries = GaugeMetricFamily(
            "blocker_canary_last_seen_timestamp_seconds",
            "When a canary of that action was last asked for through this resolver; 0: never.",
            labels=["action"],
        )
        for action, moment in counters.canaries.items():
            canaries.add_metric([action], moment)
        yield canaries
        build = GaugeMetricFamily("blocker_build_info", "Always 1; the program's version.", labels=["version", "lane"])
        build.add_metric([self._version, "plain"], 1)
        yield build


def exposition(collector: ResolverCollector) -> bytes:
    """The text that Prometheus scrapes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)
