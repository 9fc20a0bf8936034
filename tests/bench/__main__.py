"""Measure the main job on the real lists and write docs/benchmarks.md.

    python -m tests.bench [--data DIR] [--small] [--write docs/benchmarks.md]

Prints figures; asserts nothing. `--small` leaves out the 1,109,721 names. The DNS parts need dnsperf, nsd, unbound.
"""

import argparse
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench import filters, queries, transfers
from tests.bench.measure import cost, machine
from tests.bench.way import Step, Way, lines_of

BY_HAND = "\n## Beside its peers\n"
DEFAULT_DATA = Path(__file__).parent.parent.parent.parent / "shared" / "data"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)])


def steps_table(steps: list[Step]) -> str:
    head = ["step", "wall s", "CPU s", "peak MiB"]
    return table(head, [[s.what, f"{s.cost.wall:.1f}", f"{s.cost.cpu:.1f}", str(s.cost.peak_mb)] for s in steps])


def main_job(data: Path, work: Path) -> str:
    """The three lists through a register, published and pulled."""
    way = Way(work)
    way.found()
    way.blocker("guard: build the index (once)", "guard", "index")
    found = {
        "gambling, 65,759 lines": way.propose("gambling names", data / "gambling-vn.domains.txt.gz", "gambling"),
        "fraud, 4,447 lines": way.propose("fraud names", data / "threat-vn.domains.txt", "fraud"),
        "gambling, 2,077 addresses": way.propose("gambling addresses", data / "gambling-vn.ipv4.txt", "gambling"),
    }
    way.publish("publish the three")
    with way.served() as url:
        way.init_isp(url)
        way.blocker("full pull and verify", "feed", "pull")
        way.blocker("pull with nothing new", "feed", "pull")
    rules = sorted({rule for counts in found.values() for rule in counts})
    rows = [[rule, *(str(counts.get(rule, 0)) for counts in found.values())] for rule in rules]
    return (
        steps_table(way.steps)
        + "\n\nWhat the guard and the reader found, targets by rule id:\n\n"
        + table(["rule", *found], rows)
    )


def history(data: Path, work: Path) -> str:
    """Forty versions, one delta pull each; version 17 removes a third and is held."""
    # Loaded only here: what this process holds in memory the kernel counts for each child that it starts.
    from tests.bench.history import rules_of, versions
    from tests.feeds.feed_factory import FeedFactory

    feed = FeedFactory(work / "authority" / "feed", training=False)
    (work / "authority").mkdir()
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    numbers: dict[str, int] = {}
    way = Way(work)
    pulls: list[Step] = []
    held = ""
    every = list(versions(data / "gambling-vn.history"))
    feed.publish(rules_of(every[0], numbers), now)
    with way.served() as url:
        way.init_isp(url)
        way.blocker("full pull of version 1", "feed", "pull")
        for number, names in enumerate(every[1:], 2):
            now += timedelta(seconds=1)
            feed.publish(rules_of(names, numbers), now)
            done = way.blocker(f"version {number}", "feed", "pull", codes=(0, 5))
            if done.code == 5:
                held = f"Version {number} was held: " + done.err.strip().splitlines()[0].removeprefix("Error: ")
                manifest = feed.standing().manifest
                assert manifest is not None
                way.blocker("", "feed", "accept", str(manifest.serial), manifest.digest)
                way.blocker("", "feed", "pull")
            else:
                pulls.append(way.steps[-1])
    cpu = sorted(step.cost.cpu for step in pulls)
    wall = sorted(step.cost.wall for step in pulls)
    full = way.steps[0]
    rows = [
        ["full pull of version 1", f"{full.cost.wall:.2f}", f"{full.cost.cpu:.2f}", str(full.cost.peak_mb)],
        [
            f"delta pull, median of {len(pulls)}",
            f"{wall[len(wall) // 2]:.2f}",
            f"{cpu[len(cpu) // 2]:.2f}",
            str(max(step.cost.peak_mb for step in pulls)),
        ],
        ["delta pull, slowest", f"{wall[-1]:.2f}", f"{cpu[-1]:.2f}", ""],
    ]
    return table(["pull", "wall s", "CPU s", "peak MiB"], rows) + f"\n\n{held}"


def million(data: Path, work: Path) -> str:
    """1,109,721 names through the same way."""
    way = Way(work)
    way.found()
    found = way.propose("1,109,721 names", data / "malware.domains.txt.gz", "malware")
    way.publish("publish")
    with way.served() as url:
        way.init_isp(url)
        way.blocker("full pull and verify", "feed", "pull")
    rows = [[rule, str(count)] for rule, count in sorted(found.items())]
    return steps_table(way.steps) + "\n\n" + table(["rule", "targets"], rows)


def dns(names: list[str], work: Path) -> str:
    """Both lanes over a plain list."""
    return rates_table(queries.measure(names, work)) + f"\n\n{len(names):,} names; their image was beside the list."


def misses(work: Path) -> str:
    """What a question costs that has to be forwarded."""
    return rates_table(queries.misses(work))


def rates_table(found: list[queries.Measured]) -> str:
    """A row for each server and kind of query."""
    head = ["server", "started in s", "MiB", "query", "per CPU second", "lost", "answer codes"]
    rows = [
        [one.server, f"{one.load:.1f}", str(one.memory), r.what, f"{r.per_cpu_second:,.0f}", str(r.lost), r.codes]
        for one in found
        for r in one.rates
    ]
    return table(head, rows)


def zone(names: list[str], work: Path) -> str:
    """Zone transfers of a large release."""
    rows, size = transfers.measure(names, work)
    return table(["primary", "wall s", "CPU s"], rows) + "\n\n" + size


def ip_filter(data: Path, work: Path) -> str:
    """Aggregation beside other programs, then the kernel."""
    real = [line for line in lines_of(data / "malware.ipv4.txt.gz") if not line.startswith("#")]
    found = [
        *filters.aggregate(f"{len(real):,} real IPv4 addresses", real, work),
        *filters.aggregate("1,000,000 IPv4 prefixes", list(filters.made4(1_000_000)), work, slow=False),
        *filters.aggregate("200,000 IPv6 prefixes", list(filters.made6(200_000)), work),
    ]
    head = ["list", "program", "wall s", "CPU s", "peak MiB", "prefixes", "same addresses as ours"]
    rows = [
        [
            one.what,
            one.program,
            f"{one.cost.wall:.2f}",
            f"{one.cost.cpu:.2f}",
            str(one.cost.peak_mb),
            f"{one.prefixes:,}",
            "yes" if one.same else "NO",
        ]
        for one in found
    ]
    text = table(head, rows)
    if os.geteuid() == 0 and shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        (work / "real").write_text("\n".join(real) + "\n")
        done = cost(["unshare", "-n", sys.executable, "-m", "tests.bench.filters", str(work / "real")])
        if done.code != 0:
            raise RuntimeError(done.err)
        text += "\n\n" + table(
            ["nftables, the real addresses", "wall s"], [r.split("\t") for r in done.out.splitlines()]
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--small", action="store_true")
    parser.add_argument(
        "--only", help="parts, separated by commas: main, history, million, dns, misses, zone, filter ..."
    )
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    gambling = args.data / "gambling-vn.domains.txt.gz"
    malware = args.data / "malware.domains.txt.gz"
    parts = {
        "main": ("The main job: three real lists", lambda work: main_job(args.data, work)),
        "history": ("Forty consecutive versions of a real list", lambda work: history(args.data, work)),
        "dns": ("The resolver, gambling list", lambda work: dns(lines_of(gambling), work)),
        "misses": ("The resolver, names that nobody knows yet", misses),
        "zone": ("Zone transfer, gambling list", lambda work: zone(lines_of(gambling), work)),
        "zone-million": ("Zone transfer, 1,109,721 names", lambda work: zone(lines_of(malware), work)),
        "filter": ("The IP filter", lambda work: ip_filter(args.data, work)),
        "million": ("The same way with 1,109,721 names", lambda work: million(args.data, work)),
        "dns-million": ("The resolver, 1,109,721 names", lambda work: dns(lines_of(malware), work)),
    }
    wanted = args.only.split(",") if args.only else [p for p in parts if not (args.small and "million" in p)]
    text = [
        "# Benchmarks",
        "",
        f"Command: `python -m tests.bench{' --small' if args.small else ''}`. Machine: {machine()}.",
        f"Date: {datetime.now(UTC):%Y-%m-%d}. Every step is the real command in its own process; CPU and peak",
        "memory are the kernel's figures for it. Wall times move from run to run; compare CPU and ratios.",
    ]
    for name in wanted:
        title, run = parts[name]
        print(f"{title} ...", file=sys.stderr, flush=True)
        work = Path(tempfile.mkdtemp(prefix="blocker-bench-"))
        try:
            text += ["", f"## {title}", "", run(work)]
        finally:
            shutil.rmtree(work, ignore_errors=True)
    page = "\n".join(text) + "\n"
    print(page)
    if args.write:
        # What follows this heading comes from other programs' runs and is kept.
        old = args.write.read_text() if args.write.exists() else ""
        _before, heading, kept = old.partition(BY_HAND)
        args.write.write_text(page + heading + kept)


if __name__ == "__main__":
    main()
