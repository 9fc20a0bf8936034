"""Forty real versions in a row at BIND, Unbound, PowerDNS and Knot at once, each from its printed stanza."""

import gzip
import json
import random
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from feeds.errors import Failure
from feeds.name import DomainName
from feeds.pruning import prune
from feeds.rule import Action, Rule
from feeds.store import Store
from tests.conftest import DATA, missing
from tests.golden.sample import LATER, rule
from tests.interop.rpz_sets import ANSWER, APEX, UPSTREAM_ZONE, free_port, running, seen
from tests.interop.test_render_follow import KRESD, need_cqueues
from tests.interop.test_transfer_bind import BIND, BLOCKER, ZONE, NeedProgram, accept, serving, until
from tests.interop.test_transfer_unbound import CONFIG as UNBOUND
from tests.interop.test_transfer_unbound import NAME, certificate

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.data]

VERSIONS = 40
# One name of the list in so many, the same ones in each version.
SHARE = 4
ASKED = 2000
DEPTHS = ("", "a.", "a.b.", "a.b.c.")
# Parent and child listed together: what must be answered, by name.
TOGETHER = (
    rule(f"p.{APEX}", number=1),
    rule(f"a.b.c.p.{APEX}", number=2, expires=LATER + 1),
    rule(f"q.{APEX}", number=3),
    rule(f"let.d.q.{APEX}", Action.PASSTHRU, number=4),
)
HELD = ("p", "c.p", "b.c.p", "a.b.c.p", "x.p", "x.c.p", "x.b.c.p", "x.a.b.c.p", "q", "d.q", "x.d.q", "x.q")
LET = ("let.d.q", "x.let.d.q")


def versions() -> Iterator[frozenset[str]]:
    """Each version's names, below APEX: so nothing real is asked of anybody."""
    folder = DATA / "gambling-vn.history"
    if not folder.exists():
        missing("the real list gambling-vn.history is not here")
    names: set[str] = set()
    for number in range(1, VERSIONS + 1):
        file = folder / ("01.full.txt.gz" if number == 1 else f"{number:02}.diff.gz")
        for line in gzip.decompress(file.read_bytes()).decode().split():
            sign, name = (line[0], line[1:]) if number > 1 else ("+", line)
            if zlib.crc32(name.encode()) % SHARE == 0 and _valid(name):
                (names.add if sign == "+" else names.discard)(f"{name}.{APEX}")
        yield frozenset(names)


def _valid(name: str) -> bool:
    try:
        DomainName(name)
    except (Failure, ValueError):
        return False
    return True


def pruned(names: frozenset[str]) -> tuple[Rule, ...]:
    return prune([*(rule(name, number=number) for number, name in enumerate(sorted(names), 10)), *TOGETHER]).kept


@dataclass(frozen=True)
class Resolver:
    program: str
    port: int
    log: Path


@dataclass
class Bench:
    """The primary's settings, and how each resolver is started."""

    here: Path
    store: Store
    need: NeedProgram
    port: int
    tls_port: int
    ports: dict[str, int]

    def settings(self) -> Path:
        path = self.here / "zone.toml"
        text = f'[zone."{ZONE}"]\n'
        for program in ("bind", "powerdns", "unbound"):
            text += f'[secondary.{program}]\naddress = ["127.0.0.1"]\nnotify = ["127.0.0.1:{self.ports[program]}"]\n'
            if program != "unbound":
                text += f'key = "{program}-key"\nsecret_file = "secret"\n'
        (self.here / "secret").write_text("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
        path.write_text(text)
        return path

    def stanza(self, program: str, *words: object) -> str:
        command = [BLOCKER, "zone", "config", "--for", program, "--json", *map(str, words)]
        made = subprocess.run(command, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        return str(json.loads(made.stdout)["stanza"])

    def transferred(self, program: str, port: int, *words: object) -> str:
        made = self.stanza(
            program, self.here / "zone.toml", "--secondary", program, "--primary", f"127.0.0.1:{port}", *words
        )
        for place in ("/var/lib/powerdns", "/var/lib/unbound"):
            made = made.replace(place, str(self.here))
        return made

    def bind(self) -> list[str]:
        inside, _mark, outside = self.transferred("bind", self.port).partition("\n\n")
        (self.here / "root.hint").write_text(". 3600000 NS none.invalid.\nnone.invalid. 3600000 A 127.0.0.1\n")
        made = BIND.format(inside=inside, outside=outside, here=self.here, port=self.ports["bind"], apex=APEX)
        (self.here / "named.conf").write_text(made)
        return [self.need("named", "bind9"), "-f", "-n", "1", "-c", str(self.here / "named.conf")]

    def powerdns(self) -> list[str]:
        lua, plain = self.transferred("powerdns", self.port).split("\n\n")[:2]
        (self.here / "rpz.lua").write_text(lua)
        (self.here / "recursor.conf").write_text(
            f"local-address=127.0.0.1\nlocal-port={self.ports['powerdns']}\nlua-config-file={self.here}/rpz.lua\n"
            f"socket-dir={self.here}\nauth-zones={APEX}={self.here}/upstream.zone\ndaemon=no\ndnssec=off\n"
            f"hint-file=no\nsecurity-poll-suffix=\nquiet=yes\nthreads=1\n{plain}\n"
        )
        return [self.need("pdns_recursor", "pdns-recursor"), f"--config-dir={self.here}"]

    def unbound(self, chain: str) -> list[str]:
        made = self.transferred("unbound", self.tls_port, "--tls-name", NAME, "--authorities", chain)
        config = UNBOUND.format(
            here=self.here, port=self.ports["unbound"], tls_port=free_port(), apex=APEX, stanza=made
        )
        (self.here / "unbound.conf").write_text(config.replace("verbosity: 2", "verbosity: 1"))
        return [self.need("unbound", "unbound"), "-d", "-p", "-c", str(self.here / "unbound.conf")]

    def knot(self) -> list[str]:
        need_cqueues()
        lua = self.stanza("knot", "--file", self.here / "knot.rpz").partition("\n\n")[0]
        made = KRESD.format(port=self.ports["knot"], stanza=lua, answer=ANSWER, apex=APEX)
        (self.here / "kresd.conf").write_text(made)
        (self.here / "run").mkdir()
        return [self.need("kresd", "knot-resolver"), "-n", "-c", str(self.here / "kresd.conf"), str(self.here / "run")]

    def follow(self) -> list[str]:
        words = [BLOCKER, "feed", "follow", "--state", str(self.store.path), "--render", "rpz-names"]
        return [*words, "--to", str(self.here / "knot.rpz"), "--run", "true"]


def wrong(resolver: Resolver, names: list[str], want: str) -> list[str]:
    return [name for name in names if seen(resolver.port, name) != want]


def test_forty_versions_reach_four_resolvers_whole_and_within_five_seconds(
    tmp_path: Path, need_program: NeedProgram
) -> None:
    chance = random.Random(20261124)
    history = list(versions())
    store = Store.create(tmp_path / "state", url="http://127.0.0.1:1/", root=b"{}", training=True)
    accept(store, 1, list(pruned(history[0])))
    programs = ("bind", "powerdns", "unbound", "knot")
    bench = Bench(tmp_path, store, need_program, free_port(), free_port(), {name: free_port() for name in programs})
    settings = bench.settings()
    chain, key = certificate(tmp_path / "primary", NAME)
    (tmp_path / "upstream.zone").write_text(UPSTREAM_ZONE)
    tls = ("--tls", f"127.0.0.1:{bench.tls_port}", "--certificate", chain, "--private-key", key)
    starts: dict[str, Callable[[], list[str]]] = {
        "bind": bench.bind,
        "powerdns": bench.powerdns,
        "unbound": lambda: bench.unbound(chain),
        "knot": bench.knot,
    }
    with ExitStack() as stack:
        follower = stack.enter_context(subprocess.Popen(bench.follow(), stdout=subprocess.DEVNULL))
        stack.callback(follower.terminate)
        assert until((tmp_path / "knot.rpz").exists, 20) < 20
        stack.enter_context(serving(settings, store, bench.port, tmp_path / "serve.log", *tls))
        resolvers = []
        for program in programs:
            one = Resolver(program, bench.ports[program], tmp_path / f"{program}.log")
            stack.enter_context(running(starts[program](), one.port, f"probe.{APEX}", one.log))
            resolvers.append(one)
        slowest = dict.fromkeys(programs, 0.0)
        for serial, (before, after) in enumerate(pairwise(history), 2):
            kept = pruned(after)
            names = {one.target.name.text for one in kept if hasattr(one.target, "name")}
            gone = chance.sample(sorted(before - after), min(3, len(before - after)))
            gone = [name for name in gone if not any(name.endswith("." + parent) for parent in names)]
            come = chance.sample(sorted(after - before), min(3, len(after - before)))
            accept(store, serial, list(kept))
            began = time.monotonic()
            for one in resolvers:

                def enforced(one: Resolver = one, gone: list[str] = gone, come: list[str] = come) -> bool:
                    return not wrong(one, gone, "answer") and not wrong(one, come, "nxdomain")

                until(enforced, 8)
                slowest[one.program] = max(slowest[one.program], time.monotonic() - began)
            assert max(slowest.values()) < 5, (serial, slowest)
        # What a person reads with -s: how much came through pruning, and how long a version took at worst.
        print(f"{len(history[-1])} names, {len(kept)} rules after pruning; slowest: {slowest}")
        listed = chance.sample(sorted(history[-1]), ASKED)
        free = [f"n{number}.free.{APEX}" for number in range(ASKED)]
        for one in resolvers:
            assert wrong(one, [depth + name for name in listed for depth in DEPTHS], "nxdomain") == [], one.program
            assert wrong(one, free, "answer") == [], one.program
            assert wrong(one, [f"{name}.{APEX}" for name in HELD], "nxdomain") == [], one.program
            # A pass-through ends Knot's policies, also the one that answers here: it asks the root, in vain.
            passed = {"SERVFAIL", "drop"} if one.program == "knot" else {"answer"}
            assert {seen(one.port, f"{name}.{APEX}") for name in LET} <= passed, one.program
        time.sleep(5.5)
        said = json.loads((store.path / "zone.json").read_text())["secondaries"]
    for one in resolvers:
        text = one.log.read_text()
        assert [name for name in listed if name in text] == [], f"{one.program} logs who asked for what"
    assert {name: said[name][ZONE]["form"] for name in programs[:3]} == dict.fromkeys(programs[:3], "ixfr")
    assert {said[name][ZONE]["serial"] // 1000 for name in programs[:3]} == {VERSIONS}
