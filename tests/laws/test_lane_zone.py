"""Law: of foreign zones, too, the compiled lane says octet for octet what Python says."""

import io
import os
from collections import Counter
from random import Random

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.message.building import encode_name
from resolver.effects import Reply
from resolver.image import Image, build, new_memory, random_prime
from resolver.policy import Ground, Policy
from resolver.zones.master import read_master
from resolver.zones.meaning import Meaning
from tests.laws.test_zone import SOURCE, ZONE, Name, lines_of, names, rules

pytest.importorskip("resolver.lane.native", reason="the compiled lane was not built")

from tests.lane.pair import Pair

RECORDS = ("192.0.2.1", "192.0.2.2")


def image(found: dict[Name, str], more: list[str], seed: int) -> Image:
    """The image of a zone with these rules."""
    skipped: Counter[str] = Counter()
    meaning = Meaning(encode_name(ZONE), None, skipped)
    text = "\n".join([*lines_of(found), *more]).encode()
    for record in read_master(io.BytesIO(text), meaning.zone, skipped):
        meaning.add(record)
    grounds: list[Ground] = []
    memory = new_memory()
    build(
        memory, meaning.rules(SOURCE, grounds), grounds, source=SOURCE, refused=0, made_from=bytes(32),
        prime=random_prime(Random(seed)),
    )  # fmt: skip
    try:
        return Image.of_descriptor(memory)
    finally:
        os.close(memory)


@settings(max_examples=150)
@given(
    st.lists(rules, min_size=1, max_size=3), st.lists(names, max_size=8), st.integers(0, 1 << 20),
    st.sampled_from(["A", "AAAA", "TXT", "CNAME"]), st.booleans(), st.sampled_from([-1, 0]),
)  # fmt: skip
def test_both_lanes_say_the_same_of_zones_with_wildcards_holes_and_local_records(
    zones: list[dict[Name, str]], asked: list[Name], seed: int, rtype: str, with_client: bool, edns: int
) -> None:
    more = [f"*.l.{name} 77 A {address}" for name in "abc" for address in RECORDS]
    more += ["24.0.2.0.192.rpz-client-ip CNAME rpz-passthru."] * with_client
    pair = Pair(Policy(image(found, more, seed + place) for place, found in enumerate(zones)))
    for name in [
        *asked,
        *(owner for found in zones for owner in found if owner[0] != "*"),
        ("x", "L", "a"),
        ("l", "a"),
    ]:
        for one in (name, ("z", *name), ("B", "a", *name)):
            packet = dns.message.make_query(".".join(one) + ".", rtype, use_edns=edns, id=seed & 0xFFFF).to_wire()
            for _turn in range(2):
                # The first time the lane may have to be taught.
                plain, behind = pair.asks(packet)
                assert [type(effect) for effect in plain] == [type(effect) for effect in behind]
                assert [e for e in plain if isinstance(e, Reply)] == [e for e in behind if isinstance(e, Reply)]
    assert pair.by_lane or with_client, "who a client is only Python looks at"
