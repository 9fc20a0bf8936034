"""BIND, given the same rules as an RPZ zone, finds the same prefix for an address, and its answers look like ours.

(That names are found alike is shown where the zone is rendered: test_bind.py.)
"""

import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.query
import pytest

from feeds.message import read_query, read_response
from feeds.message.building import encode_name
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import Action, Category, NameTarget, Rule, Scope
from resolver.answer import blocked_answer
from resolver.policy import Hit, Policy, Source

pytestmark = pytest.mark.interop

HOUR = 500_000
SOURCE = Source("prov", 1, "khieunai@so.gov.vn")
NAMED_CONF = """
options {{ directory "{home}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;
  session-keyfile none; recursion yes; allow-query {{ any; }}; dnssec-validation no; minimal-responses no;
  response-policy {{ zone "rpz.prov" policy given max-policy-ttl 300 log no recursive-only no; }}
    qname-wait-recurse no nsip-wait-recurse no; }};
controls {{ }};
zone "rpz.prov" {{ type primary; file "rpz.db"; }};
zone "example" {{ type primary; file "example.db"; }};
"""
TARGETS = {
    Action.NXDOMAIN: "CNAME .",
    Action.NODATA: "CNAME *.",
    Action.PASSTHRU: "CNAME rpz-passthru.",
    Action.TCP_ONLY: "CNAME rpz-tcp-only.",
    Action.LOCAL: "A 192.0.2.80",
}


def random_rules(chance: random.Random) -> list[Rule]:
    """Nested prefixes with mixed actions, and a name."""
    rules = [rule(NameTarget(DomainName("blocked.example"), Scope.EXACT), Action.NXDOMAIN, 1)]
    for length in (24, 26, 28, 30, 32):
        for _k in range(length // 4):
            network = (203 << 24 | 113 << 8 | chance.randint(0, 255)) >> (32 - length) << (32 - length)
            target = Prefix(4, network, length)
            if all(r.target != target for r in rules):
                rules.append(rule(target, chance.choice(list(TARGETS)), len(rules) + 1))
    return rules


def rule(target: NameTarget | Prefix, action: Action, number: int) -> Rule:
    data = "192.0.2.80" if action is Action.LOCAL else ""
    return Rule(target, action, f"prov:{number}", Category.FRAUD, "D", HOUR + 1, data)


def zone_text(rules: list[Rule]) -> str:
    lines = ["$TTL 300", "@ SOA localhost. admin.so.gov.vn. 1 3600 600 86400 300", "@ NS localhost."]
    for each in rules:
        target, owner = each.target, str(each.target).removeprefix("=")
        if isinstance(target, Prefix):
            octets = ".".join(str(target.network >> shift & 255) for shift in (0, 8, 16, 24))
            owner = f"{target.length}.{octets}.rpz-ip"
        lines.append(f"{owner} {TARGETS[each.action]}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def rules() -> list[Rule]:
    return random_rules(random.Random(20261124))


@pytest.fixture(scope="module")
def bind(
    rules: list[Rule], tmp_path_factory: pytest.TempPathFactory, need_program: Callable[[str, str], str]
) -> Iterator[int]:
    """A named on a loopback port, authoritative for `example`, with our rules as its response policy."""
    named = need_program("named", "bind9")
    home = tmp_path_factory.mktemp("named")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / "rpz.db").write_text(zone_text(rules))
    addresses = "\n".join(f"ip{n} A 203.0.113.{n}" for n in range(256))
    example = f"$TTL 300\n@ SOA ns admin 1 3600 600 86400 300\n@ NS ns\nns A 127.0.0.1\n* A 198.51.100.1\n{addresses}\n"
    (home / "example.db").write_text(example)
    (home / "named.conf").write_text(NAMED_CONF.format(home=home, port=port))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([named, "-g", "-n", "1", "-c", str(home / "named.conf")], stdout=log, stderr=log)
        try:
            for _try in range(100):
                if b"rpz: rpz.prov: reload done" in (home / "log").read_bytes():
                    break
                assert process.poll() is None, (home / "log").read_text()
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait(10)


def ask(port: int, name: str) -> bytes:
    query = dns.message.make_query(name + ".", "A", use_edns=False)
    return dns.query.udp(query, "127.0.0.1", port=port, timeout=5, ignore_trailing=True).to_wire()


def outcome(message: dns.message.Message) -> tuple[int, bool, list[str]]:
    """RCODE, TC, and the addresses."""
    found = sorted(record.address for rrset in message.answer for record in rrset)
    return int(message.rcode()), bool(message.flags & dns.flags.TC), found


def ours(hit: Hit | None, name: str, unblocked: str) -> tuple[int, bool, list[str]]:
    if hit is None or hit.lets_pass(over_tcp=False):
        return 0, False, [unblocked]
    query = read_query(dns.message.make_query(name + ".", "A", use_edns=False).to_wire())
    reply = blocked_answer(hit, query, over_tcp=False)
    assert reply is not None
    return outcome(dns.message.from_wire(reply))


def test_bind_finds_the_same_rule_for_every_address(bind: int, rules: list[Rule]) -> None:
    policy = Policy.compile(rules, source=SOURCE)
    differences, blocked = [], 0
    for n in range(256):
        name = f"ip{n}.example"
        address = 203 << 24 | 113 << 8 | n
        hit = policy.by_address(4, address, HOUR)
        expected = ours(hit, name, f"203.0.113.{n}")
        given = outcome(dns.message.from_wire(ask(bind, name)))
        blocked += expected[2] != [f"203.0.113.{n}"]
        if given != expected:
            differences.append((name, given, expected))
    assert not differences
    assert blocked > 20


def test_a_blocked_answer_has_the_shape_of_binds(bind: int, rules: list[Rule]) -> None:
    """The SOA in the additional section and nowhere else, AA and AD clear, RA set."""
    policy = Policy.compile(rules, source=SOURCE)
    name = "blocked.example"
    hit = policy.by_name(encode_name(name), HOUR)
    assert hit is not None
    query = read_query(dns.message.make_query(name + ".", "A", use_edns=False).to_wire())
    made = blocked_answer(hit, query, over_tcp=False)
    assert made is not None
    answers = [read_response(data, query.question) for data in (made, ask(bind, name))]
    for answer in answers:
        assert [record.rtype for record in answer.additional] == [6]
        assert not answer.authority
        assert answer.additional[0].ttl == 300
    assert answers[0].flags & ~dns.flags.AA == answers[1].flags & ~dns.flags.AA
