"""The one table of states: complete, closed, and drawn as it is."""

from pathlib import Path

import pytest

from blocker.workflow import (
    ENTRY_TABLE,
    PROPOSAL_TABLE,
    Act,
    EntryState,
    ProposalState,
    at_hour,
    check_four_eyes,
    longest,
    next_entry,
    next_proposal,
    picture,
    usual,
)
from feeds.errors import Refused

DOC = Path(__file__).parent.parent.parent / "docs" / "workflow.md"


def test_the_picture_in_the_docs_is_that_of_the_table() -> None:
    assert DOC.read_text() == picture(), "run: python -m blocker.workflow > docs/workflow.md"


def test_every_state_can_be_reached_and_the_ends_are_ends() -> None:
    assert {new for new in PROPOSAL_TABLE.values()} | {ProposalState.DRAFT} == set(ProposalState)
    assert {new for new in ENTRY_TABLE.values()} | {EntryState.PROPOSED} | {EntryState.WAITING} == set(EntryState)
    for end in (ProposalState.APPROVED, ProposalState.REJECTED, ProposalState.DISCARDED):
        for act in Act:
            with pytest.raises(Refused, match="cannot be moved"):
                next_proposal(end, act)
    for gone in (EntryState.WITHDRAWN, EntryState.REJECTED, EntryState.EXPIRED):
        assert [act for act in Act if next_entry(gone, act)] == []


def test_nothing_comes_into_force_but_by_approval_or_break_glass() -> None:
    roads = {(old, act) for (old, act), new in ENTRY_TABLE.items() if old is EntryState.PROPOSED}
    into = {act for old, act in roads if next_entry(old, act) in (EntryState.ACTIVE, EntryState.EMERGENCY)}
    assert into == {Act.APPROVE, Act.BREAK_GLASS}
    assert {act for (_old, act), new in PROPOSAL_TABLE.items() if new is ProposalState.APPROVED} == {Act.APPROVE}


def test_nobody_reviews_themselves() -> None:
    check_four_eyes("an", "binh")
    with pytest.raises(Refused, match="four eyes"):
        check_four_eyes("an", "an")


def test_terms_are_180_days_at_most_365_prefixes_30_and_less_where_the_guard_says() -> None:
    assert (usual(False), longest(False)) == (180 * 24, 365 * 24)
    assert (usual(True), longest(True)) == (30 * 24, 30 * 24)
    assert (usual(True, 72), longest(True, 72), longest(False, 72)) == (72, 72, 72)


@pytest.mark.parametrize(
    ("state", "hour", "paused", "lapses", "expected"),
    [
        (EntryState.ACTIVE, 9, 0, 0, EntryState.WAITING),
        (EntryState.ACTIVE, 10, 0, 0, EntryState.ACTIVE),
        (EntryState.ACTIVE, 19, 0, 0, EntryState.ACTIVE),
        (EntryState.ACTIVE, 20, 0, 0, EntryState.EXPIRED),
        (EntryState.SUSPENDED, 20, 0, 0, EntryState.EXPIRED),
        (EntryState.ACTIVE, 14, 15, 0, EntryState.SUSPENDED),
        (EntryState.ACTIVE, 15, 15, 0, EntryState.ACTIVE),
        (EntryState.EMERGENCY, 14, 0, 15, EntryState.EMERGENCY),
        (EntryState.EMERGENCY, 15, 0, 15, EntryState.LAPSED),
        (EntryState.WITHDRAWN, 30, 0, 0, EntryState.WITHDRAWN),
        (EntryState.PROPOSED, 30, 0, 0, EntryState.PROPOSED),
    ],
)
def test_the_clock_moves_entries_at_the_hour(
    state: EntryState, hour: int, paused: int, lapses: int, expected: EntryState
) -> None:
    assert at_hour(state, 10, 20, hour, paused, lapses) is expected
