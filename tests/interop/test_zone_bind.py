"""BIND and we, given the same foreign zones, the same upstream and the same clients, answer the same."""

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.interop.rpz_sets import free_port
from tests.resolver.live import LiveResolver, resolver

pytestmark = pytest.mark.interop

HEAD = "$TTL 300\n@ SOA localhost. root 7 3600 600 86400 60\n@ NS localhost.\n"
ACTIONS = (
    "CNAME .",
    "CNAME *.",
    "CNAME rpz-passthru.",
    "CNAME rpz-tcp-only.",
    "77 A 192.0.2.80",
    "88 TXT local",
    "99 CNAME there.example.",
    "66 CNAME *.walled.example.",
    "55 CNAME nowhere.example.",
)
LABELS = ("a", "b", "c")
PATIENCE_SECONDS = 3.0  # what is dropped is waited for so long
CLIENTS = ("127.0.1.1", "127.0.1.130", "127.0.1.200", "127.0.1.201", "127.0.2.1")
EXAMPLE = (
    "$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
    "there A 203.0.113.250\nthere TXT there\n*.walled A 203.0.113.251\n*.z A 203.0.113.252\n*.z TXT plain\n"
    + "".join(f"ip{n} A 203.0.113.{n}\n" for n in range(64))
    + "".join(f"six{n} AAAA 2001:db8::{n:x}\n" for n in range(1, 32))
    + "hop1 CNAME a.b.z\nhop2 CNAME hop3\nhop3 CNAME ip5\nboth A 203.0.113.3\nboth A 203.0.113.60\n"
)
OPTIONS = """
options {{ directory "{home}"; listen-on port {port} {{ any; }}; listen-on-v6 {{ none; }}; pid-file none;
  session-keyfile none; recursion yes; allow-query {{ any; }}; dnssec-validation no; minimal-responses yes; {more} }};
controls {{ }};
zone "example" {{ type primary; file "example.db"; }};
"""


class Answer(NamedTuple):
    """What a client sees; `silent` alone where nothing comes."""

    rcode: str = "silent"
    truncated: bool = False
    records: tuple[str, ...] = ()


def random_zone(chance: random.Random) -> str:
    """Names below z.example with every action, wildcards and holes among them; prefixes; clients."""
    lines: dict[str, str] = {}
    for _n in range(120):
        owner = ".".join([*(chance.choice(LABELS) for _label in range(chance.randint(1, 4))), "z.example"])
        lines.setdefault(chance.choice(["", "", "*."]) + owner, chance.choice(ACTIONS))
    for length in (26, 28, 30, 32):
        for _n in range(6):
            last = chance.randrange(64) >> 32 - length << 32 - length
            lines.setdefault(f"{length}.{last}.113.0.203.rpz-ip", chance.choice(ACTIONS))
    for length in (124, 126, 128):
        for _n in range(4):
            last = chance.randrange(1, 32) >> 128 - length << 128 - length
            lines.setdefault(f"{length}.{f'{last:x}.' if last else ''}zz.db8.2001.rpz-ip", chance.choice(ACTIONS))
    clients = {"25.128.1.0.127": "CNAME .", "29.200.1.0.127": "CNAME rpz-passthru.", "32.200.1.0.127": "77 A 192.0.2.9"}
    lines |= {f"{prefix}.rpz-client-ip": action for prefix, action in clients.items()}
    return HEAD + "".join(f"{owner} {action}\n" for owner, action in lines.items())


def questions() -> Iterator[tuple[str, str]]:
    names = ["z.example"]
    for name in names:
        if name.count(".") < 5:
            names += [f"{label}.{name}" for label in LABELS]
    chance = random.Random(4)
    for name in [*chance.sample(names[1:], 110), "q.a.b.c.a.z.example", "q.c.z.example", "Q.b.A.z.Example"]:
        yield name, chance.choice(["A", "A", "TXT", "AAAA", "CNAME"])
    for n in range(64):
        yield f"ip{n}.example", "A"
    for n in range(1, 32):
        yield f"six{n}.example", "AAAA"
    for name in ("hop1", "hop2", "hop3", "both", "there", "nowhere"):
        yield f"{name}.example", "A"


def ask(port: int, name: str, rtype: str, client: str = "127.0.0.1", tcp: bool = False) -> Answer:
    query = dns.message.make_query(name + ".", rtype)
    way = dns.query.tcp if tcp else dns.query.udp
    try:
        reply = way(query, "127.0.0.1", timeout=PATIENCE_SECONDS, port=port, source=client)
    except dns.exception.Timeout:
        return Answer()
    assert reply.question == query.question
    # A counted-down TTL is not what is compared: the zone's own are, and they are above 60.
    records = sorted(
        f"{rrset.name} {rrset.ttl if rrset.ttl > 60 else '-'} {dns.rdatatype.to_text(rrset.rdtype)} {item}"
        for rrset in reply.answer
        for item in rrset
    )
    return Answer(dns.rcode.to_text(reply.rcode()), bool(reply.flags & dns.flags.TC), tuple(records))


def data_of(answer: Answer) -> Answer:
    """The addresses and texts alone."""
    return answer._replace(
        records=tuple(record.rpartition(" ")[2] for record in answer.records if "CNAME" not in record)
    )


def timeless(answer: Answer) -> Answer:
    return answer._replace(
        records=tuple(" ".join(record.split()[:1] + record.split()[2:]) for record in answer.records)
    )


@contextmanager
def named(program: str, home: Path, more: str = "", zones: str = "", ready: bytes = b"running") -> Iterator[int]:
    """A BIND with `example`, and perhaps policy zones, on a loopback port."""
    port = free_port()
    home.mkdir(exist_ok=True)
    (home / "example.db").write_text(EXAMPLE)
    (home / "named.conf").write_text(OPTIONS.format(home=home, port=port, more=more) + zones)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([program, "-g", "-n", "1", "-c", str(home / "named.conf")], stdout=log, stderr=log)
    try:
        for _try in range(100):
            if ready in (home / "log").read_bytes():
                break
            assert process.poll() is None, (home / "log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def both(program: str, tmp_path: Path, zones: dict[str, tuple[str, str]]) -> Iterator[tuple[int, LiveResolver]]:
    """BIND and ours with these zones in their order: name to (text, policy)."""
    policies, sections, arguments = "", "", []
    home = tmp_path / "bind"
    home.mkdir()
    for name, (text, policy) in zones.items():
        (home / f"{name}.db").write_text(text)
        policies += f'zone "{name}" policy {policy} max-policy-ttl 86400 log no; '
        sections += f'zone "{name}" {{ type primary; file "{name}.db"; }};\n'
        arguments += ["--zone", f"{name}={home}/{name}.db", "--zone-policy", f"{name}={policy}"]
    more = f"response-policy {{ {policies} }} recursive-only no qname-wait-recurse no nsip-wait-recurse no;"
    ready = f"rpz: {list(zones)[-1]}: reload done".encode()
    with (
        named(program, tmp_path / "upstream") as upstream,
        named(program, home, more, sections, ready) as bind,
        resolver(
            tmp_path, [f"127.0.0.1:{upstream}"], *arguments, "--zone-state", str(tmp_path / "state"), "--lanes", "1",
            "--rate-limit", "0", hosts=("127.0.0.1",),
        ) as ours,
    ):  # fmt: skip
        yield bind, ours


def test_every_trigger_and_action_is_answered_as_bind_answers_it(
    tmp_path: Path, need_program: Callable[[str, str], str]
) -> None:
    zone = random_zone(random.Random(20261124))
    differences, asked, changed = [], 0, 0
    with both(need_program("named", "bind9"), tmp_path, {"rpz.test": (zone, "given")}) as (bind, ours):
        asked_for = [(name, rtype, "127.0.0.1") for name, rtype in questions()]
        asked_for += [(f"ip{n}.example", "A", client) for n in (1, 5, 33) for client in CLIENTS]
        asked_for += [("a.b.z.example", "A", client) for client in CLIENTS]
        for name, rtype, client in asked_for:
            theirs, mine = ask(bind, name, rtype, client), ask(ours.port, name, rtype, client)
            asked += 1
            changed += not mine.records or mine.truncated
            if name.startswith("hop"):
                # BIND keeps the aliases that lead to a rule; ours answers the name that was asked for.
                theirs, mine = data_of(theirs), data_of(mine)
            if theirs != mine:
                differences.append(f"{name} {rtype} of {client}: BIND {theirs}, we {mine}")
    assert not differences, "\n".join(differences)
    assert asked > 200
    assert changed > 50


def test_zones_are_asked_in_their_order_and_policies_override_as_with_bind(
    tmp_path: Path, need_program: Callable[[str, str], str]
) -> None:
    chance = random.Random(7)
    texts = []
    for _zone in range(5):
        lines = {f"n{n}.z.example": chance.choice(ACTIONS) for n in chance.sample(range(60), 24)}
        lines |= {"*.m.z.example": chance.choice(ACTIONS), "deep.k.m.z.example": chance.choice(ACTIONS)}
        texts.append(HEAD + "".join(f"{owner} {action}\n" for owner, action in lines.items()))
    policies = ("given", "disabled", "nodata", "given", "cname there.example")
    zones = {f"z{n}.test": pair for n, pair in enumerate(zip(texts, policies, strict=True))}
    differences = []
    with both(need_program("named", "bind9"), tmp_path, zones) as (bind, ours):
        for name in (*(f"n{n}" for n in range(60)), "x.m", "k.m", "deep.k.m", "x.k.m", "x.deep.k.m"):
            # BIND keeps the TTL of a record whose alias it overrides.
            theirs, mine = (timeless(ask(port, f"{name}.z.example", "A")) for port in (bind, ours.port))
            if theirs != mine:
                differences.append(f"{name}: BIND {theirs}, we {mine}")
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("tcp", [False, True])
def test_drop_is_silent_over_udp_and_tcp_only_lets_tcp_pass_as_with_bind(
    tmp_path: Path, need_program: Callable[[str, str], str], tcp: bool
) -> None:
    rules = (
        "drop.z.example CNAME rpz-drop.",
        "tcp.z.example CNAME rpz-tcp-only.",
        "32.7.113.0.203.rpz-ip CNAME rpz-drop.",
    )
    zone = HEAD + "\n".join(rules) + "\n"
    with both(need_program("named", "bind9"), tmp_path, {"rpz.test": (zone, "given")}) as (bind, ours):
        names = ("tcp.z.example",) if tcp else ("drop.z.example", "ip7.example", "tcp.z.example")
        for name in names:
            theirs, mine = (ask(port, name, "A", tcp=tcp) for port in (bind, ours.port))
            assert theirs == mine
