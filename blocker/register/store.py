"""The register's front door."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from blocker.guard import Finding
from blocker.proposal import Addition, Change, Decision
from blocker.register.views import (
    AddReport,
    DecisionView,
    Emergency,
    EntryView,
    EventView,
    HistoryLine,
    Match,
    OfficerChangeView,
    OfficerView,
    Plan,
    ProposalView,
    PublicationView,
    Verified,
)
from blocker.workflow import EntryState, ProposalState
from feeds.manifest import ChainHead
from feeds.officers import OfficerList, SignedGenesis, Signer, Step
from feeds.rule import Category, Serial, Target


class Judge(Protocol):
    """What the register asks of the guard (`blocker.guard.Guard`)."""

    def judge(
        self, target: Target, *, path_dropped: bool = False, listed: Callable[[Target], str | None] | None = None
    ) -> tuple[Finding, ...]:
        """All findings about one target."""


class Decisions:
    def add(self, decision: Decision, officer: str, now: datetime) -> None:
        """Record a decision; raises Refused if the notation exists with other content."""
        raise NotImplementedError

    def get(self, notation: str) -> DecisionView:
        """Raises Rejected if there is none."""
        raise NotImplementedError

    def search(self, text: str = "", limit: int = 100, offset: int = 0) -> tuple[DecisionView, ...]:
        """Decisions whose notation, subject or agency contain `text` (no case, no diacritics), newest first."""
        raise NotImplementedError


class Proposals:
    def new(self, decision: str, now: datetime) -> int:
        """Open a proposal under a decision; its number."""
        raise NotImplementedError

    def add(self, number: int, additions: Iterable[Addition], guard: Judge, now: datetime) -> AddReport:
        """Judge new entries and take those that pass."""
        raise NotImplementedError

    def change(self, number: int, changes: Iterable[Change], guard: Judge, now: datetime) -> AddReport:
        """Take changes of standing entries."""
        raise NotImplementedError

    def drop(self, number: int, items: Collection[str], now: datetime) -> int:
        """Take items out of a draft: targets as `str(target)`, changes as `authority:number`; how many went."""
        raise NotImplementedError

    def plan(self, number: int, now: datetime, guard: Judge | None = None) -> Plan:
        """What it would do."""
        raise NotImplementedError

    def document(self, number: int) -> bytes:
        """The canonical bytes of a signed proposal."""
        raise NotImplementedError

    def sign(self, number: int, officer: str, key: Signer, now: datetime) -> str:
        """Propose it; the document's SHA-256."""
        raise NotImplementedError

    def approve(
        self, number: int, officer: str, key: Signer, guard: Judge, confirmations: Mapping[str, str], now: datetime
    ) -> None:
        """Approve it. `confirmations`: `str(target)` -> written reason, one for every target the guard wants confirmed."""
        raise NotImplementedError

    def reject(self, number: int, officer: str, key: Signer, reason: str, now: datetime) -> None:
        """Reject it with a reason."""
        raise NotImplementedError

    def break_glass(self, number: int, officer: str, key: Signer, guard: Judge, reason: str, now: datetime) -> None:
        """Let a signed proposal through alone, for at most 72 hours; a later `approve` by another confirms it."""
        raise NotImplementedError

    def discard(self, number: int, now: datetime) -> None:
        """Give up a draft."""
        raise NotImplementedError

    def get(self, number: int) -> ProposalView:
        """Raises Rejected if there is none."""
        raise NotImplementedError

    def list(self, state: ProposalState | None = None, limit: int = 100, offset: int = 0) -> tuple[ProposalView, ...]:
        """Newest first."""
        raise NotImplementedError


class Entries:
    def get(self, number: int, now: datetime) -> EntryView:
        """Raises Rejected if there is none."""
        raise NotImplementedError

    def search(
        self,
        text: str,
        now: datetime,
        *,
        state: EntryState | None = None,
        category: Category | None = None,
        decision: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[EntryView, ...]:
        """Entries whose name (without case and diacritics) or prefix contains `text`."""
        raise NotImplementedError

    def history(self, number: int, now: datetime) -> tuple[HistoryLine, ...]:
        """Everything that happened to an entry, oldest first."""
        raise NotImplementedError

    def why(self, target: Target, now: datetime) -> tuple[Match, ...]:
        """Entries for the target itself and those that cover it, those in force and nearest first."""
        raise NotImplementedError


class Officers:
    def roster(self) -> OfficerList:
        """The list as the signed documents make it (root signatures are checked by `verified`)."""
        raise NotImplementedError

    def list(self) -> tuple[OfficerView, ...]:
        """All officers, by id."""
        raise NotImplementedError

    def propose(
        self, step: Step, officer: str, by: str, signer: Signer, now: datetime, *, key: str = "", name: str = ""
    ) -> str:
        """Sign a change of the officer list as the first of two; its SHA-256."""
        raise NotImplementedError

    def countersign(self, sha256: str, by: str, signer: Signer, now: datetime) -> None:
        """Sign as the second; the change takes effect."""
        raise NotImplementedError

    def pending(self) -> tuple[OfficerChangeView, ...]:
        """Changes that wait for a second signature."""
        raise NotImplementedError


class Publications:
    def reserve_serial(self, now: datetime, published_serial: int = 0) -> Serial:
        """The next serial, committed before any file is written; Refused if the register is behind the feed."""
        raise NotImplementedError

    def mark_published(self, serial: Serial, digest: str, chain: ChainHead, now: datetime) -> None:
        """Note that the files of this serial are out. Marking the same again does nothing."""
        raise NotImplementedError

    def list(self, limit: int = 100) -> tuple[PublicationView, ...]:
        """Newest first."""
        raise NotImplementedError

    def last(self) -> PublicationView | None:
        """The newest that was published."""
        raise NotImplementedError


class Register:
    """One authority's register in one database."""

    authority: str
    authority_name: str
    training: bool
    decisions: Decisions
    proposals: Proposals
    entries: Entries
    officers: Officers
    publications: Publications

    @classmethod
    def create(
        cls,
        url: str,
        genesis: SignedGenesis,
        root_keys: Collection[str],
        threshold: int,
        now: datetime,
        *,
        authority_name: str = "",
        names: Mapping[str, str] | None = None,
    ) -> "Register":
        """A new register; `names` are the officers' own, by id. Refused if the database already holds one."""
        raise NotImplementedError

    @classmethod
    def open(cls, url: str) -> "Register":
        """An existing register. Refused: it needs a migration, or the guards of its event table are gone."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the database."""
        raise NotImplementedError

    def head(self) -> ChainHead:
        """Length and hash of the event chain now."""
        raise NotImplementedError

    def events(self, after: int = 0, limit: int = 1000) -> Sequence[EventView]:
        """Events with a sequence number above `after`, in order."""
        raise NotImplementedError

    def verified(
        self,
        now: datetime,
        root_keys: Collection[str],
        threshold: int,
        published: ChainHead | None,
        *,
        guard: Judge | None = None,
        admit: Callable[[Emergency], bool] | None = None,
    ) -> Verified:
        """Replay every signed document and compare it with the rows; Refused names each row that differs."""
        raise NotImplementedError
