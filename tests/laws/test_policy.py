"""Law: the compiled policy says what an obviously correct one says, for every name, address and answer."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import pairwise
from struct import pack

from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.message import read_response
from feeds.message.building import encode_name, encode_question, encode_record
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import Action, Category, Limits, NameTarget, Rule, Scope, Target
from resolver.policy import Hit, Layer, Policy, Source

HOUR = 500_000
SOURCE = Source("prov", 1, "khieunai@so.gov.vn")

names = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)
name_targets = st.builds(lambda n, s: NameTarget(DomainName(n), s), names, st.sampled_from(Scope))
# Few bits, so that prefixes and addresses meet.
prefixes = st.builds(
    lambda version, bits, length: (
        Prefix(4, (198 << 24 | bits << 4) >> (32 - length) << (32 - length), length)
        if version == 4
        else Prefix(6, (0x20010DB8 << 96 | bits << 4) >> (128 - length - 96) << (128 - length - 96), length + 96)
    ),
    st.sampled_from([4, 6]),
    st.integers(0, 15),
    st.integers(24, 32),
)
targets = st.one_of(name_targets, prefixes)
addresses = st.builds(
    lambda version, low: (version, (198 << 24 if version == 4 else 0x20010DB8 << 96) | low),
    st.sampled_from([4, 6]),
    st.integers(0, 255),
)


@st.composite
def rule_lists(draw: st.DrawFn) -> list[Rule]:
    out = []
    for number, target in enumerate(draw(st.lists(targets, max_size=12, unique=True)), 1):
        action = draw(st.sampled_from(Action))
        data = "192.0.2.1" if action is Action.LOCAL else ""
        expires = draw(st.sampled_from([HOUR - 1, HOUR, HOUR + 1, HOUR + 9]))
        limits = draw(st.sampled_from([Limits(), Limits(), Limits("tcp")]))
        rule = Rule(target, action, f"prov:{number}", Category.FRAUD, draw(st.sampled_from("DE")), expires, data)
        out.append(replace(rule, limits=limits) if isinstance(target, Prefix) else rule)
    return out


# --- the reference: lists searched from end to end, text instead of bytes ---


def reference_name(name: str, rules: list[Rule]) -> Rule | None:
    """Exact at the name, then subtree from the name upwards; what has lapsed is not there."""
    live = [rule for rule in rules if rule.expires > HOUR and isinstance(rule.target, NameTarget)]
    for rule in live:
        if rule.target == NameTarget(DomainName(name), Scope.EXACT):
            return rule
    labels = name.split(".")
    for start in range(len(labels)):
        for rule in live:
            if rule.target == NameTarget(DomainName(".".join(labels[start:])), Scope.SUBTREE):
                return rule
    return None


def reference_addresses(found: list[tuple[int, int]], rules: list[Rule]) -> Rule | None:
    """The longest prefix (of 128 bits), then the lowest address."""
    matches = []
    for version, address in found:
        for rule in rules:
            target = rule.target
            if isinstance(target, Prefix) and rule.expires > HOUR and not rule.limits.protocol:
                network = ip_network(str(target))
                if network.version == version and ip_address(_text(version, address)) in network:
                    longer = network.prefixlen + (96 if version == 4 else 0)
                    matches.append((-longer, address, rule))
    return min(matches, key=lambda match: match[:2])[2] if matches else None


def _text(version: int, address: int) -> str:
    return str(ip_address(address.to_bytes(4 if version == 4 else 16)))


def reference_answer(chain: list[str], found: list[tuple[int, int]], layers: list[list[Rule]]) -> Rule | None:
    for name in chain:
        for rules in layers:
            rule = reference_name(name, rules)
            if rule is not None:
                return rule
    for rules in layers:
        rule = reference_addresses(found, rules)
        if rule is not None:
            return rule
    return None


def same(hit: Hit | None, rule: Rule | None) -> bool:
    if hit is None or rule is None:
        return hit is rule is None
    ground = hit.ground
    return (ground.action, ground.data, ground.category, ground.decision, ground.expires, hit.entry, hit.target) == (
        rule.action, rule.data, rule.category, rule.decision, rule.expires, rule.entry, str(rule.target)
    )  # fmt: skip


@settings(max_examples=400)
@given(rule_lists(), names)
def test_names_are_found_as_the_reference_finds_them(rules: list[Rule], name: str) -> None:
    policy = Policy.compile(rules, source=SOURCE)
    assert same(policy.by_name(encode_name(name), HOUR), reference_name(name, rules))


@settings(max_examples=400)
@given(rule_lists(), addresses)
def test_addresses_are_found_as_the_reference_finds_them(rules: list[Rule], address: tuple[int, int]) -> None:
    policy = Policy.compile(rules, source=SOURCE)
    assert same(policy.by_address(*address, HOUR), reference_addresses([address], rules))


@settings(max_examples=400)
@given(
    rule_lists(),
    rule_lists(),
    st.lists(names, min_size=1, max_size=4, unique=True),
    st.lists(addresses, max_size=4),
    st.booleans(),
)
def test_whole_answers_are_judged_as_the_reference_judges_them(
    first: list[Rule], second: list[Rule], chain: list[str], found: list[tuple[int, int]], upper: bool
) -> None:
    policy = Policy([Layer.compile(first, source=SOURCE), Layer.compile(second, source=SOURCE)])
    spelled = bytes.upper if upper else bytes
    records = [encode_record(spelled(encode_name(a)), 5, 60, spelled(encode_name(b))) for a, b in pairwise(chain)]
    owner = encode_name(chain[-1])
    records += [
        encode_record(owner, 1 if version == 4 else 28, 60, address.to_bytes(4 if version == 4 else 16))
        for version, address in found
    ]
    question = encode_question(encode_name(chain[0]), 1)
    body = question + b"".join(records)
    response = read_response(pack("!6H", 1, 0x8180, 1, len(records), 0, 0) + body, question)
    assert same(policy.judge_answer(response, HOUR), reference_answer(chain[1:], found, [first, second]))


@given(st.lists(targets, max_size=8), names, addresses)
def test_an_exception_wins_over_every_rule_on_the_same_target(
    exceptions: list[Target], name: str, address: tuple[int, int]
) -> None:
    rules = [
        Rule(target, Action.NXDOMAIN, f"prov:{n}", Category.SPAM, "D", HOUR + 1)
        for n, target in enumerate(exceptions, 1)
    ]
    policy = Policy.compile(rules, source=SOURCE, exceptions=exceptions)
    for hit in (policy.by_name(encode_name(name), HOUR), policy.by_address(*address, HOUR)):
        assert hit is None or hit.lets_pass(over_tcp=False)
