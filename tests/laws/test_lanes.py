"""The compiled lane says octet for octet what the plain one says, to any packet, in any order."""

from itertools import pairwise
from random import Random
from typing import Any

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import Action, Category, NameTarget, Rule, Scope
from resolver.effects import Ask, Reply
from resolver.policy import Policy
from resolver.session import Config
from tests.lane.pair import Pair, image
from tests.resolver.play import HOUR, response

NAMES = [
    "bad.example", "www.bad.example", "a.b.bad.example", "only.example", "sub.only.example", "good.example",
    "www.good.example", "lapsed.example", "x.lapsed.example", "local.example", "there.example", "nodata.example",
    "drop.example", "tcp.example", "pass.bad.example", "deep.pass.bad.example", "alias.example", "hosted.example",
    "x" * 63 + "." + "y" * 63 + "." + "z" * 63 + ".bad.example", "example", ".",
]  # fmt: skip
TYPES = ["A", "AAAA", "HTTPS", "TXT", "MX", "ANY", "TYPE65400", "SOA", "DS", "OPT", "AXFR"]


def rules(number: int = 1) -> list[Rule]:
    def of(
        target: Any, action: Action = Action.NXDOMAIN, data: str = "", expires: int = HOUR + 100, n: int = 0
    ) -> Rule:
        return Rule(target, action, f"tpa:{n or number}", Category.GAMBLING, "12/QD-2026", expires, data)

    def name(text: str, scope: Scope = Scope.SUBTREE) -> NameTarget:
        return NameTarget(DomainName(text), scope)

    return [
        of(name("bad.example"), n=123456789),
        of(name("only.example", Scope.EXACT)),
        of(name("lapsed.example"), expires=HOUR),
        of(name("local.example"), Action.LOCAL, "192.0.2.9,2001:db8::9"),
        of(name("there.example"), Action.LOCAL, "notice.example"),
        of(name("nodata.example"), Action.NODATA),
        of(name("drop.example"), Action.DROP),
        of(name("tcp.example"), Action.TCP_ONLY),
        of(name("pass.bad.example"), Action.PASSTHRU),
        of(Prefix.of_text("198.51.100.0/24")),
        of(Prefix.of_text("2001:db8:bad::/48")),
    ]


POLICY = Policy([image([Rule(NameTarget(DomainName("free.bad.example"), Scope.SUBTREE), Action.PASSTHRU, "tpa:9",
                             Category.GAMBLING, "1", HOUR + 9)], seed=2), image(rules())])  # fmt: skip

queries = st.builds(
    lambda name, rtype, edns, do, payload, flags, case, ident: spelled(
        name, rtype, edns, do, payload, flags, case, ident
    ),
    st.sampled_from([*NAMES, "free.bad.example", "never.example"]),
    st.sampled_from(TYPES),
    st.sampled_from(["none", "plain", "cookie", "foreign", "cut", "long", "padding", "ecs", "origin", "version"]),
    st.booleans(),
    st.sampled_from([0, 512, 600, 1232, 4096]),
    st.sampled_from([0x0100, 0x0000, 0x0110, 0x0120, 0x0130, 0x0900, 0x8100]),
    st.integers(0, 2**32),
    st.integers(0, 65535),
)
OPTIONS = {
    "plain": [],
    "cookie": [dns.edns.GenericOption(10, b"12345678")],
    "foreign": [dns.edns.GenericOption(10, b"12345678" + b"\1\0\0\0" + bytes(12))],
    "cut": [dns.edns.GenericOption(10, b"123456789")],
    "long": [dns.edns.GenericOption(10, b"12345678" + bytes(33))],
    "padding": [dns.edns.GenericOption(12, bytes(40))],
    "ecs": [dns.edns.GenericOption(8, b"\0\1\x18\0\xc0\0\2")],
    "origin": [dns.edns.GenericOption(65313, b"")],
    "version": [],
}


def spelled(name: str, rtype: str, edns: str, do: bool, payload: int, flags: int, case: int, ident: int) -> bytes:
    rng = Random(case)
    text = "".join(c.upper() if rng.random() < 0.5 else c for c in name)
    made = dns.message.make_query(text, rtype, use_edns=-1)
    if edns != "none":
        made.use_edns(1 if edns == "version" else 0, 0x8000 if do else 0, payload, options=OPTIONS[edns])
    made.flags = flags
    made.id = ident
    try:
        return made.to_wire()
    except dns.exception.DNSException:
        return b""


def upstream(ask: Ask, kind: int) -> bytes:
    name = dns.message.from_wire(ask.data).question[0].name.to_text()
    texts = [
        [f"{name} 60 IN A 192.0.2.1"],
        [f"{name} 60 IN CNAME www.bad.example.", "www.bad.example. 60 IN A 192.0.2.1"],
        [f"{name} 60 IN CNAME fine.example.", "fine.example. 30 IN A 192.0.2.1", "fine.example. 30 IN A 192.0.2.2"],
        [f"{name} 60 IN A 198.51.100.7"],
        [f"{name} 60 IN A 10.1.2.3"],
        [f"{name} 60 IN HTTPS 1 bad.example. ipv4hint=192.0.2.1"],
        [f"{name} 60 IN TXT " + " ".join(['"' + "t" * 250 + '"'] * 5)],
        [],
    ]
    return response(ask.data, *texts[kind])


def same(plain: list[Any], behind: list[Any]) -> None:
    assert [e.data for e in plain if isinstance(e, Reply)] == [e.data for e in behind if isinstance(e, Reply)]
    assert [e.data for e in plain if isinstance(e, Ask)] == [e.data for e in behind if isinstance(e, Ask)]


@given(st.lists(st.tuples(queries, st.integers(0, 7), st.sampled_from([0, 0, 0.4, 1, 31, 70])), max_size=12))
def test_both_lanes_answer_every_sequence_of_queries_alike(steps):
    both = Pair(POLICY)
    for packet, kind, later in steps:
        both.now += later
        plain, behind = both.asks(packet)
        same(plain, behind)
        for one, other in zip(
            [e for e in plain if isinstance(e, Ask)], [e for e in behind if isinstance(e, Ask)], strict=True
        ):
            try:
                said = upstream(one, kind)
            except dns.exception.DNSException:
                continue
            same(*both.answers(one, other, said))
    counted = both.counters()
    assert counted.udp == both.plain.counters.udp
    assert counted.blocked == both.plain.counters.blocked
    assert counted.cookies == both.plain.counters.cookies
    assert counted.limited == both.plain.counters.limited


@given(queries, st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=3), st.integers(0, 300))
def test_both_lanes_answer_a_damaged_packet_alike(packet, changes, cut):
    both = Pair(POLICY)
    data = bytearray(packet)
    for place, octet in changes:
        if data:
            data[place % len(data)] = octet
    for damaged in (bytes(data), bytes(data[:cut]), bytes(data) + b"\0"):
        same(*both.asks(damaged))
        # The second time what had to be taught is known.
        same(*both.asks(damaged))


@given(st.binary(max_size=600))
def test_both_lanes_answer_any_octets_alike(data):
    both = Pair(POLICY)
    same(*both.asks(data))


@pytest.mark.parametrize("size", [0, 512, 1232])
def test_a_second_query_is_answered_by_the_lane_itself(size):
    both = Pair(POLICY)
    packets = [spelled(name, "A", "plain" if size else "none", False, size, 0x0100, 3, 7) for name in NAMES[:9]]
    for packet in packets:
        plain, behind = both.asks(packet)
        for one, other in zip(plain, behind, strict=True):
            if isinstance(one, Ask):
                same(*both.answers(one, other, upstream(one, 0)))
    before = both.by_lane
    for packet in packets:
        same(*both.asks(packet))
    assert both.by_lane - before == len(packets)


@given(st.lists(st.sampled_from(["203.0.113.1", "203.0.113.77", "198.18.0.1", "2001:db8::1"]), max_size=40))
def test_both_lanes_limit_alike(hosts):
    both = Pair(POLICY, Config(("a",), rate_limit=1))
    packet = spelled("bad.example", "A", "plain", False, 1232, 0x0100, 3, 7)
    for host in hosts:
        same(*both.asks(packet, host))


@given(
    st.lists(
        st.tuples(st.integers(0, 4000), st.booleans(), st.sampled_from(["bad.example", "lapsed.example"])), max_size=8
    ),
    st.integers(0, 7),
    st.integers(0, 1),
)
def test_both_lanes_prove_and_renew_cookies_alike(steps, damaged, rate):
    both = Pair(POLICY, Config(("a",), rate_limit=rate))
    wall, cookie = 1_000_000.0, b"12345678"
    for later, damage, name in steps:
        wall += later
        both.turn(wall)
        data = cookie
        if damage and len(cookie) > 8:
            data = cookie[:16] + bytes([cookie[16] ^ 1]) + cookie[17:] if damaged < 4 else cookie[:20]
        made = dns.message.make_query(name, "A", use_edns=0, options=[dns.edns.GenericOption(10, data)], payload=1232)
        plain, behind = both.asks(made.to_wire())
        same(plain, behind)
        for reply in plain:
            if isinstance(reply, Reply):
                options = dns.message.from_wire(reply.data).options
                cookie = next((o.to_wire() for o in options if o.otype == 10), cookie)


def test_the_cache_keeps_its_bound_and_lets_go_of_what_was_used_longest_ago():
    both = Pair(POLICY, Config(("a",), rate_limit=0, cache_bytes=100_000))
    kept = both.lane.kept
    for n in range(1000):
        plain, behind = both.asks(spelled(f"n{n}.good.example", "A", "none", False, 0, 0x0100, 1, n))
        same(*both.answers(plain[0], behind[0], upstream(plain[0], 0)))
        both.now += 1.0 / 16
        assert kept.bytes <= 100_000
    assert kept.evicted > 0
    left = [n for n in range(1000) if kept.get(b"\x04n%03d\x04good\x07example\0\0\1\0" % n, both.now) is not None]
    assert all(b == a + 1 for a, b in pairwise(left))
    assert left[-1:] == [999]


def test_an_answer_that_an_exception_lets_pass_is_left_to_python_once_only():
    both = Pair(POLICY)
    packet = spelled("www.good.example", "A", "none", False, 0, 0x0100, 1, 7)
    plain, behind = both.asks(packet)
    texts = ["www.good.example. 60 IN CNAME free.bad.example.", "free.bad.example. 60 IN A 192.0.2.1"]
    same(*both.answers(plain[0], behind[0], response(plain[0].data, *texts)))
    same(*both.asks(packet))
    before = both.by_python
    for _n in range(5):
        same(*both.asks(packet))
    assert both.by_python == before


def test_a_client_that_brings_its_cookie_back_is_believed_by_the_lane_itself():
    both = Pair(POLICY, Config(("a",), rate_limit=1))
    both.turn(1_000_000.0)

    def asks(data: bytes) -> bytes:
        made = dns.message.make_query("bad.example", "A", options=[dns.edns.GenericOption(10, data)], payload=1232)
        _plain, [reply] = both.asks(made.to_wire())
        return next(o.to_wire() for o in dns.message.from_wire(reply.data).options if o.otype == 10)

    asks(b"12345678")
    cookie = asks(b"12345678")
    assert len(cookie) == 24
    # Without it the limit would have come long before.
    assert all(asks(cookie) == cookie for _n in range(50))
    assert both.lane.native.counts()[0]["proven"] == 50
