"""Law: a foreign zone means what an obviously correct reading of RFC 4592 and of the RPZ draft says it means."""

import io
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.message.building import encode_name
from feeds.message.words import MAX_NAME_BYTES
from feeds.prefix import Prefix
from feeds.rule import Action
from resolver.policy import ClientPrefix, Ground, Layer, Policy, Source
from resolver.zones.master import read_master
from resolver.zones.meaning import REASONS, Meaning

ZONE = "rpz.test"
SOURCE = Source(ZONE, 1, foreign=True, zone=ZONE)
HOUR = 500_000
TARGETS = {
    ".": Action.NXDOMAIN,
    "*.": Action.NODATA,
    "rpz-passthru.": Action.PASSTHRU,
    "rpz-drop.": Action.DROP,
    "rpz-tcp-only.": Action.TCP_ONLY,
    "there.example.": Action.LOCAL,
}
Name = tuple[str, ...]

names = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple)
owners = st.tuples(st.sampled_from([(), ("*",)]), names).map(lambda pair: (*pair[0], *pair[1]))
rules = st.dictionaries(owners, st.sampled_from(list(TARGETS)), max_size=12)
prefixes = st.builds(
    lambda length, bits: Prefix(4, bits >> 32 - length << 32 - length, length),
    st.integers(1, 32), st.integers(0, 7).map(lambda n: (192 << 24) + n * 3),
)  # fmt: skip


def layer(lines: list[str], skipped: Counter[str] | None = None) -> Layer:
    """What these lines of a zone file come to."""
    counted: Counter[str] = Counter() if skipped is None else skipped
    zone = encode_name(ZONE)
    meaning = Meaning(zone, None, counted)
    for record in read_master(io.BytesIO("\n".join(lines).encode()), zone, counted):
        meaning.add(record)
    grounds: list[Ground] = []
    return Layer(SOURCE, grounds, list(meaning.rules(SOURCE, grounds)))


def lines_of(found: dict[Name, str]) -> list[str]:
    return [f"{'.'.join(owner)} CNAME {target}" for owner, target in found.items()]


def reference(found: dict[Name, str], name: Name) -> Action | None:
    """RFC 4592 section 3.3.1: the name itself, or the wildcard right below its closest encloser."""
    there = {owner[start:] for owner in found for start in range(len(owner))} | {()}
    if name not in there:
        encloser = next(name[start:] for start in range(1, len(name) + 1) if name[start:] in there)
        name = ("*", *encloser)
    return TARGETS[found[name]] if name in found else None


def meets(policy: Layer | Policy, name: Name) -> Action | None:
    hit = policy.by_name(encode_name(".".join(name)), HOUR)
    return hit.action if hit else None


@settings(max_examples=500)
@given(rules, st.lists(names, min_size=1, max_size=20))
def test_names_meet_the_rule_that_zone_semantics_give_them(found: dict[Name, str], asked: list[Name]) -> None:
    made = layer(lines_of(found))
    assert len(made) == len(found)
    for name in [*asked, *(owner for owner in found if owner[0] != "*")]:
        for one in (name, ("z", *name), ("a", *name)):
            assert meets(made, one) == reference(found, one), one


@given(st.lists(rules, min_size=1, max_size=3), names)
def test_the_first_zone_with_a_rule_decides(zones: list[dict[Name, str]], name: Name) -> None:
    policy = Policy(layer(lines_of(found)) for found in zones)
    expected = [verdict for found in zones if (verdict := reference(found, name)) is not None]
    assert meets(policy, name) == (expected[0] if expected else None)


@given(
    st.dictionaries(prefixes, st.sampled_from(list(TARGETS)), max_size=8), rules, names,
    st.integers(0, 20).map(lambda n: (192 << 24) + n), st.sampled_from(["rpz-ip", "rpz-client-ip"]),
)  # fmt: skip
def test_the_longest_prefix_decides_and_a_client_comes_before_a_name(
    found: dict[Prefix, str], named: dict[Name, str], name: Name, address: int, trigger: str
) -> None:
    def owner(prefix: Prefix) -> str:
        octets = ".".join(str(prefix.network >> shift & 255) for shift in (0, 8, 16, 24))
        return f"{prefix.length}.{octets}.{trigger}"

    policy = Policy([layer([f"{owner(prefix)} CNAME {to}" for prefix, to in found.items()] + lines_of(named))])
    fitting = [prefix for prefix in found if prefix.network <= address <= prefix.last]
    best = max(fitting, key=lambda prefix: prefix.length, default=None)
    if trigger == "rpz-ip":
        hit = policy.by_address(4, address, HOUR)
        assert (hit.matched if hit else None) == best
        assert not policy.has_clients
    else:
        hit = policy.by_query(encode_name(".".join(name)), 4, address, HOUR)
        expected = TARGETS[found[best]] if best is not None else reference(named, name)
        assert (hit.action if hit else None) == expected
        assert best is None or (hit and hit.matched == ClientPrefix(best) and hit.trigger == "client-ip")


scraps = st.sampled_from(
    ["a", "*", "@", ".", "rpz-ip", "32.1.0.0.10.rpz-ip", "CNAME", "A", "TXT", "SOA", "IN", "CH", "300", "1h", "(", ")",
     '"', ";", "\\", "\\000", "$ORIGIN", "$TTL", "$INCLUDE", " ", "\t", "\n", "\n", "\u00e9", "x" * 70, "10.0.0.1",
     "TYPE65", "\\# 4 0a000001", "rpz-passthru.", "a.b.rpz.test."]
)  # fmt: skip


@settings(max_examples=400)
@given(
    st.one_of(st.lists(scraps, max_size=40).map(" ".join), st.binary(max_size=300).map(lambda b: b.decode("latin-1")))
)
def test_no_file_does_more_than_be_counted_and_what_follows_it_still_loads(text: str) -> None:
    skipped: Counter[str] = Counter()
    # Whatever is open (a parenthesis, an origin) is closed again for the good lines.
    good = ["", ")", f"$ORIGIN {ZONE}.", "after.example CNAME ."]
    made = layer([*text.encode("latin-1", "replace").decode("latin-1").split("\n"), *good], skipped)
    hit = made.by_name(encode_name("after.example"), HOUR)
    assert hit is not None or "(" in text
    assert set(skipped) <= set(REASONS)
    assert all(len(name) <= MAX_NAME_BYTES for name in (*made.exact, *made.subtree))
