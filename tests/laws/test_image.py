"""Law: an image says what the policy in memory says, which says what an obviously correct one says (`test_policy`)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.manifest import Canary
from feeds.message.building import encode_name
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import Action, Category, NameTarget, Rule, Scope
from resolver.image import Image, build, new_memory, random_prime
from resolver.policy import (
    Bound,
    ClientPrefix,
    Ground,
    Hit,
    Layer,
    LocalRecord,
    Source,
    WireName,
    numbered,
    records_text,
)
from tests.laws.test_policy import HOUR, SOURCE, addresses, names, rule_lists

CANARIES = (
    Canary(name="a.example", action=Action.NXDOMAIN),
    Canary(name="b.example", action=Action.LOCAL, data="192.0.2.9"),
)
hours = st.sampled_from([HOUR - 1, HOUR, HOUR + 1, HOUR + 8, HOUR + 9, 2_999_999])
# With a prime this small every name collides with another: nothing may rest on the hash.
primes = st.one_of(st.integers(0, 1 << 32).map(lambda seed: random_prime(Random(seed))), st.sampled_from([2, 3, 11]))


@contextmanager
def image_of(rules: list[Rule], prime: int) -> Iterator[Image]:
    grounds: list[Ground] = []
    memory = new_memory()
    try:
        found = numbered(rules, CANARIES, SOURCE, grounds)
        build(memory, found, grounds, source=SOURCE, refused=0, made_from=bytes(32), prime=prime)
        yield Image.of_descriptor(memory, verify=True)
    finally:
        os.close(memory)


def told(hit: Hit | None) -> object:
    """All that anybody can learn of a hit."""
    if hit is None:
        return None
    ground = hit.ground
    return (
        hit.number, hit.matched, hit.exact, hit.entry, hit.target, ground.source, ground.action, ground.data,
        ground.category, ground.decision, ground.expires, ground.counted, ground.cname, ground.bound, ground.records,
    )  # fmt: skip


@st.composite
def rules_and_clashes(draw: st.DrawFn) -> list[Rule]:
    """Rules of which some are for a canary's name, where the canary counts."""
    targets = st.builds(NameTarget, st.sampled_from(["a.example", "b.example"]).map(DomainName), st.sampled_from(Scope))
    clashes = draw(st.lists(targets, max_size=4, unique=True))
    made = [
        Rule(target, Action.NODATA, f"prov:{n}", Category.SPAM, "D", HOUR + 1) for n, target in enumerate(clashes, 50)
    ]
    return draw(rule_lists()) + made


@settings(max_examples=300)
@given(
    rules_and_clashes(), primes, hours, st.lists(st.one_of(names, names.map(lambda n: n + ".example")), max_size=8),
    st.lists(addresses, max_size=5),
)  # fmt: skip
def test_an_image_and_the_policy_in_memory_agree_on_every_name_and_address(
    rules: list[Rule], prime: int, hour: int, asked: list[str], found: list[tuple[int, int]]
) -> None:
    layer = Layer.compile(rules, source=SOURCE, canaries=CANARIES)
    with image_of(rules, prime) as image:
        assert len(image) == len(layer)
        assert (image.has_names, image.has_prefixes) == (layer.has_names, layer.has_prefixes)
        for name in [*asked, *(str(rule.target).removeprefix("=") for rule in rules if "/" not in str(rule.target))]:
            for key in (encode_name(name), b"\x03www" + encode_name(name)):
                assert told(image.by_name(key, hour)) == told(layer.by_name(key, hour))
        assert told(image.by_name(b"\0", hour)) is None
        assert told(image.by_addresses(found, hour)) == told(layer.by_addresses(found, hour))
        for address in found:
            assert told(image.by_addresses([address], hour)) == told(layer.by_addresses([address], hour))


@given(rule_lists(), st.integers(0, 1 << 32))
def test_the_same_rules_and_prime_give_the_same_octets(rules: list[Rule], seed: int) -> None:
    prime = random_prime(Random(seed))
    with image_of(rules, prime) as one, image_of(rules, prime) as other:
        assert one.head == other.head


ZONE = Source("zone", 1, foreign=True, zone="rpz.example")
RECORDS = records_text([LocalRecord(16, 60, b"\x03any"), LocalRecord(1, 5, b"\xc0\x00\x02\x01")])
ALIAS = records_text([LocalRecord(5, 60, b"\x01*\x06walled\x07example\x00")])
GROUNDS = [
    Ground(ZONE, Action.NXDOMAIN),
    Ground(ZONE, Action.NODATA, bound=Bound.BELOW),
    Ground(ZONE, Action.PASSTHRU, bound=Bound.STOP),
    Ground(ZONE, Action.LOCAL, RECORDS, as_records=True),
    Ground(ZONE, Action.LOCAL, ALIAS, bound=Bound.BELOW, as_records=True),
]
labels = st.lists(st.sampled_from([b"\x01a", b"\x01b", b"\x02\x00\xff", b"\x03a.b"]), min_size=1, max_size=4)
wires = labels.map(lambda parts: b"".join(parts) + b"\0")


def prefix_of(version: int, length: int, bits: int) -> Prefix:
    return Prefix(version, bits % (1 << length) << (32 if version == 4 else 128) - length, length)


prefixes = st.builds(prefix_of, st.sampled_from([4, 6]), st.integers(1, 32), st.integers(0, 1 << 32))
zone_targets = st.one_of(st.builds(WireName, wires, st.booleans()), prefixes, prefixes.map(ClientPrefix))


@settings(max_examples=300)
@given(
    st.dictionaries(zone_targets, st.integers(0, len(GROUNDS) - 1), max_size=12),
    primes, st.lists(wires, max_size=8), st.lists(addresses, max_size=5),
)  # fmt: skip
def test_an_image_of_a_foreign_zone_says_of_names_clients_and_addresses_what_the_layer_in_memory_says(
    rules: dict[WireName | Prefix | ClientPrefix, int], prime: int, asked: list[bytes], found: list[tuple[int, int]]
) -> None:
    layer = Layer(ZONE, GROUNDS, rules.items())
    memory = new_memory()
    try:
        build(memory, rules.items(), GROUNDS, source=ZONE, refused=0, made_from=bytes(32), prime=prime)
        image = Image.of_descriptor(memory, verify=True)
    finally:
        os.close(memory)
    assert len(image) == len(layer)
    assert image.has_clients == layer.has_clients
    for key in [*asked, *(rule.name for rule in rules if isinstance(rule, WireName))]:
        for name in (key, b"\x01x" + key):
            assert told(image.by_name(name, HOUR)) == told(layer.by_name(name, HOUR))
    for version, address in found:
        assert told(image.by_client(version, address, HOUR)) == told(layer.by_client(version, address, HOUR))
        assert told(image.by_addresses([(version, address)], HOUR)) == told(
            layer.by_addresses([(version, address)], HOUR)
        )
