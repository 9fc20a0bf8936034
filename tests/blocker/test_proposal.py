"""Decisions, proposals and reviews: one byte form each, and nothing else is read."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocker.proposal import (
    AddItem,
    ChangeItem,
    Confirmation,
    Decision,
    Proposal,
    Review,
    Verb,
    Verdict,
    in_order,
)
from blocker.proposal.items import item_of_line
from feeds.errors import Failure, Rejected, Untrusted
from feeds.manifest import ChainHead
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import NO_LIMITS, Action, Category, Limits, NameTarget, Rule, Scope
from tests.blocker.world import decision

NOW = datetime(2026, 11, 24, 6, 5, 7, tzinfo=UTC)
HEAD = ChainHead(length=4, hash="0f" * 32)

reasons = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=40).map(
    lambda text: unicodedata.normalize("NFC", text)
)
names = st.from_regex(r"[a-z][a-z0-9-]{0,10}\.(vn|com|xn--p1ai)", fullmatch=True)


@st.composite
def additions(draw: st.DrawFn, number: int) -> AddItem:
    limits = NO_LIMITS
    target: NameTarget | Prefix
    if draw(st.booleans()):
        target = NameTarget(DomainName(draw(names)), draw(st.sampled_from(Scope)))
    else:
        target = Prefix(4, draw(st.integers(0, 2**24 - 1)) << 8, 24)
        limits = draw(st.sampled_from([NO_LIMITS, Limits.parse("tcp/80,443"), Limits.parse("udp")]))
    action = draw(st.sampled_from([Action.NXDOMAIN, Action.DROP, Action.NODATA, Action.PASSTHRU]))
    expires = draw(st.integers(400_000, 600_000))
    rule = Rule(target, action, f"so:{number}", draw(st.sampled_from(Category)), "1/QĐ", expires, limits=limits)
    evidence = draw(st.sampled_from(["-", "ab" * 32, ",".join(("ab" * 32, "cd" * 32))]))
    return AddItem(rule, draw(reasons), draw(st.sampled_from([0, 490_000])), evidence, draw(st.booleans()))


@st.composite
def proposals(draw: st.DrawFn) -> Proposal:
    adds = [draw(additions(n)) for n in range(1, draw(st.integers(0, 6)) + 1)]
    adds = list({item.rule.key: item for item in adds}.values())
    changes = []
    for number in draw(st.sets(st.integers(100, 999), max_size=4)):
        verb = draw(st.sampled_from(Verb))
        old, new = (480_000, 490_000) if verb is Verb.EXTEND else (0, 0)
        changes.append(ChangeItem(verb, f"so:{number}", draw(reasons), old, new))
    adds, changes = in_order(adds, changes)
    return Proposal("so", 3, "1/QĐ", "ab" * 32, "an", NOW, HEAD, tuple(adds), tuple(changes))


@given(proposals())
def test_a_proposal_reads_back_and_has_one_byte_form(proposal: Proposal) -> None:
    data = proposal.to_bytes()
    assert Proposal.of_bytes(data) == proposal
    assert Proposal.of_bytes(data).to_bytes() == data


@given(proposals(), st.data())
def test_a_damaged_proposal_is_refused_or_says_something_else(proposal: Proposal, data: st.DataObject) -> None:
    raw = bytearray(proposal.to_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        read = Proposal.of_bytes(bytes(raw))
    except Failure:
        return
    assert read != proposal
    assert read.to_bytes() == bytes(raw)


def sample() -> Proposal:
    rules = [
        Rule(NameTarget(DomainName(n), Scope.SUBTREE), Action.NXDOMAIN, f"so:{i}", Category.FRAUD, "1/QĐ", 500_000)
        for i, n in enumerate(("a.vn", "b.vn"), 1)
    ]
    changes = (ChangeItem(Verb.WITHDRAW, "so:7", "why"), ChangeItem(Verb.EXTEND, "so:8", "why", 490_000, 495_000))
    return Proposal("so", 3, "1/QĐ", "ab" * 32, "an", NOW, HEAD, tuple(AddItem(r, "why") for r in rules), changes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"items\t4", b"items\t3"),
        (b"items\t4", b"items\t04"),
        (b"number\t3", b"number\t-3"),
        (b"blocker-proposal 1", b"blocker-proposal 2"),
        (b"blocker-proposal 1", b"blocker-review 1"),
        (b"so:1\t", b"other:1\t"),
        (b"so:7", b"other:7"),
        (b"withdraw", b"delete"),
        (b"proposer\tan\n", b"proposer\tan\nNew\tx\n"),
        (b"signed\t2026-11-24T06:05:07Z", b"signed\t2026-11-24T06:05:07+07:00"),
        (b"after\t4 0f", b"after\t4 0g"),
        (b"\twhy\t-\t-\t", b"\t\t-\t-\t"),
    ],
)
def test_another_form_of_a_proposal_is_not_read(old: bytes, new: bytes) -> None:
    data = sample().to_bytes()
    assert old in data
    with pytest.raises(Untrusted):
        Proposal.of_bytes(data.replace(old, new, 1))


def test_items_out_of_order_or_twice_are_not_read() -> None:
    good = sample()
    first, second = good.additions
    twice = replace(second, rule=replace(second.rule, target=first.rule.target))
    for wrong in (
        replace(good, additions=(second, first)),
        replace(good, additions=(first, twice)),
        replace(good, changes=good.changes[::-1]),
        replace(good, changes=(good.changes[0], good.changes[0])),
    ):
        with pytest.raises(Untrusted, match="out of order"):
            Proposal.of_bytes(wrong.to_bytes())


@pytest.mark.parametrize(
    "line", ["", "add", "add\tx", "suspend\tso:1", "suspend\tso:1\twhy\tmore", "extend\tso:1\twhy", "x\ty\tz"]
)
def test_a_line_that_is_no_item_is_refused(line: str) -> None:
    with pytest.raises(Failure):
        item_of_line(line)


def test_a_review_reads_back_with_every_confirmed_target() -> None:
    confirmed = (
        Confirmation("=zalo.me", ("guard.popular",), "checked"),
        Confirmation("pages.dev", ("a", "b"), "đã xem"),
    )
    review = Review("so", 3, "ab" * 32, Verdict.APPROVE, "binh", NOW, HEAD, "", confirmed)
    data = review.to_bytes()
    assert Review.of_bytes(data) == review
    for old, new in (
        (b"approve", b"maybe"),
        (b"\tchecked", b""),
        (b"\tchecked", b"\t"),
        (b"confirmed\t2", b"confirmed\t1"),
    ):
        with pytest.raises(Untrusted):
            Review.of_bytes(data.replace(old, new))
    with pytest.raises(Untrusted, match="canonical"):
        Review.of_bytes(replace(review, confirmed=confirmed[::-1]).to_bytes())


def test_a_decision_reads_back_and_says_every_fault_at_once() -> None:
    made = decision(court="TAND Hà Nội", ruling="12/2026/QĐST")
    assert Decision.of_bytes(made.to_bytes()) == made
    assert made.carries(Category.COURT_ORDER)
    assert not decision().carries(Category.COURT_ORDER)
    with pytest.raises(Rejected) as error:
        decision(agency="", subject="a\tb", contact=" ", sha256="AB", court="x")
    assert [p.place for p in error.value.problems] == ["agency", "subject", "contact", "sha256", "ruling"]
    for bad in (b"", made.to_bytes() + b"x\n", made.to_bytes().replace(b"2026-11-20", b"20261120")):
        with pytest.raises(Untrusted):
            Decision.of_bytes(bad)


def test_what_isps_learn_of_a_decision_is_what_was_recorded() -> None:
    ref = decision().ref()
    assert (ref.notation, ref.date, ref.contact, ref.sha256) == (
        "1/QD",
        "2026-11-20",
        "khieunai@so.example.vn",
        "ab" * 32,
    )


def test_a_change_of_no_entry_cannot_exist() -> None:
    for entry in ("so", "so:", "so:0", ":1", "so:1x", "so:१"):
        with pytest.raises(Rejected):
            ChangeItem(Verb.WITHDRAW, entry, "why")
