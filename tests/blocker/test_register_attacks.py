"""Full write access to the database plus one officer's key (an's) must not be enough to get a rule published."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from blocker.proposal import Proposal, Review, Verb, Verdict
from blocker.register import Register
from feeds.document import sha256_of
from feeds.errors import Refused
from feeds.manifest import ChainHead
from feeds.officers import Genesis, Kind, Officer, OfficerChange, Step, sign
from feeds.rule import hours
from tests.blocker.attacker import Attacker
from tests.blocker.world import DAY, HOUR, NOW, World, decision, key, name

BAD = "victim.vn"


@pytest.fixture
def attacker(world: World) -> Iterator[Attacker]:
    """The attacker, in a register that has published one good rule."""
    world.listed(name("bet.vn"))
    world.publish()
    made = Attacker(world)
    yield made
    made.close()


def refused(world: World, match: str) -> Refused:
    """Publishing stops, whatever an operator would admit, and says why."""
    with pytest.raises(Refused, match=match) as error:
        world.verified(admit=lambda emergency: False)
    assert error.value.kept
    assert error.value.then
    return error.value


def forged_review(attacker: Attacker, number: int, officer: str) -> bytes:
    """An approval as its officer would have written it."""
    sha256 = attacker.last("proposal.signed")["document"]
    review = Review("so", number, sha256, Verdict.APPROVE, officer, attacker.world.now, attacker.head(), "")
    return review.to_bytes()


def test_a_second_signature_by_ones_own_key_counts_for_nobody_else(world: World, attacker: Attacker) -> None:
    number = world.signed(name(BAD))
    review = forged_review(attacker, number, "binh")
    attacker.review(number, "binh", sign(Kind.REVIEW, review, world.keys["an"]), review)
    refused(world, "not the signature of officer binh")


def test_approving_ones_own_proposal_past_the_program_is_refused(world: World, attacker: Attacker) -> None:
    number = world.signed(name(BAD))
    review = forged_review(attacker, number, "an")
    attacker.review(number, "an", sign(Kind.REVIEW, review, world.keys["an"]), review)
    refused(world, "four eyes")


def test_an_officer_row_added_by_hand_is_no_officer(world: World, attacker: Attacker) -> None:
    accomplice = key(66)
    attacker.add("officer", id="evil", key=accomplice.public_hex, name="", active=True)
    number = world.signed(name(BAD))
    review = forged_review(attacker, number, "evil")
    attacker.review(number, "evil", sign(Kind.REVIEW, review, accomplice), review)
    refused(world, "evil was not an active officer")


def test_an_officer_row_alone_is_named(world: World, attacker: Attacker) -> None:
    attacker.add("officer", id="evil", key=key(66).public_hex, name="", active=True)
    assert any("evil" in problem.place for problem in refused(world, "rows of the register").problems)


def test_a_key_replaced_in_its_row_is_named_and_signs_nothing(world: World, attacker: Attacker) -> None:
    number = world.signed(name(BAD))
    attacker.set("officer", {"id": "binh"}, key=key(66).public_hex)
    with pytest.raises(Refused, match="not the key of officer binh"):
        world.register.proposals.approve(number, "binh", key(66), world.guard, {}, NOW)
    assert any("binh" in problem.place for problem in refused(world, "rows of the register").problems)


@pytest.mark.parametrize("signers", [("an",), ("an", "an"), ("an", "binh")])
def test_an_officer_added_without_two_real_signatures_is_refused(
    world: World, attacker: Attacker, signers: tuple[str, ...]
) -> None:
    listed = world.register.officers.roster()
    evil = Officer("evil", key(66).public_hex)
    change = OfficerChange("so", 1, listed.head, Step.ADD, evil, NOW).to_bytes()
    signatures = {signer: sign(Kind.CHANGE, change, world.keys["an"]) for signer in signers}
    attacker.append("officers.changed", "an", {"document": attacker.put(change), "signatures": signatures})
    refused(world, "not signed by two other officers")


def test_a_first_list_with_another_officer_lacks_the_root_signatures(world: World, attacker: Attacker) -> None:
    officers = (*Genesis.of_bytes(world.genesis.document).officers, Officer("evil", key(66).public_hex))
    forged = attacker.put(Genesis("so", False, NOW, officers).to_bytes())
    world.published = None

    def change(events: list) -> list:
        first = events[0]
        body = first.body.replace(first.said("document"), forged)
        return [(first.kind, first.actor, first.at, body)] + [(e.kind, e.actor, e.at, e.body) for e in events[1:]]

    attacker.rewrite(change)
    refused(world, "0 good root signatures")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("expires", hours(NOW + 364 * DAY)),
        ("target", BAD),
        ("kind", "exact"),
        ("action", "drop"),
        ("category", "fraud"),
        ("reason", "another reason"),
        ("state", "suspended"),
        ("valid_from", 1),
        ("paused_until", 4_000_000),
        ("decision", "2/QD"),
        ("path_dropped", True),
        ("evidence", "ab" * 32),
    ],
)
def test_a_changed_entry_row_stops_publishing_and_is_named(
    world: World, attacker: Attacker, column: str, value: object
) -> None:
    attacker.set("entry", {"number": 1}, **{column: value})
    error = refused(world, "entry row 1")
    assert [(p.place, column in p.message) for p in error.problems] == [("entry row 1", True)]


def test_every_changed_row_is_named_not_only_the_first(world: World, attacker: Attacker) -> None:
    world.listed(name("a.vn"), name("b.vn"))
    attacker.sql("UPDATE entry SET action = 'drop'")
    assert len(refused(world, "3 rows").problems) == 3


def test_an_entry_row_made_up_or_taken_away_is_named(world: World, attacker: Attacker) -> None:
    world.signed(name(BAD))
    attacker.sql("UPDATE entry SET state = 'active' WHERE number = 2")
    assert "no signed document" in refused(world, "entry row 2").problems[0].message
    attacker.sql("DELETE FROM entry WHERE number = 2")
    attacker.sql("DELETE FROM entry WHERE number = 1")
    assert "row is gone" in refused(world, "entry row 1").problems[0].message


def test_rows_changed_while_a_proposal_waits_are_found_at_its_approval(world: World, attacker: Attacker) -> None:
    number = world.signed(name("win.vn"))
    attacker.set("entry", {"number": 2}, target=BAD)
    with pytest.raises(Refused, match="behind the program's back"):
        world.approve(number)


def test_a_document_swapped_between_signing_and_approval_is_found(world: World, attacker: Attacker) -> None:
    number = world.signed(name("win.vn"))
    row = attacker.last("proposal.signed")
    proposal = Proposal.of_bytes(attacker.document(row["document"]))
    item = proposal.additions[0]
    other = replace(proposal, additions=(replace(item, rule=replace(item.rule, target=name(BAD))),))
    attacker.set("proposal", {"number": number}, sha256=attacker.put(other.to_bytes()))
    with pytest.raises(Refused, match="signature of an active officer"):
        world.approve(number)


def test_a_stored_document_that_was_changed_is_found(world: World, attacker: Attacker) -> None:
    sha256 = attacker.last("proposal.signed")["document"]
    data = attacker.document(sha256).replace(b"bet.vn", b"win.vn")
    forged = attacker.put(data)
    attacker.sql("UPDATE document SET body = (SELECT body FROM document WHERE sha256 = :new) WHERE sha256 = :old",
                 new=forged, old=sha256)  # fmt: skip
    refused(world, "has been changed")


def test_an_approval_of_one_proposal_does_not_fit_another(world: World, attacker: Attacker) -> None:
    world.listed(name("win.vn"))
    old = attacker.last("proposal.approved")
    number = world.signed(name(BAD))
    attacker.review(number, "binh", old["signature"], attacker.document(old["review"]))
    refused(world, "of something else")


def test_a_rejection_does_not_pass_as_an_approval(world: World, attacker: Attacker) -> None:
    number = world.signed(name(BAD))
    world.register.proposals.reject(number, "binh", world.keys["binh"], "no", NOW)
    rejection = attacker.last("proposal.rejected")
    world.published = None
    attacker.without(("proposal.rejected", number))
    attacker.review(number, "binh", rejection["signature"], attacker.document(rejection["review"]))
    refused(world, "of something else")


def test_a_signature_of_another_kind_of_document_does_not_pass(world: World, attacker: Attacker) -> None:
    number = world.signed(name(BAD))
    review = forged_review(attacker, number, "binh")
    for kind in (Kind.PROPOSAL, Kind.CHANGE, Kind.GENESIS):
        # Even if binh could be made to sign these very bytes as something else, it is no review.
        assert sign(kind, review, world.keys["binh"]) != sign(Kind.REVIEW, review, world.keys["binh"])
    attacker.review(number, "binh", sign(Kind.PROPOSAL, review, world.keys["binh"]), review)
    refused(world, "not the signature of officer binh")


def test_a_withdrawn_entry_does_not_come_back_by_replaying_its_approval(world: World, attacker: Attacker) -> None:
    signed, approved = attacker.last("proposal.signed"), attacker.last("proposal.approved")
    world.changed(Verb.WITHDRAW, 1)
    world.publish()
    attacker.append("proposal.opened", "", {"proposal": 9, "decision": "1/QD"})
    attacker.append("proposal.signed", "an", {**signed, "proposal": 9})
    attacker.append("proposal.approved", "binh", {**approved, "proposal": 9})
    refused(world, "of something else")
    attacker.without(("proposal.opened", 9), ("proposal.signed", 9), ("proposal.approved", 9))
    attacker.append("proposal.approved", "binh", approved)
    refused(world, "cannot be moved by «approve»")


def test_a_published_withdrawal_cannot_be_taken_out_of_history(world: World, attacker: Attacker) -> None:
    world.changed(Verb.WITHDRAW, 1)
    world.publish()
    attacker.without(("proposal.approved", 2))
    attacker.set("entry", {"number": 1}, state="active")
    refused(world, "differs from what was published|behind what was published")


def test_a_withdrawal_cannot_be_taken_out_from_under_a_later_signature(world: World, attacker: Attacker) -> None:
    world.changed(Verb.WITHDRAW, 1)
    world.listed(name("later.vn"))
    attacker.without(("proposal.opened", 2), ("proposal.signed", 2), ("proposal.approved", 2))
    attacker.set("entry", {"number": 1}, state="active")
    refused(world, "belongs to another history")


def test_a_chain_cut_below_the_published_head_is_refused(world: World, attacker: Attacker) -> None:
    published = world.published
    assert published is not None
    attacker.rewrite(lambda events: [(e.kind, e.actor, e.at, e.body) for e in events[: published.length - 1]])
    refused(world, "behind what was published")


def test_an_event_changed_in_place_is_named(world: World, attacker: Attacker) -> None:
    attacker.sql("UPDATE event SET actor = 'chi' WHERE seq = 4")
    refused(world, "event 4")


def test_history_made_anew_with_fitting_hashes_is_not_the_published_one(world: World, attacker: Attacker) -> None:
    attacker.rewrite(lambda events: [(e.kind, e.actor, e.at, e.body + " ") for e in events])
    refused(world, "differs from what was published")


def test_events_in_another_order_do_not_hold(world: World, attacker: Attacker) -> None:
    world.changed(Verb.SUSPEND, 1)
    world.changed(Verb.WITHDRAW, 1)
    world.published = None

    def swap(events: list) -> list:
        links = [(e.kind, e.actor, e.at, e.body) for e in events]
        return links[:-6] + links[-3:] + links[-6:-3]

    attacker.rewrite(swap)
    refused(world, "belongs to another history|never opened|of something else")


def test_a_disabled_officers_key_stays_disabled(world: World, attacker: Attacker) -> None:
    officers = world.register.officers
    for step, who in ((Step.ADD, "dung"), (Step.DISABLE, "an")):
        new = key(4).public_hex if step is Step.ADD else ""
        sha256 = officers.propose(step, who, "binh", world.keys["binh"], NOW, key=new)
        officers.countersign(sha256, "chi", world.keys["chi"], NOW)
    world.publish()
    attacker.set("officer", {"id": "an"}, active=True)
    assert any("an" in problem.place for problem in refused(world, "rows of the register").problems)
    with pytest.raises(Refused, match="an is not an active officer"):
        world.signed(name(BAD), by="an")
    change = OfficerChange(
        "so", 3, officers.roster().head, Step.ENABLE, Officer("an", world.keys["an"].public_hex), NOW
    ).to_bytes()
    signatures = {"an": sign(Kind.CHANGE, change, world.keys["an"]), "binh": "00" * 64}
    attacker.append("officers.changed", "an", {"document": attacker.put(change), "signatures": signatures})
    refused(world, "not signed by two other officers")


def test_a_proposal_altered_after_both_signed_is_refused(world: World, attacker: Attacker) -> None:
    world.listed(name("win.vn"))
    signed = attacker.last("proposal.signed")
    proposal = Proposal.of_bytes(attacker.document(signed["document"]))
    item = proposal.additions[0]
    other = replace(proposal, additions=(replace(item, rule=replace(item.rule, target=name(BAD))),)).to_bytes()
    forged, mine = attacker.put(other), sign(Kind.PROPOSAL, other, world.keys["an"])

    def change(events: list) -> list:
        return [
            (
                e.kind,
                e.actor,
                e.at,
                e.body.replace(signed["document"], forged).replace(signed["signature"], mine),
            )
            for e in events
        ]

    world.published = None
    attacker.rewrite(change)
    refused(world, "of something else")


def test_a_decision_swapped_for_another_under_the_same_notation_is_refused(world: World, attacker: Attacker) -> None:
    forged = attacker.put(decision(subject="Something else").to_bytes())
    attacker.append("decision.recorded", "an", {"notation": "1/QD", "document": forged})
    refused(world, "recorded twice")


def test_a_decision_exchanged_in_history_leaves_its_proposals_without_one(world: World, attacker: Attacker) -> None:
    forged = attacker.put(decision(subject="Something else").to_bytes())
    old = attacker.last("decision.recorded")["document"]
    world.published = None
    attacker.rewrite(lambda events: [(e.kind, e.actor, e.at, e.body.replace(old, forged)) for e in events])
    refused(world, "another history|never recorded")


def test_break_glass_by_the_attacker_is_left_out(world: World, attacker: Attacker) -> None:
    number = world.signed(name(BAD))
    world.register.proposals.break_glass(number, "an", world.keys["an"], world.guard, "now", NOW)
    found = world.verified()
    assert [str(rule.target) for rule in found.rules] == ["bet.vn"]
    assert [problem.rule for problem in found.problems] == ["proposal.break-glass"]


@pytest.mark.parametrize("made", [NOW + 30 * DAY, NOW + HOUR])
def test_break_glass_dated_in_the_future_is_never_admitted(world: World, attacker: Attacker, made: object) -> None:
    number = world.signed(name(BAD))
    sha256 = attacker.last("proposal.signed")["document"]
    review = Review("so", number, sha256, Verdict.BREAK_GLASS, "an", made, attacker.head(), "now")  # type: ignore[arg-type]
    document = review.to_bytes()
    signature = sign(Kind.REVIEW, document, world.keys["an"])
    attacker.review(number, "an", signature, document, kind="proposal.break_glass")
    attacker.set("proposal", {"number": number}, state="emergency", reviewer="an")
    attacker.set("entry", {"proposal": number}, state="emergency", lapses=hours(review.made) + 72)
    found = world.verified(admit=lambda emergency: True)
    assert [str(rule.target) for rule in found.rules] == ["bet.vn"]


@pytest.mark.parametrize("where", ["nowhere", "before"])
def test_an_approval_anchored_elsewhere_is_refused(world: World, attacker: Attacker, where: str) -> None:
    number = world.signed(name(BAD))
    sha256 = attacker.last("proposal.signed")["document"]
    anchor = ChainHead(length=3, hash="ab" * 32) if where == "nowhere" else world.published
    assert anchor is not None
    # binh really signed this, but for another history: before the proposal was there at all.
    review = Review("so", number, sha256, Verdict.APPROVE, "binh", NOW, anchor, "").to_bytes()
    attacker.review(number, "binh", sign(Kind.REVIEW, review, world.keys["binh"]), review)
    refused(world, "belongs to another history")


def test_a_training_register_cannot_be_made_real_by_a_row(world: World, attacker: Attacker) -> None:
    attacker.set("register", {"id": 1}, training=True)
    assert "certified" in refused(world, "register row").problems[0].message


@pytest.mark.parametrize(
    ("table", "where", "values"),
    [
        ("proposal", {"number": 1}, {"reviewer": "chi"}),
        ("proposal", {"number": 1}, {"state": "rejected"}),
        ("decision", {"notation": "1/QD"}, {"document": "ab" * 32}),
        ("publication", {"serial": 1}, {"digest": "ab" * 32}),
    ],
)
def test_any_other_changed_row_stops_publishing(
    world: World, attacker: Attacker, table: str, where: dict[str, object], values: dict[str, object]
) -> None:
    attacker.set(table, where, **values)
    assert table in refused(world, "rows of the register").problems[0].place


def test_an_event_of_an_unknown_kind_is_refused_not_skipped(world: World, attacker: Attacker) -> None:
    attacker.append("rule.added", "an", {"target": BAD})
    refused(world, "no event that this version knows")


def test_dropped_triggers_are_noticed_at_the_next_opening(world: World, attacker: Attacker) -> None:
    drop: Callable[[str], str] = {
        "sqlite": lambda trigger: f"DROP TRIGGER {trigger}",
        "postgresql": lambda trigger: f"DROP TRIGGER {trigger} ON event",
    }[world.url.partition(":")[0]]
    world.register.close()
    with attacker._engine.begin() as connection:
        connection.exec_driver_sql(drop("event_no_update"))
    with pytest.raises(Refused, match="event_no_update"):
        Register.open(world.url)


def test_the_attacks_start_from_a_register_that_publishes(world: World, attacker: Attacker) -> None:
    assert set(world.rules()) == {"bet.vn"}
    assert sha256_of(attacker.document(attacker.last("proposal.signed")["document"]))
    with attacker.connection():
        pass
    assert set(world.rules()) == {"bet.vn"}
