"""Whatever the compiled lane believes of an upstream's answer, `resolver.chain` believes the same of it."""

from collections.abc import Iterable

import dns.exception
import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.message import read_query, read_response
from feeds.message.words import Malformed
from resolver.cache import question_key, question_of
from resolver.chain import Unbelievable, believed
from resolver.policy.judging import addresses, chain
from resolver.private import PrivateAnswers

LANE = pytest.importorskip("resolver.lane.native").Lane(1 << 20, bytes(16))
NAME = "www.Good.example."
OWNERS = [NAME, "www.good.example.", "alias.example.", "other.alias.example.", "good.example.", "Far.away.example."]
A_RECORD = ["192.0.2.1", "192.0.2.2", "10.0.0.1", "198.51.100.3"]
RECORDS = {
    "A": A_RECORD,
    "AAAA": ["2001:db8::1", "::ffff:192.0.2.1", "64:ff9b::c000:201", "fe80::1", "::1", "::ffff:10.0.0.1"],
    "CNAME": OWNERS,
    "TXT": ['"text"', '"' + "t" * 200 + '"'],
    "MX": ["10 mail.good.example.", "0 ."],
    "NS": ["ns.good.example.", "NS.Alias.example."],
    "PTR": ["www.good.example."],
    "SRV": ["1 2 443 www.good.example."],
    "SOA": ["ns.example. root.example. 1 3600 600 86400 120", "a.b. c.d. 1 2 3 4 86400"],
    "HTTPS": ["1 . alpn=h2 ipv4hint=192.0.2.9", "0 alias.example.", "1 . ipv6hint=2001:db8::7",
              "1 . ipv4hint=10.1.1.1"],
    "SVCB": ["2 alias.example. port=853"],
    "RRSIG": ["A 8 2 60 20300101000000 20200101000000 1 example. AAAA"],
    "DNAME": ["alias.example."],
    "DS": ["1 8 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"],
}  # fmt: skip
records = st.sampled_from(sorted(RECORDS)).flatmap(
    lambda rtype: st.tuples(
        st.sampled_from(OWNERS), st.sampled_from([0, 1, 60, 86_400, 99_999, 0x7FFFFFFF]), st.just(rtype),
        st.sampled_from(RECORDS[rtype]),
    )
)  # fmt: skip
common = st.one_of(
    st.lists(st.tuples(st.just(NAME), st.sampled_from([30, 60]), st.just("A"), st.sampled_from(A_RECORD)), max_size=3),
    st.just([(NAME, 60, "CNAME", "alias.example."), ("alias.example.", 30, "A", "192.0.2.1")]),
    st.just([(NAME, 60, "CNAME", "alias.example."), ("alias.example.", 9, "CNAME", "x.alias.example."),
             ("x.alias.example.", 30, "A", "192.0.2.1"), ("X.alias.example.", 30, "A", "192.0.2.4")]),
)  # fmt: skip


def query(rtype: str, cd: bool) -> bytes:
    made = dns.message.make_query(NAME, rtype, use_edns=False, id=7)
    if cd:
        made.flags |= dns.flags.CD
    return made.to_wire()


def answer(asked: bytes, rcode: int, sections: Iterable[Iterable[tuple[str, int, str, str]]], edns: bool) -> bytes:
    made = dns.message.make_response(dns.message.from_wire(asked), recursion_available=True)
    made.set_rcode(rcode)
    if edns:
        made.use_edns(0, payload=1232)
    for section, found in zip((made.answer, made.authority, made.additional), sections, strict=True):
        section.extend(dns.rrset.from_text(owner, ttl, "IN", rtype, data) for owner, ttl, rtype, data in found)
    return made.to_wire(max_size=65_535)


def agrees(asked: bytes, message: bytes) -> bool:
    """Was it believed? Whatever is has to be what Python believes."""
    said = LANE.believe(asked, message)
    if said is None:
        return False
    told = read_query(asked)
    response = read_response(message, told.question)
    assert not response.truncated
    assert response.rcode in (0, 3)
    whole = believed(response, told.key + told.question[-4:], False)
    kept, ttls, lifetime, names, held = said
    assert (kept, ttls, lifetime) == (whole.message, whole.ttls, whole.lifetime)
    again = read_response(kept, question_of(question_key(told.key, told.qtype, False, False)))
    assert PrivateAnswers().stripped(again) is None, "no private address gets by"
    judged = [*chain(again), *(binding.target for binding in again.bindings)]
    assert set(names_in(names)) >= set(judged)
    assert [(v, int.from_bytes(octets)) for v, octets in held] == list(addresses(again))
    # Off the chain nothing counts that the plain lane would have judged.
    everything = response._replace(answers=whole.answers, additional=())
    assert {b.target for b in everything.bindings} <= set(names_in(names))
    return True


def names_in(octets: bytes) -> Iterable[bytes]:
    while octets:
        size = 0
        while octets[size]:
            size += octets[size] + 1
        yield octets[: size + 1]
        octets = octets[size + 1 :]


questions = st.sampled_from(["A", "AAAA", "CNAME", "TXT", "MX", "NS", "PTR", "SRV", "SOA", "HTTPS", "SVCB", "DS"])


@given(questions, st.booleans(), st.sampled_from([0, 0, 0, 3, 2, 5]), st.lists(records, max_size=5),
       st.lists(records, max_size=2), st.lists(records, max_size=2), st.booleans())  # fmt: skip
def test_whatever_the_lane_believes_python_believes_alike(rtype, cd, rcode, answers, authority, additional, edns):
    asked = query(rtype, cd)
    agrees(asked, answer(asked, rcode, (answers, authority, additional), edns))


@given(common, st.booleans())
def test_what_most_answers_are_made_of_is_believed(answers, edns):
    asked = query("A", False)
    soa = [] if answers else [("example.", 900, "SOA", "ns.example. root.example. 1 3600 600 86400 120")]
    private = any(data == "10.0.0.1" for _owner, _ttl, _rtype, data in answers)
    assert agrees(asked, answer(asked, 0, (answers, soa, []), edns)) is not private


changed = st.lists(st.tuples(st.integers(12, 400), st.integers(0, 255)), max_size=4)


@given(questions, st.lists(records, max_size=4), changed, st.integers(0, 400))
def test_a_damaged_answer_is_believed_by_neither_or_both(rtype, answers, changes, cut):
    asked = query(rtype, False)
    data = bytearray(answer(asked, 0, (answers, [], []), True))
    for place, octet in changes:
        # The question has been compared before.
        if place >= len(asked):
            data[place % len(data) if place % len(data) >= len(asked) else -1] = octet
    for damaged in (bytes(data), bytes(data)[: max(cut, len(asked))], bytes(data) + b"\0"):
        try:
            agrees(asked, damaged)
        except (Malformed, Unbelievable) as error:
            raise AssertionError(f"the lane believed what Python does not: {error}") from error
        except dns.exception.DNSException:
            continue


@given(st.binary(max_size=300))
def test_any_octets_behind_the_question_are_read_within_bounds(octets):
    asked = query("A", False)
    for counts in (b"\0\1\0\0\0\0", b"\0\2\0\1\0\1", b"\0\0\0\1\0\0", b"\0\0\0\0\0\x2f"):
        agrees(asked, asked[:2] + b"\x81\x80\0\1" + counts + asked[12:] + octets)
