"""States and transitions of proposals and entries, as one table; four eyes. Pure."""

from enum import StrEnum


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
