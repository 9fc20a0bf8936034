"""What the policy promises in particular cases that people rely on."""

import time
import tracemalloc
from collections.abc import Callable
from struct import pack

import pytest

from feeds.manifest import Canary
from feeds.message import Response, read_response
from feeds.message.building import encode_name, encode_question, encode_record
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import Action, Category, Limits, NameTarget, Rule, Scope
from resolver.policy import EMPTY, Layer, Policy, Source, read_plain_list

HOUR = 500_000
SOURCE = Source("prov", 7, "khieunai@so.gov.vn")


def subtree(name: str) -> NameTarget:
    return NameTarget(DomainName(name), Scope.SUBTREE)


def rule(
    target: str, action: Action = Action.NXDOMAIN, expires: int = HOUR + 24, data: str = "", entry: int = 9
) -> Rule:
    place = (
        Prefix.of_text(target)
        if "/" in target
        else NameTarget(DomainName(target.removeprefix("=")), Scope.EXACT if target.startswith("=") else Scope.SUBTREE)
    )
    return Rule(place, action, f"prov:{entry}", Category.GAMBLING, "45/QĐ-STTTT", expires, data)


def policy_of(*rules: Rule) -> Policy:
    return Policy.compile(rules, source=SOURCE)


def answer(*records: bytes, name: str = "www.shop.vn", qtype: int = 1, additional: tuple[bytes, ...] = ()) -> Response:
    question = encode_question(encode_name(name), qtype)
    head = pack("!6H", 1, 0x8180, 1, len(records), 0, len(additional))
    return read_response(head + question + b"".join(records + additional), question)


def alias(owner: str, target: str, rtype: int = 5) -> bytes:
    return encode_record(encode_name(owner), rtype, 60, encode_name(target))


def service(owner: str, target: str, rest: bytes = b"", priority: int = 1) -> bytes:
    return encode_record(encode_name(owner), 65, 60, pack("!H", priority) + encode_name(target) + rest)


def found(policy: Policy, response: Response) -> str | None:
    hit = policy.judge_answer(response, HOUR)
    return hit.target if hit else None


def test_a_subtree_holds_the_name_and_all_below_but_not_its_neighbours() -> None:
    policy = policy_of(rule("bad.vn"))
    for name in ("bad.vn", "www.bad.vn", "a.b.c.bad.vn"):
        hit = policy.by_name(encode_name(name), HOUR)
        assert hit is not None
        assert (hit.entry, hit.target, hit.action, hit.ground.category) == ("prov:9", "bad.vn", "nxdomain", "gambling")
    for name in ("xbad.vn", "vn", "bad.vn.com", "good.vn"):
        assert policy.by_name(encode_name(name), HOUR) is None
    assert policy.by_name(b"\0", HOUR) is None


def test_labels_with_dots_inside_are_other_names() -> None:
    """`www\\.bad.vn` is two labels, the first with a dot in it: not below bad.vn."""
    assert policy_of(rule("bad.vn")).by_name(b"\x07www.bad\2vn\0", HOUR) is None


def test_a_child_with_a_passthru_is_let_through_under_a_blocked_parent() -> None:
    policy = policy_of(rule("bad.vn"), rule("=help.bad.vn", Action.PASSTHRU))
    hit = policy.by_name(encode_name("help.bad.vn"), HOUR)
    assert hit is not None
    assert hit.lets_pass(over_tcp=False)
    assert hit.target == "=help.bad.vn"
    below = policy.by_name(encode_name("www.help.bad.vn"), HOUR)
    assert below is not None
    assert below.action is Action.NXDOMAIN


def test_a_rule_lapses_by_itself_and_the_wider_one_takes_over() -> None:
    policy = policy_of(rule("a.bad.vn", Action.NODATA, expires=HOUR + 1), rule("bad.vn", expires=HOUR + 2))
    name = encode_name("x.a.bad.vn")
    actions = [hit.action if (hit := policy.by_name(name, hour)) else None for hour in (HOUR, HOUR + 1, HOUR + 2)]
    assert actions == ["nodata", "nxdomain", None]
    nets = policy_of(rule("203.0.113.0/25", Action.NODATA, expires=HOUR + 1), rule("203.0.113.0/24", expires=HOUR + 2))
    address = int.from_bytes(bytes((203, 0, 113, 5)))
    actions = [hit.action if (hit := nets.by_address(4, address, h)) else None for h in (HOUR, HOUR + 1, HOUR + 2)]
    assert actions == ["nodata", "nxdomain", None]


def test_tcp_only_lets_pass_over_tcp() -> None:
    hit = policy_of(rule("bad.vn", Action.TCP_ONLY)).by_name(encode_name("bad.vn"), HOUR)
    assert hit is not None
    assert (hit.lets_pass(over_tcp=False), hit.lets_pass(over_tcp=True)) == (False, True)


def test_the_operators_exceptions_come_first_and_are_not_counted() -> None:
    policy = Policy.compile(
        [rule("bad.vn"), rule("203.0.113.0/24")],
        source=SOURCE,
        exceptions=[subtree("ok.bad.vn"), Prefix.of_text("203.0.113.7/32")],
    )
    hit = policy.by_name(encode_name("www.ok.bad.vn"), HOUR)
    assert hit is not None
    assert (hit.action, hit.entry, hit.ground.counted, hit.ground.category) == (Action.PASSTHRU, "", False, None)
    assert policy.by_name(encode_name("bad.vn"), HOUR).action is Action.NXDOMAIN  # type: ignore[union-attr]
    net = 203 << 24 | 113 << 8
    assert policy.by_address(4, net | 7, HOUR).action is Action.PASSTHRU  # type: ignore[union-attr]
    assert policy.by_address(4, net | 8, HOUR).action is Action.NXDOMAIN  # type: ignore[union-attr]


def test_canaries_never_lapse_and_are_not_counted() -> None:
    canaries = [Canary(name="local.canary.example", action=Action.LOCAL, data="192.0.2.80")]
    policy = Policy.compile([], source=SOURCE, canaries=canaries)
    hit = policy.by_name(encode_name("local.canary.example"), 2_999_999)
    assert hit is not None
    assert (hit.action, hit.ground.data, hit.ground.counted, hit.entry) == ("local", "192.0.2.80", False, "")


@pytest.mark.parametrize(
    ("name", "action", "data"),
    [
        ("a..b.example", Action.NXDOMAIN, ""),
        ("..", Action.NXDOMAIN, ""),
        ("c.example", Action.LOCAL, ""),
        ("c.example", Action.LOCAL, "a..b"),
        ("c.example", Action.LOCAL, "1.2.3"),
        ("c.example", Action.LOCAL, "192.0.2.1\n192.0.2.2"),
        ("c.example", Action.NXDOMAIN, "192.0.2.1"),
        # Nothing that anybody else owns: a canary passes by officers, guard, floor and expiry.
        ("google.com", Action.NXDOMAIN, ""),
        ("bad.vn", Action.PASSTHRU, ""),
        ("example", Action.NXDOMAIN, ""),
        ("vn", Action.NXDOMAIN, ""),
    ],
)
def test_a_canary_that_may_not_be_is_left_out_and_the_rest_loads(name: str, action: Action, data: str) -> None:
    odd = Canary(name=name, action=action, data=data)
    good = Canary(name="good.example", action=Action.NXDOMAIN)
    policy = Policy.compile([rule("bad.vn")], source=SOURCE, canaries=[odd, good])
    assert len(policy) == 2
    assert policy.by_name(encode_name("good.example"), HOUR) is not None
    assert policy.by_name(encode_name("bad.vn"), HOUR).action is Action.NXDOMAIN  # type: ignore[union-attr]
    assert policy.by_name(encode_name("google.com"), HOUR) is None


def test_every_hop_of_a_chain_is_judged_whatever_its_spelling() -> None:
    policy = policy_of(rule("bad.vn"))
    hops = [alias("www.shop.vn", "a.CDN.net"), alias("A.cdn.NET", "b.cdn.net"), alias("b.cdn.net", "X.bAD.vn")]
    assert found(policy, answer(*hops)) == "bad.vn"
    assert found(policy, answer(*reversed(hops))) == "bad.vn", "the order of the records does not matter"
    assert found(policy, answer(*hops[:2])) is None


def test_the_earliest_hop_decides() -> None:
    policy = policy_of(rule("first.vn", Action.PASSTHRU), rule("second.vn"))
    hops = [alias("www.shop.vn", "first.vn"), alias("first.vn", "second.vn")]
    hit = policy.judge_answer(answer(*hops), HOUR)
    assert hit is not None
    assert hit.lets_pass(over_tcp=False)


def test_an_alias_off_the_chain_is_judged_too() -> None:
    assert found(policy_of(rule("bad.vn")), answer(alias("other.vn", "bad.vn"))) == "bad.vn"


def test_loops_of_aliases_end() -> None:
    assert found(policy_of(rule("bad.vn")), answer(alias("www.shop.vn", "a.vn"), alias("a.vn", "www.shop.vn"))) is None


def test_a_dname_without_its_cname_leads_to_the_name_it_makes() -> None:
    policy = policy_of(rule("=www.bad.vn"))
    assert found(policy, answer(alias("shop.vn", "BAD.vn", rtype=39))) == "=www.bad.vn"
    assert found(policy, answer(alias("www.shop.vn", "bad.vn", rtype=39))) is None, "a DNAME does not hold at its owner"


@pytest.mark.parametrize("section", ["answers", "hints"])
@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        ("203.0.113.0/24", bytes((203, 0, 113, 9))),
        ("2001:db8:7::/48", bytes.fromhex("20010db8000700000000000000000001")),
        ("203.0.113.0/24", bytes.fromhex("00000000000000000000ffffcb007109")),
        ("203.0.113.0/24", bytes.fromhex("0064ff9b0000000000000000cb007109")),
    ],
)
def test_a_name_that_resolves_into_a_blocked_prefix_is_blocked(section: str, prefix: str, address: bytes) -> None:
    """Mapped and NAT64 forms of an IPv4 address lead to the same host, so they are the same address here."""
    policy = policy_of(rule(prefix))
    if section == "answers":
        response = answer(encode_record(b"\xc0\x0c", 1 if len(address) == 4 else 28, 60, address))
    else:
        hint = pack("!HH", 4 if len(address) == 4 else 6, len(address)) + address
        response = answer(service("www.shop.vn", ".", hint), qtype=65)
    assert found(policy, response) == prefix
    assert found(policy_of(rule("198.51.100.0/24")), response) is None


def test_targets_of_service_bindings_are_judged() -> None:
    policy = policy_of(rule("bad.vn"), rule("203.0.113.0/24"))
    assert found(policy, answer(service("www.shop.vn", "Pool.BAD.vn"), qtype=65)) == "bad.vn"
    assert found(policy, answer(service("www.shop.vn", "bad.vn", priority=0), qtype=65)) == "bad.vn"
    glue = encode_record(encode_name("pool.shop.vn"), 1, 60, bytes((203, 0, 113, 1)))
    assert (
        found(policy, answer(service("www.shop.vn", "pool.shop.vn"), qtype=65, additional=(glue,))) == "203.0.113.0/24"
    )


def test_prefixes_limited_to_ports_are_not_enforced_in_dns() -> None:
    limited = Rule(
        Prefix.of_text("203.0.113.0/24"),
        Action.NXDOMAIN, "prov:1", Category.FRAUD, "D", HOUR + 1, limits=Limits("tcp", ((443, 443),)),
    )  # fmt: skip
    assert policy_of(limited).by_address(4, 203 << 24 | 113 << 8, HOUR) is None


def test_the_earlier_layer_decides() -> None:
    ours = Layer.of_list([subtree("bad.vn")], source=Source("own", 0, foreign=True))
    feed = Layer.compile([rule("www.bad.vn", Action.PASSTHRU)], source=SOURCE)
    hit = Policy([ours, feed]).by_name(encode_name("www.bad.vn"), HOUR)
    assert hit is not None
    assert hit.ground.source.foreign
    assert Policy([feed, ours]).by_name(encode_name("www.bad.vn"), HOUR).lets_pass(False)  # type: ignore[union-attr]


def test_the_empty_policy_says_nothing() -> None:
    assert EMPTY.by_name(encode_name("bad.vn"), HOUR) is None
    assert EMPTY.judge_answer(answer(alias("www.shop.vn", "bad.vn")), HOUR) is None
    assert len(EMPTY) == 0


def test_a_plain_list_is_read_to_the_end_and_the_floor_applies() -> None:
    lines = [
        "# list",
        "bad.vn",
        "",
        "http://Ví-Dụ.vn/x  # a page",
        "com.vn",
        "vn",
        "1.2.3.4",
        "10.0.0.0/8",
        "a b",
        "2a00::/48",
    ]
    read = read_plain_list(lines)
    assert list(map(str, read.targets)) == ["bad.vn", "xn--v-d-rma6749a.vn", "1.2.3.4/32", "2a00::/48"]
    assert [(p.place, p.rule) for p in read.refused] == [
        ("line 5", "floor.icann-suffix"),
        ("line 6", "floor.single-label"),
        ("line 8", "floor.too-wide"),
        ("line 9", "name.character"),
    ]
    policy = Policy([Layer.of_list(read.targets, source=Source("trial", 0, foreign=True))])
    assert len(policy) == 4
    assert policy.by_name(encode_name("www.bad.vn"), HOUR).entry == ""  # type: ignore[union-attr]


@pytest.mark.data
@pytest.mark.slow
def test_a_million_names_compile_in_seconds_and_fit_200_mb(real_list: Callable[[str], list[str]]) -> None:
    names = real_list("malware.domains.txt.gz")
    rules = [rule(name, entry=n) for n, name in enumerate(names, 1)]
    start = time.process_time()
    policy = policy_of(*rules)
    took = time.process_time() - start
    assert len(policy) == len(names) == 1_109_721
    assert took < 15
    del policy
    tracemalloc.start()
    policy = policy_of(*rules)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    print(f"{len(policy)} names: {took:.1f} s, {size / 1e6:.0f} MB")
    assert size < 200e6
