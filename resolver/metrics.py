"""Counters as plain integers, and the Collector that shows them to Prometheus.

Counted is per outcome, category and upstream only; no name and no client ever becomes a label. Every series that can
exist is there from the start with 0, so that a rate over it is right from the first event on.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from operator import add, and_
from platform import python_version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from feeds.rule import Action, Category
from resolver.frames import ZoneLoaded
from resolver.zones.metrics import zone_metrics

OUTCOMES = ("blocked", "canary", "cached", "forwarded", "stale", "failed", "refused", "malformed", "dropped", "shed")
COOKIES = ("given", "proven")
PROCESSES = ("lane", "control", "standby")
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
    zones: dict[tuple[str, str, str], int] = field(default_factory=dict)
    swaps: int = 0
    swap_failures: int = 0

    def took(self, seconds: float) -> None:
        """One query was answered after so long."""
        self.durations[bisect_left(BOUNDS, seconds)] += 1
        self.duration_sum += seconds

    def add(self, other: "Counters") -> None:
        """Count what another process counted, too; of moments the later one stays."""
        for room in fields(self):
            name = room.name
            mine, theirs = getattr(self, name), getattr(other, name)
            if name == "canaries":
                mine.update({key: max(mine[key], theirs[key]) for key in theirs})
            elif isinstance(mine, dict):
                mine.update({key: mine.get(key, 0) + count for key, count in theirs.items()})
            elif isinstance(mine, list):
                mine[:] = map(add, mine, theirs)
            else:
                setattr(self, name, mine + theirs)


@dataclass(slots=True)
class Figures:
    """What one lane counted, and how it is. `upstreams`: does each answer, as far as the lane knows?"""

    counters: Counters = field(default_factory=Counters)
    upstreams: tuple[bool, ...] = ()
    cache_bytes: int = 0
    cache_entries: int = 0
    cache_evicted: int = 0
    connections: int = 0

    @classmethod
    def total(cls, of: "Iterable[Figures]") -> "Figures":
        """Of all lanes together. An upstream is up where no lane has found it down."""
        whole = cls()
        for one in of:
            whole.counters.add(one.counters)
            if one.upstreams:
                whole.upstreams = tuple(map(and_, whole.upstreams or one.upstreams, one.upstreams))
            whole.cache_bytes += one.cache_bytes
            whole.cache_entries += one.cache_entries
            whole.cache_evicted += one.cache_evicted
            whole.connections += one.connections
        return whole

    def counted(self) -> "Figures":
        """What stays of it when its lane is gone: the counts."""
        return Figures(self.counters, cache_evicted=self.cache_evicted)


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
    zones: tuple[ZoneLoaded, ...] = ()
    lanes: int = 0
    restarts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PROCESSES, 0))


class ResolverCollector(Collector):
    """Shows the figures of one resolver. `upstreams` are their labels; `lane` says which kind answers."""

    def __init__(
        self,
        figures: Figures,
        standing: Standing,
        upstreams: Iterable[str] = (),
        version: str = "",
        lane: str = "plain",
    ) -> None:
        self._figures = figures
        self._counters = figures.counters
        self._standing = standing
        self._upstreams = tuple(upstreams)
        self._version = version
        self._lane = lane

    def collect(self) -> Iterator[Metric]:
        """All families, read now."""
        yield from self._queries()
        yield from self._keeping()
        yield from self._enforcement()

    def _queries(self) -> Iterator[Metric]:
        counters = self._counters
        yield _counted(
            "blocker_dns_queries",
            "Queries by transport and outcome.",
            ["transport", "outcome"],
            {
                (transport, outcome): count
                for transport, counts in (("udp", counters.udp), ("tcp", counters.tcp))
                for outcome, count in counts.items()
            },
        )
        yield _counted(
            "blocker_dns_blocked",
            "Queries that met a rule, by its category and action; canaries are left out.",
            ["category", "action"],
            counters.blocked,
        )
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
        yield _counted(
            "blocker_dns_limited",
            "Answers over the rate of a client's network: replaced by a short one, or not sent.",
            ["result"],
            counters.limited,
        )
        yield _counted(
            "blocker_dns_cookies",
            "Queries with a DNS cookie: one was given, or the client proved its address with ours.",
            ["result"],
            counters.cookies,
        )
        yield GaugeMetricFamily(
            "blocker_dns_tcp_connections", "TCP connections of clients now.", value=self._figures.connections
        )
        yield CounterMetricFamily(
            "blocker_dns_faults", "Faults of the program that were caught; each is a bug.", value=counters.faults
        )

    def _keeping(self) -> Iterator[Metric]:
        counters, figures = self._counters, self._figures
        yield GaugeMetricFamily(
            "blocker_dns_cache_bytes", "Bytes of memory that kept answers take.", value=figures.cache_bytes
        )
        yield GaugeMetricFamily("blocker_dns_cache_entries", "Answers kept.", value=figures.cache_entries)
        yield CounterMetricFamily("blocker_dns_cache_hits", "Queries with a fresh answer kept.", counters.cache_hits)
        yield CounterMetricFamily("blocker_dns_cache_misses", "Queries without one.", counters.cache_misses)
        yield CounterMetricFamily(
            "blocker_dns_cache_evictions", "Answers let go to keep the bound.", figures.cache_evicted
        )
        up = GaugeMetricFamily("blocker_dns_upstream_up", "1 if the upstream answers.", labels=["upstream"])
        asked = CounterMetricFamily(
            "blocker_dns_upstream_queries", "Queries sent to an upstream, by result.", labels=["upstream", "result"]
        )
        for index, label in enumerate(self._upstreams):
            up.add_metric([label], int(figures.upstreams[index] if figures.upstreams else True))
            for result in UPSTREAM_RESULTS:
                asked.add_metric([label, result], counters.upstream.get((index, result), 0))
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
            ("lanes", "Processes that answer now.", standing.lanes),
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
        yield _counted(
            "blocker_dns_restarts",
            "Processes of the resolver that ended and were started again.",
            ["process"],
            standing.restarts,
        )
        yield from zone_metrics(standing.zones, counters.zones)
        canaries = GaugeMetricFamily(
            "blocker_canary_last_seen_timestamp_seconds",
            "When a canary of that action was last asked for through this resolver; 0: never.",
            labels=["action"],
        )
        for action, moment in counters.canaries.items():
            canaries.add_metric([action], moment)
        yield canaries
        build = GaugeMetricFamily(
            "blocker_build_info", "Always 1; the program's version.", labels=["version", "lane", "python"]
        )
        build.add_metric([self._version, self._lane, python_version()], 1)
        yield build


def _counted(
    name: str, text: str, labels: list[str], counts: Mapping[str, int] | Mapping[tuple[str, str], int]
) -> CounterMetricFamily:
    """One family of counters; of several labels the keys are tuples."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in counts.items():
        family.add_metric([key] if isinstance(key, str) else list(key), count)
    return family


def exposition(collector: ResolverCollector) -> bytes:
    """The text that Prometheus scrapes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)
