"""What the IP filter costs: aggregation beside other programs, and nft with a large set.

iprange (Debian) and aggregate6 (PyPI, no Debian package) join in where they are on the PATH.
"""

import random
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from feeds.ipfilter import nftables
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.intervals import Intervals, cut, merged, subtract
from feeds.ipfilter.kernel import address_text, prefix_span, run
from feeds.ipfilter.nft.layout import MAPS
from feeds.ipfilter.target import TARGETS
from tests.bench.aggregate import WAYS
from tests.bench.measure import Cost, cost

SEED = 20261124
CHANGED = 100
# What an element of the map names: its counter.
COUNTED = ' : "other4"'


@dataclass(frozen=True, slots=True)
class Aggregated:
    """One program over one list; `same` is whether it covers what ours covers, None where there is no answer."""

    what: str
    program: str
    cost: Cost
    prefixes: int
    same: bool


def made4(count: int) -> Iterator[str]:
    """Random IPv4 prefixes, most of them hosts, the rest /24 to /31."""
    chance = random.Random(SEED)
    for _n in range(count):
        length = chance.choice((32, 32, 32, 32, 32, 31, 30, 28, 26, 24))
        network = chance.randrange(1 << 24, 223 << 24) >> (32 - length) << (32 - length)
        yield f"{address_text(4, network)}/{length}"


def made6(count: int) -> Iterator[str]:
    """Random IPv6 prefixes from /48 to /128 in 2000::/4."""
    chance = random.Random(SEED)
    for _n in range(count):
        length = chance.choice((128, 128, 64, 64, 56, 48))
        network = (2 << 124 | chance.getrandbits(124)) >> (128 - length) << (128 - length)
        yield f"{address_text(6, network)}/{length}"


def aggregate(what: str, lines: list[str], work: Path, *, slow: bool = True) -> list[Aggregated]:
    """Every program over one list; `slow` says whether `ipaddress`, the slowest and largest by far, joins in."""
    file = work / "list"
    file.write_text("\n".join(lines) + "\n")
    programs = {
        way: [sys.executable, "-m", "tests.bench.aggregate", way, str(file)]
        for way in WAYS
        if slow or way != "ipaddress"
    }
    if ":" not in lines[0] and shutil.which("iprange"):
        programs["iprange, C"] = ["iprange", str(file)]
    if shutil.which("aggregate6"):
        programs["aggregate6, Python and C"] = ["aggregate6", *(["-6"] if ":" in lines[0] else ["-4"]), str(file)]
    found: list[Aggregated] = []
    ours = None
    for program, words in programs.items():
        done = cost(words)
        if done.code != 0:
            raise RuntimeError(f"{program}: {done.err[-500:]}")
        got = done.out.split()
        spans = merged(map(prefix_span, got))
        ours = spans if ours is None else ours
        found.append(Aggregated(what, program, done, len(got), spans == ours))
    return found


def nft(lines: list[str]) -> list[tuple[str, float]]:
    """Seconds to load a set, to read it back, and to change 100 of its elements both ways; needs root."""
    spans = merged(map(prefix_span, lines))
    chance = random.Random(SEED)
    gone = merged(chance.sample(spans, CHANGED // 2))
    new = merged((n, n) for n in (chance.randrange(224 << 24, 240 << 24) for _n in range(CHANGED // 2)))
    after = merged([*subtract(spans, gone), *new])
    rows: list[tuple[str, float]] = []

    def took(what: str, script: str) -> None:
        start = time.monotonic()
        run(["nft", "-f", "-"], script)
        rows.append((what, time.monotonic() - start))

    took("load the whole set", nftables.script(Filter(spans), ["forward"]))
    start = time.monotonic()
    assert nftables.read(run).filter.blocked4 == spans
    rows.append(("read it back, from the kernel", time.monotonic() - start))
    start = time.monotonic()
    assert nftables.read(run, lambda: None).filter.blocked4 == spans
    rows.append(("read it back by `nft -j`", time.monotonic() - start))
    took(
        f"change {CHANGED} elements by loading all anew, in one transaction",
        nftables.script(Filter(after), ["forward"]),
    )
    assert nftables.read(run).filter.blocked4 == after
    start = time.monotonic()
    plan = TARGETS["nftables"].plan(1, Filter(spans), ("forward",), run)
    rows.append(("plan: read it and compare", time.monotonic() - start))
    start = time.monotonic()
    assert nftables.change(plan)
    rows.append((f"change {CHANGED} elements back, through netlink", time.monotonic() - start))
    assert nftables.read(run).filter.blocked4 == spans
    took(f"change {CHANGED} elements by nft's own `delete element` and `add element`", "".join(_by_nft(gone, new)))
    assert nftables.read(run).filter.blocked4 == after
    return rows


def _by_nft(gone: Intervals, new: Intervals) -> Iterator[str]:
    for verb, spans, counted in (("delete", gone, ""), ("add", new, COUNTED)):
        for name, about in MAPS.items():
            if about.set_name == "blocked4" and (part := cut(spans, about.first, about.last)):
                yield f"{verb} element inet {nftables.TABLE} {name} {{ {_elements(part, counted)} }}\n"


def _elements(spans: tuple[tuple[int, int], ...], counted: str = "") -> str:
    return ", ".join(
        (address_text(4, first) if first == last else f"{address_text(4, first)}-{address_text(4, last)}") + counted
        for first, last in spans
    )


if __name__ == "__main__":
    for name, seconds in nft(Path(sys.argv[1]).read_text().splitlines()):
        print(f"{name}\t{seconds:.2f}")
