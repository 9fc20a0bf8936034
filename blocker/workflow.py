"""States and transitions of proposals and entries as one table, the four-eyes rule, and how long entries may stand.

Pure. `python -m blocker.workflow` prints the table's picture (docs/workflow.md).
"""

from enum import StrEnum

from feeds.errors import Refused
from feeds.language import N_, _

DEFAULT_HOURS = 180 * 24
MAX_HOURS = 365 * 24
PREFIX_HOURS = 30 * 24
BREAK_GLASS_HOURS = 72
MAX_BREAK_GLASS_ITEMS = 100


class ProposalState(StrEnum):
    """Where a proposal stands."""

    DRAFT = "draft"
    SIGNED = "signed"
    APPROVED = "approved"
    REJECTED = "rejected"
    EMERGENCY = "emergency"
    DISCARDED = "discarded"


class EntryState(StrEnum):
    """Where an entry stands. `waiting`, `expired` and `lapsed` follow from the clock, the others from documents."""

    PROPOSED = "proposed"
    WAITING = "waiting"
    ACTIVE = "active"
    EMERGENCY = "emergency"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    LAPSED = "lapsed"
    WITHDRAWN = "withdrawn"
    REJECTED = "rejected"


class Act(StrEnum):
    """What moves a proposal or an entry on. `clock` is nobody's act."""

    SIGN = "sign"
    APPROVE = "approve"
    REJECT = "reject"
    BREAK_GLASS = "break_glass"
    DISCARD = "discard"
    EXTEND = "extend"
    SUSPEND = "suspend"
    RESUME = "resume"
    WITHDRAW = "withdraw"
    CLOCK = "clock"


# How a person says them.
PROPOSAL_WORDS = {
    ProposalState.DRAFT: N_("draft"),
    ProposalState.SIGNED: N_("signed, waits for review"),
    ProposalState.APPROVED: N_("approved"),
    ProposalState.REJECTED: N_("rejected"),
    ProposalState.EMERGENCY: N_("emergency, waits for confirmation"),
    ProposalState.DISCARDED: N_("discarded"),
}
ENTRY_WORDS = {
    EntryState.PROPOSED: N_("proposed"),
    EntryState.WAITING: N_("approved, not begun yet"),
    EntryState.ACTIVE: N_("in force"),
    EntryState.EMERGENCY: N_("in force as an emergency"),
    EntryState.SUSPENDED: N_("suspended"),
    EntryState.EXPIRED: N_("expired"),
    EntryState.LAPSED: N_("lapsed, never confirmed"),
    EntryState.WITHDRAWN: N_("withdrawn"),
    EntryState.REJECTED: N_("rejected"),
}
ACT_WORDS: dict[str, str] = {
    Act.SIGN: N_("sign"),
    Act.APPROVE: N_("approve"),
    Act.REJECT: N_("reject"),
    Act.BREAK_GLASS: N_("break the glass"),
    Act.DISCARD: N_("discard"),
    Act.EXTEND: N_("extend"),
    Act.SUSPEND: N_("suspend"),
    Act.RESUME: N_("resume"),
    Act.WITHDRAW: N_("withdraw"),
    Act.CLOCK: N_("the clock"),
}

P, E, A = ProposalState, EntryState, Act

PROPOSAL_TABLE: dict[tuple[ProposalState, Act], ProposalState] = {
    (P.DRAFT, A.SIGN): P.SIGNED,
    (P.DRAFT, A.DISCARD): P.DISCARDED,
    (P.SIGNED, A.APPROVE): P.APPROVED,
    (P.SIGNED, A.REJECT): P.REJECTED,
    (P.SIGNED, A.BREAK_GLASS): P.EMERGENCY,
    (P.EMERGENCY, A.APPROVE): P.APPROVED,
    (P.EMERGENCY, A.REJECT): P.REJECTED,
}

ENTRY_TABLE: dict[tuple[EntryState, Act], EntryState] = {
    (E.PROPOSED, A.APPROVE): E.ACTIVE,
    (E.PROPOSED, A.REJECT): E.REJECTED,
    (E.PROPOSED, A.BREAK_GLASS): E.EMERGENCY,
    (E.EMERGENCY, A.APPROVE): E.ACTIVE,
    (E.EMERGENCY, A.REJECT): E.REJECTED,
    (E.EMERGENCY, A.CLOCK): E.LAPSED,
    (E.LAPSED, A.APPROVE): E.ACTIVE,
    (E.LAPSED, A.REJECT): E.REJECTED,
    (E.WAITING, A.CLOCK): E.ACTIVE,
    (E.WAITING, A.EXTEND): E.WAITING,
    (E.WAITING, A.SUSPEND): E.SUSPENDED,
    (E.WAITING, A.WITHDRAW): E.WITHDRAWN,
    (E.ACTIVE, A.CLOCK): E.EXPIRED,
    (E.ACTIVE, A.EXTEND): E.ACTIVE,
    (E.ACTIVE, A.SUSPEND): E.SUSPENDED,
    (E.ACTIVE, A.WITHDRAW): E.WITHDRAWN,
    (E.SUSPENDED, A.CLOCK): E.EXPIRED,
    (E.SUSPENDED, A.EXTEND): E.SUSPENDED,
    (E.SUSPENDED, A.RESUME): E.ACTIVE,
    (E.SUSPENDED, A.WITHDRAW): E.WITHDRAWN,
}


def next_proposal(state: ProposalState, act: Act) -> ProposalState:
    """The state after `act`; raises Refused where the table has no such step."""
    found = PROPOSAL_TABLE.get((state, act))
    if found is None:
        raise Refused(
            _("a proposal that is {state} cannot be moved by «{act}»").format(
                state=_(PROPOSAL_WORDS[state]), act=_(ACT_WORDS[act])
            ),
            kept=_("the proposal is as it was"),
            then=_("open a new proposal"),
        )
    return found


def next_entry(state: EntryState, act: Act) -> EntryState | None:
    """The state after `act`, or None where the table has no such step."""
    return ENTRY_TABLE.get((state, act))


def at_hour(
    state: EntryState, valid_from: int, expires: int, hour: int, paused_until: int = 0, lapses: int = 0
) -> EntryState:
    """A recorded state as the clock has moved it on. All times in hours since 1970-01-01T00Z.

    `paused_until`: an unconfirmed break-glass suspension ends then; `lapses`: an unconfirmed break-glass entry does.
    """
    if state is E.EMERGENCY and hour >= lapses:
        return E.LAPSED
    if state in (E.ACTIVE, E.SUSPENDED, E.EMERGENCY) and hour >= expires:
        return E.EXPIRED
    if state is E.ACTIVE and hour < paused_until:
        return E.SUSPENDED
    return E.WAITING if state is E.ACTIVE and hour < valid_from else state


def check_four_eyes(proposer: str, reviewer: str) -> None:
    """Nobody approves what they proposed; raises Refused."""
    if proposer == reviewer:
        raise Refused(
            _("officer {id} proposed this and cannot approve it (four eyes)").format(id=proposer),
            kept=_("the proposal waits for its review"),
            then=_("ask another officer"),
        )


def longest(prefix: bool, cap: int | None = None) -> int:
    """The most hours an entry may stand: 365 days, a prefix 30 days, or the guard's `cap` if that is less."""
    most = PREFIX_HOURS if prefix else MAX_HOURS
    return most if cap is None else min(most, cap)


def usual(prefix: bool, cap: int | None = None) -> int:
    """The hours an entry stands if nothing else is said."""
    return min(DEFAULT_HOURS, longest(prefix, cap))


def picture() -> str:
    """Both tables as Mermaid state diagrams, in Markdown."""
    parts = [
        "# Workflow",
        "",
        "Made by `python -m blocker.workflow` from the tables in `blocker/workflow.py`; a test compares them.",
    ]
    tables = (("Proposals", PROPOSAL_TABLE, P.DRAFT), ("Entries", ENTRY_TABLE, E.PROPOSED))
    for title, table, first in tables:
        parts += ["", f"## {title}", "", "```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
        parts += [f"    {old} --> {new}: {act}" for (old, act), new in table.items()]
        leaving = {old for old, _act in table}
        ends = dict.fromkeys(new for new in table.values() if new not in leaving)
        parts += [*(f"    {state} --> [*]" for state in ends), "```"]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(picture(), end="")
