"""Real versions around the one that removes a third of the list, from publication to what three resolvers answer.

The feed is published, served, followed and handed on by the real commands; each resolver runs from the stanza that
`blocker zone config` prints. Every name that nobody lists has an address in a root zone of our own.
All forty versions, at four resolvers and against the clock: test_transfer_versions.
"""

import base64
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from blocker.publishing.bulk import prepare_bulk, sign_bulk
from feeds.manifest import BulkStatement
from feeds.pruning import prune
from feeds.rule import Rule
from feeds.store import Store
from tests.bench.history import rules_of, versions
from tests.conftest import DATA, missing
from tests.feeds.feed_factory import FeedFactory
from tests.interop.rpz_sets import ANSWER, free_port, running, seen
from tests.interop.test_transfer_bind import BLOCKER, ZONE, NeedProgram, until
from tests.interop.test_transfer_unbound import NAME, certificate

pytestmark = [pytest.mark.interop, pytest.mark.data, pytest.mark.slow]

# The version that is held is the seventeenth.
FIRST, HELD, LAST = 14, 17, 20
# Far more than it takes; what it takes is printed.
SECONDS = 30
PRIMARY = "127.0.0.2"
PROBE = "nobody.lists.this.name.example.net"
SAMPLED = 2000
ROOT_ZONE = f"""$ORIGIN .
$TTL 1
@ SOA a. b. 1 60 60 60 1
@ NS a.
a. A 127.0.0.1
* A {ANSWER}
"""

BIND = """{outside}
options {{
    directory "{here}"; pid-file none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion yes; dnssec-validation no; session-keyfile none; empty-zones-enable no; notify no;
    {inside}
}};
controls {{ }};
logging {{ channel out {{ stderr; severity info; }}; category default {{ out; }}; category rpz {{ out; }}; }};
zone "." {{ type primary; file "{here}/root.zone"; check-names ignore; }};
"""

POWERDNS = """local-address=127.0.0.1
local-port={port}
lua-config-file={here}/rpz.lua
socket-dir={here}
auth-zones=.={here}/root.zone
daemon=no
dnssec=off
hint-file=no
security-poll-suffix=
quiet=yes
threads=1
serve-rfc1918=no
{settings}
"""

UNBOUND = """server:
    directory: "{here}"
    chroot: ""
    username: ""
    pidfile: ""
    interface: 127.0.0.1
    port: {port}
    tls-port: {tls_port}
    do-daemonize: no
    use-syslog: no
    verbosity: 1
    trust-anchor-file: ""
remote-control:
    control-enable: no
auth-zone:
    name: "."
    zonefile: "{here}/root.zone"
    for-downstream: no
    for-upstream: yes
{stanza}
"""


@dataclass(frozen=True)
class Engine:
    """A resolver that runs; `name` is that of the secondary, too."""

    name: str
    port: int

    def refuses(self, name: str) -> bool:
        return seen(self.port, name, 2) == "nxdomain"

    def answers(self, name: str) -> bool:
        return seen(self.port, name, 2) == "answer"


class Isp:
    """A feed's follower and the zone beside it, with a folder a program."""

    def __init__(self, here: Path, feed: FeedFactory) -> None:
        self.here, self.feed = here, feed
        self.state = here / "state"
        self.ports = {name: free_port() for name in ("bind", "powerdns", "unbound")}
        self.tls_port, self.feed_port = free_port(), free_port()
        (here / "secret").write_bytes(base64.b64encode(b"k" * 32))
        (here / "root.zone").write_text(ROOT_ZONE)
        text = f'[zone."{ZONE}"]\n'
        for name, port in self.ports.items():
            text += f'[secondary.{name}]\naddress = ["127.0.0.1"]\nnotify = ["127.0.0.1:{port}"]\n'
            if name != "unbound":
                text += f'key = "{name}-key"\nsecret_file = "secret"\n'
        self.settings = here / "zone.toml"
        self.settings.write_text(text)
        self.certificate, self.key = certificate(here / "tls", NAME)

    @contextmanager
    def process(self, log: str, ready: str, *words: str) -> Iterator[None]:
        """A `blocker` command that stays, once it has said `ready`."""
        path = self.here / log
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with path.open("w") as out, subprocess.Popen([BLOCKER, *words], stdout=out, stderr=out, env=env) as server:
            try:
                assert until(lambda: ready in path.read_text() or server.poll() is not None, 30) < 30
                assert server.poll() is None, path.read_text()
                yield
            finally:
                server.terminate()
                server.wait(30)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The feed's web server, its follower and the primary."""
        root = self.here / "root.json"
        root.write_bytes(self.feed.anchor)
        url = f"http://127.0.0.1:{self.feed_port}/"
        words = ["--root", str(root), url, "--state", str(self.state)]
        with ExitStack() as stack:
            serve = ["feed", "serve", str(self.feed.path), "--listen", f"127.0.0.1:{self.feed_port}"]
            stack.enter_context(self.process("feed.log", str(self.feed_port), *serve))
            subprocess.run([BLOCKER, "feed", "init", *words], check=True, capture_output=True)
            follow = ["feed", "follow", "--every", "2", "--state", str(self.state), "--json"]
            stack.enter_context(self.process("follow.log", "serial", *follow))
            zone = ["zone", "serve", str(self.settings), "--state", str(self.state)]
            zone += ["--listen", f"{PRIMARY}:{self.ports['unbound']}", "--tls", f"{PRIMARY}:{self.tls_port}"]
            zone += ["--certificate", self.certificate, "--private-key", self.key]
            stack.enter_context(self.process("zone.log", ZONE, *zone))
            yield

    def stanza(self, program: str) -> str:
        port = self.tls_port if program == "unbound" else self.ports["unbound"]
        asked = ["--for", program, "--secondary", program, "--zone", ZONE, "--primary", f"{PRIMARY}:{port}", "--json"]
        if program == "unbound":
            asked += ["--tls-name", NAME, "--authorities", self.certificate]
        made = subprocess.run([BLOCKER, "zone", "config", str(self.settings), *asked], capture_output=True, check=True)
        return str(json.loads(made.stdout)["stanza"])

    def command(self, program: str, path: str) -> list[str]:
        """Write the program's configuration around its stanza; the command that runs it."""
        port, stanza, here = self.ports[program], self.stanza(program), self.here
        if program == "bind":
            inside, _mark, outside = stanza.partition("\n\n")
            (here / "named.conf").write_text(BIND.format(inside=inside, outside=outside, here=here, port=port))
            return [path, "-f", "-n", "1", "-c", str(here / "named.conf")]
        if program == "powerdns":
            lua, settings = stanza.split("\n\n")[:2]
            (here / "rpz.lua").write_text(lua.replace("/var/lib/powerdns", str(here)))
            (here / "recursor.conf").write_text(POWERDNS.format(here=here, port=port, settings=settings))
            return [path, f"--config-dir={here}"]
        stanza = stanza.replace("/var/lib/unbound", str(here))
        config = UNBOUND.format(here=here, port=port, tls_port=self.tls_port, stanza=stanza)
        (here / "unbound.conf").write_text(config)
        return [path, "-d", "-p", "-c", str(here / "unbound.conf")]

    def follower_said(self) -> str:
        return (self.here / "follow.log").read_text()

    def held(self) -> bool:
        return Store(self.state).held() is not None

    def stands_at(self, serial: int) -> bool:
        """Is that release in force, or held?"""
        held = Store(self.state).held()
        accepted = Store(self.state).accepted()
        return bool((held and held.serial == serial) or (accepted and accepted.manifest.serial == serial))


def covered(name: str, listed: set[str]) -> bool:
    """Does the list hold the name or one above it?"""
    parts = name.split(".")
    return any(".".join(parts[n:]) in listed for n in range(len(parts)))


def texts(rules: Sequence[Rule]) -> set[str]:
    return {str(rule.target) for rule in rules}


def wait(engines: Sequence[Engine], gone: Sequence[str], come: Sequence[str], seconds: float) -> dict[str, float]:
    """Seconds until each engine refuses what came and answers what has gone."""
    began = time.monotonic()
    took: dict[str, float] = {}
    while len(took) < len(engines) and time.monotonic() - began < seconds:
        for engine in engines:
            if engine.name not in took and all(map(engine.refuses, come)) and all(map(engine.answers, gone)):
                took[engine.name] = time.monotonic() - began
        time.sleep(0.05)
    return took


def state_bulk(feed: FeedFactory, rules: Sequence[Rule], serial: int, now: datetime) -> None:
    """Two officers' statement for the step to `serial`, which ISPs hold."""
    manifest = feed.standing().manifest
    assert manifest is not None
    step = next(delta for delta in manifest.deltas if delta.to_serial == serial)
    statement = BulkStatement(
        authority=feed.authority,
        from_serial=step.from_serial,
        to_serial=serial,
        removed=step.removed,
        added=step.added,
        reason="the list was cleaned",
        made=now,
    )
    bulk = prepare_bulk(feed.standing(), statement, now)
    for officer in ("an", "binh"):
        bulk = sign_bulk(bulk, feed.officers[officer])
    feed.bulk = bulk
    feed.publish_outcome(rules, now)


@pytest.fixture
def history() -> Iterator[list[str]]:
    folder = DATA / "gambling-vn.history"
    if not folder.exists():
        missing(f"{folder} is not there")
    return versions(folder)


def test_a_change_too_large_reaches_no_resolver_until_two_officers_state_it_and_then_reaches_all(
    tmp_path: Path, need_program: NeedProgram, history: Iterator[list[str]]
) -> None:
    programs = {
        "bind": need_program("named", "bind9"),
        "powerdns": need_program("pdns_recursor", "pdns-recursor"),
        "unbound": need_program("unbound", "unbound"),
    }
    chance, numbers = random.Random(40), dict[str, int]()
    feed = FeedFactory(tmp_path / "feed", training=False)
    rules = rules_of(next(islice(history, FIRST - 1, None)), numbers)
    feed.publish(rules, datetime.now(UTC))
    isp, held = Isp(tmp_path, feed), []
    listed, slowest = texts(rules), dict.fromkeys(programs, 0.0)
    with isp.running(), ExitStack() as stack:
        for program, path in programs.items():
            command = isp.command(program, path)
            stack.enter_context(running(command, isp.ports[program], PROBE, tmp_path / f"{program}.log"))
        engines = [Engine(name, port) for name, port in isp.ports.items()]
        assert len(wait(engines, [PROBE], chance.sample(sorted(listed), 5), 60)) == len(engines)
        for version, names in enumerate(islice(history, LAST - FIRST), FIRST + 1):
            rules = rules_of(names, numbers)
            before, listed = listed, texts(rules)
            all_gone = [name for name in sorted(before - listed) if not covered(name, listed)]
            all_come = [name for name in sorted(listed - before) if not covered(name, before)]
            gone, come = (chance.sample(some, min(4, len(some))) for some in (all_gone, all_come))
            manifest = feed.publish(rules, datetime.now(UTC))
            if until(lambda m=manifest: isp.stands_at(m.serial), SECONDS) >= SECONDS:  # type: ignore[misc]
                pytest.fail(isp.follower_said()[-2000:])
            if isp.held():
                held.append(version)
                assert all(engine.refuses(name) for engine in engines for name in gone), "nothing is unblocked"
                state_bulk(feed, rules, manifest.serial, datetime.now(UTC))
            took = wait(engines, gone, come, SECONDS)
            assert len(took) == len(engines), (version, took, gone, come)
            slowest = {name: max(slowest[name], took[name]) for name in slowest}
        print("slowest, seconds:", slowest)
        assert held == [HELD]
        kept = prune(rules).kept
        print(len(rules), "rules, of which pruning leaves", len(kept))
        for engine in engines:
            wrong = [name for name in chance.sample(sorted(listed), SAMPLED) if not engine.refuses(f"a.{name}")]
            assert not wrong, (engine.name, wrong[:10])
        time.sleep(5.5)
        seen_by = json.loads((isp.state / "zone.json").read_text())["secondaries"]
        assert {name: zones[ZONE]["form"] for name, zones in seen_by.items()} == dict.fromkeys(programs, "ixfr")
