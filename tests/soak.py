"""python -m tests.soak --minutes 10 --lane fast: a resolver at half load for long; its memory must stay as it is.

Queries are for listed names, for names that are kept, and for names never asked before. How many a second of each is
half load is measured first. Every half minute the memory of all its processes is printed.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.load.process import family, family_cpu_seconds, memory_mb, open_files, prefer
from tests.load.sending import Result, sending
from tests.load.upstream import fast_upstream
from tests.resolver.live import LiveResolver, resolver
from tests.resolver.play import query

CACHE_MB = 16
NAMES = 500
LISTED = [query(f"www.listed{n}.com", id=n) for n in range(NAMES)]
KEPT = [query(f"kept{n}.net", id=n) for n in range(NAMES)]
MISSED = [query(f"abcdefghijkl.missed{n}.org") for n in range(50)]
HALF_MINUTE = 30.0
# Shares of what it can do at most: together half of it.
HIT_SHARE, MISS_SHARE = 0.35, 0.15


@dataclass(frozen=True, slots=True)
class Sample:
    """After `seconds`: MiB of all processes, open files, and what was asked since the last one."""

    seconds: float
    memory: float
    files: int
    hits: Result
    misses: Result
    cpu: float

    def text(self) -> str:
        lost = self.hits.lost + self.misses.lost
        return (
            f"{self.seconds:5.0f} s: {self.memory:6.1f} MiB, {self.files} files, {self.hits.answered} hits and "
            f"{self.misses.answered} misses, {lost} lost, {self.cpu:.1f} s of CPU, hits: median "
            f"{self.hits.latency(0.5):.2f} ms, p99.9 {self.hits.latency(0.999):.2f} ms"
        )


@contextmanager
def stage(folder: Path) -> Iterator[LiveResolver]:
    listed = folder / "list.txt"
    listed.write_text("".join(f"listed{n}.com\n" for n in range(NAMES)))
    with ExitStack() as stack:
        address = stack.enter_context(fast_upstream())
        options = ["--list", str(listed), "--cache-mb", str(CACHE_MB)]
        yield stack.enter_context(resolver(folder, [address], *options, hosts=("127.0.0.1",)))


def capacity(live: LiveResolver, folder: Path, queries: list[bytes], seed: int = 0) -> float:
    """Answers a second to these queries, sent as fast as they are answered."""
    with sending(folder, live.port, queries, seconds=2, seed=seed) as sender:
        result = sender.result()
    return result.answered / result.seconds


def soak(
    live: LiveResolver, folder: Path, seconds: float, step: float = HALF_MINUTE, most: float = float("inf")
) -> Iterator[Sample]:
    """A Sample for every `step` seconds; at half load, but with at most so many queries a second."""
    pid = live.process.pid
    both = LISTED + KEPT
    prefer(*family(pid))
    hit_rate = min(HIT_SHARE * capacity(live, folder, both), most)
    miss_rate = min(MISS_SHARE * capacity(live, folder, MISSED, seed=3), most / 10)
    passed, cpu = 0.0, family_cpu_seconds(pid)
    while passed < seconds:
        with (
            sending(folder, live.port, both, seconds=step, rate=hit_rate) as hits,
            sending(folder, live.port, MISSED, seconds=step, rate=miss_rate, seed=7 + int(passed)) as misses,
        ):
            prefer(hits.process.pid, misses.process.pid)
            results = hits.result(step + 30), misses.result(step + 30)
        passed += step
        before, cpu = cpu, family_cpu_seconds(pid)
        yield Sample(passed, memory_mb(pid), open_files(pid), *results, cpu - before)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--lane", choices=("plain", "fast"))
    arguments = parser.parse_args()
    if arguments.lane:
        os.environ["BLOCKER_LANE"] = arguments.lane
    with tempfile.TemporaryDirectory() as name, stage(Path(name)) as live:
        for sample in soak(live, Path(name), 60 * arguments.minutes):
            print(sample.text(), flush=True)


if __name__ == "__main__":
    main()
