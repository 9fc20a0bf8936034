"""What the register answers with: frozen values, no rows."""

from dataclasses import dataclass
from datetime import date, datetime

from blocker.guard import Finding
from blocker.proposal import Addition, Change
from blocker.workflow import EntryState, ProposalState
from feeds.errors import Problem
from feeds.manifest import ChainHead, DecisionRef
from feeds.officers import Officer, OfficerList
from feeds.rule import Action, Category, Limits, Rule, Target


@dataclass(frozen=True, slots=True)
class OfficerView:
    """An officer; the name is known to this database only."""

    id: str
    key: str
    name: str
    active: bool


@dataclass(frozen=True, slots=True)
class OfficerChangeView:
    """A change of the officer list that waits for its second signature."""

    sha256: str
    step: str
    officer: Officer
    name: str
    by: str
    made: datetime


@dataclass(frozen=True, slots=True)
class DecisionView:
    """A decision with what rests on it. `entries`: those proposed or standing."""

    notation: str
    agency: str
    number: str
    date: date
    subject: str
    legal_basis: str
    contact: str
    sha256: str
    court: str
    ruling: str
    recorded: datetime
    officer: str
    entries: int


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry as it stands at the `now` it was asked for. `published`: first serial that had it, or None."""

    number: int
    id: str  # authority:number, as in the feed
    target: Target
    action: Action
    data: str
    limits: Limits
    category: Category
    decision: str
    reason: str
    evidence: tuple[str, ...]
    state: EntryState
    valid_from: datetime | None
    expires: datetime
    proposal: int
    published: int | None


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One step in an entry's life. `what`: proposed, approved, rejected, extended, suspended, ..., published."""

    at: datetime
    what: str
    actor: str
    proposal: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Match:
    """Why a target is (or would be) blocked: an entry, and whether it is the target itself or covers it."""

    entry: EntryView
    covering: bool
    in_force: bool


@dataclass(frozen=True, slots=True)
class ProposalView:
    """A proposal. `sha256` is of its canonical bytes and empty until it is signed."""

    number: int
    decision: str
    state: ProposalState
    opened: datetime
    proposer: str
    reviewer: str
    sha256: str
    signed: datetime | None
    reviewed: datetime | None
    reason: str
    items: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a proposal did not take, and every reason. `place` is the sheet's (`row 17`) or the target."""

    place: str
    target: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A target with what the guard says of it."""

    target: Target
    findings: tuple[Finding, ...]
    place: str = ""


@dataclass(frozen=True, slots=True)
class AddReport:
    """What became of a batch. `confirm` must each be confirmed by the approver; `warnings` are for reading."""

    added: int
    unchanged: tuple[Addition, ...]
    refused: tuple[Refusal, ...]
    confirm: tuple[Judged, ...]
    warnings: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a proposal does: rules that come and go, entries that only change, and what is in the way.

    `added`: new entries (resumed ones stand in `changes`). `unchanged`: asked for, and standing already. `confirm`,
    `refused`, `warnings` are judged by the guard of today; empty if no guard was given.
    """

    proposal: ProposalView
    added: tuple[Rule, ...]
    changes: tuple[tuple[Change, EntryView], ...]
    removed: tuple[EntryView, ...]
    unchanged: int
    refused: tuple[Refusal, ...]
    confirm: tuple[Judged, ...]
    warnings: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class PublicationView:
    """A serial that was reserved; `digest` is empty until it was published."""

    serial: int
    reserved: datetime
    published: datetime | None
    digest: str
    chain: ChainHead | None


@dataclass(frozen=True, slots=True)
class EventView:
    """One link of the chain."""

    seq: int
    at: datetime
    kind: str
    actor: str
    body: dict[str, object]
    hash: str


@dataclass(frozen=True, slots=True)
class Emergency:
    """A break-glass publication that no second officer has confirmed yet; it ends at `lapses` (hours since 1970)."""

    proposal: int
    sha256: str
    officer: str
    reason: str
    since: datetime
    lapses: int
    entries: tuple[str, ...]
    admitted: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """The register as its signed documents say, checked against its rows. Only this may be published.

    `rules` are in force at `now`, one a key, before pruning. `problems` are entries left out (floor, guard) and
    break-glass proposals not admitted.
    """

    rules: list[Rule]
    decisions: tuple[DecisionRef, ...]
    head: ChainHead
    officers: OfficerList
    problems: tuple[Problem, ...]
    emergencies: tuple[Emergency, ...]
