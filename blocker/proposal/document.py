"""The proposal and the review as documents: what officers sign.

Both name the head of the event chain that the signer saw (`after`), so nothing before an honest signature can be
rewritten afterwards, and neither fits into another history.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from blocker.proposal.items import AddItem, ChangeItem, Item, check_reason, item_of_line
from feeds.document import compose, moment_of_text, moment_text, number_of_text, parse
from feeds.errors import Failure, Problem, Untrusted
from feeds.language import _
from feeds.manifest import ChainHead

PROPOSAL_KIND = "blocker-proposal"
REVIEW_KIND = "blocker-review"
MAX_ITEMS = 5_000_000


class Verdict(StrEnum):
    """What a review says. `break_glass` is no review: one officer alone, for 72 hours."""

    APPROVE = "approve"
    REJECT = "reject"
    BREAK_GLASS = "break_glass"


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything a proposer signs. `decision_sha256` is of the decision's canonical bytes.

    Items stand in canonical order: additions by rule key, then changes by entry number.
    """

    authority: str
    number: int
    decision: str
    decision_sha256: str
    proposer: str
    signed: datetime
    after: ChainHead
    additions: tuple[AddItem, ...]
    changes: tuple[ChangeItem, ...]

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        fields = (
            ("authority", self.authority),
            ("number", str(self.number)),
            ("decision", self.decision),
            ("decision-sha256", self.decision_sha256),
            ("proposer", self.proposer),
            ("signed", moment_text(self.signed)),
            ("after", _head_text(self.after)),
            ("items", str(len(self.additions) + len(self.changes))),
        )
        items: list[Item] = [*self.additions, *self.changes]
        return compose(PROPOSAL_KIND, fields, (item.line() for item in items))

    @classmethod
    def of_bytes(cls, data: bytes) -> "Proposal":
        """Read canonical bytes; raises Untrusted."""
        values, lines = parse(data, PROPOSAL_KIND, _PROPOSAL_FIELDS)
        authority, number, decision, digest, proposer, signed, after, count = values
        if len(lines) != number_of_text(count, MAX_ITEMS):
            raise Untrusted(_("a proposal says {n} items and has {m}").format(n=count, m=len(lines)))
        additions, changes = split_items(lines)
        check_order(additions, changes)
        for item in additions:
            if item.rule.authority != authority or item.rule.decision != decision:
                raise Untrusted(_("entry {entry} is not of this proposal").format(entry=item.rule.entry))
        for change in changes:
            if not change.entry.startswith(authority + ":"):
                raise Untrusted(_("entry {entry} is not of this authority").format(entry=change.entry))
        return cls(
            authority,
            number_of_text(number),
            decision,
            digest,
            proposer,
            moment_of_text(signed),
            _head_of_text(after),
            tuple(additions),
            tuple(changes),
        )


_PROPOSAL_FIELDS = ("authority", "number", "decision", "decision-sha256", "proposer", "signed", "after", "items")


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The approver says: yes, this very target (`str(target)`), for this reason, knowing what the guard said."""

    target: str
    findings: tuple[str, ...]
    reason: str

    def line(self) -> str:
        """Its canonical line."""
        return f"{self.target}\t{','.join(self.findings)}\t{self.reason}"


@dataclass(frozen=True, slots=True)
class Review:
    """Everything a reviewer signs; `confirmed` stands in the order of its targets."""

    authority: str
    proposal: int
    proposal_sha256: str
    verdict: Verdict
    officer: str
    made: datetime
    after: ChainHead
    reason: str
    confirmed: tuple[Confirmation, ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        fields = (
            ("authority", self.authority),
            ("proposal", str(self.proposal)),
            ("proposal-sha256", self.proposal_sha256),
            ("verdict", self.verdict),
            ("officer", self.officer),
            ("made", moment_text(self.made)),
            ("after", _head_text(self.after)),
            ("reason", self.reason),
            ("confirmed", str(len(self.confirmed))),
        )
        return compose(REVIEW_KIND, fields, (confirmation.line() for confirmation in self.confirmed))

    @classmethod
    def of_bytes(cls, data: bytes) -> "Review":
        """Read canonical bytes; raises Untrusted."""
        values, lines = parse(data, REVIEW_KIND, _REVIEW_FIELDS)
        authority, number, digest, verdict, officer, made, after, reason, count = values
        if len(lines) != number_of_text(count, MAX_ITEMS):
            raise Untrusted(_("a review says {n} confirmed targets and has {m}").format(n=count, m=len(lines)))
        try:
            found = cls(
                authority,
                number_of_text(number),
                digest,
                Verdict(verdict),
                officer,
                moment_of_text(made),
                _head_of_text(after),
                reason,
                tuple(_confirmation(line) for line in lines),
            )
        except (Failure, ValueError) as error:
            raise Untrusted(_("a review is malformed: {why}").format(why=error)) from None
        if found.to_bytes() != data or sorted(lines) != lines:
            raise Untrusted(_("a review is not in canonical form"))
        return found


_REVIEW_FIELDS = (
    "authority",
    "proposal",
    "proposal-sha256",
    "verdict",
    "officer",
    "made",
    "after",
    "reason",
    "confirmed",
)


def split_items(lines: Iterable[str]) -> tuple[list[AddItem], list[ChangeItem]]:
    """Items of lines, additions and changes apart; raises Untrusted naming the line."""
    additions: list[AddItem] = []
    changes: list[ChangeItem] = []
    for place, line in enumerate(lines, 1):
        try:
            item = item_of_line(line)
        except Failure as error:
            problem = Problem(_("item {n}").format(n=place), "proposal.item", error.what)
            raise Untrusted(
                _("item {n} of a proposal is malformed: {why}").format(n=place, why=error.what), problems=[problem]
            ) from None
        if isinstance(item, AddItem):
            additions.append(item)
        else:
            changes.append(item)
    return additions, changes


def in_order(additions: Iterable[AddItem], changes: Iterable[ChangeItem]) -> tuple[list[AddItem], list[ChangeItem]]:
    """Items in canonical order."""
    return sorted(additions, key=lambda item: item.rule.key), sorted(changes, key=lambda change: change.number)


def check_order(additions: Iterable[AddItem], changes: Iterable[ChangeItem]) -> None:
    """Raises Untrusted unless items rise strictly: one addition a target, one change an entry."""
    last_key: tuple[object, ...] = ()
    for item in additions:
        key = item.rule.key
        if not last_key < key:
            raise Untrusted(_("entry {entry} stands out of order").format(entry=item.rule.entry))
        last_key = key
    last = 0
    for change in changes:
        if change.number <= last:
            raise Untrusted(_("entry {entry} stands out of order").format(entry=change.entry))
        last = change.number


def _confirmation(line: str) -> Confirmation:
    fields = line.split("\t")
    if len(fields) != 3:
        raise Untrusted(_("a confirmed target has {n} fields instead of 3").format(n=len(fields)))
    return Confirmation(fields[0], tuple(fields[1].split(",")), check_reason(fields[2]))


def _head_text(head: ChainHead) -> str:
    return f"{head.length} {head.hash}"


def _head_of_text(text: str) -> ChainHead:
    length, _space, digest = text.partition(" ")
    number = number_of_text(length)
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise Untrusted(_("«{text}» is no chain head").format(text=text[:80]))
    return ChainHead(length=number, hash=digest)
