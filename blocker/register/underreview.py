"""A signed proposal under review: read with its proposer's signature checked, and judged by the guard of today."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from blocker.guard import Severity, max_hours
from blocker.proposal import Confirmation, Proposal, check_reason
from blocker.proposal.standing import refuse_all
from blocker.register import chain, documents
from blocker.register.drafts import ENDING, entry_rows, lasting, of, proposal_row
from blocker.register.ground import Ground, roster
from blocker.register.views import Judged
from blocker.workflow import PROPOSAL_WORDS, ProposalState, longest
from feeds.collector import without_collector
from feeds.errors import Problem, Refused, Rejected
from feeds.language import _
from feeds.officers import Kind, signed_by
from feeds.prefix import Prefix
from feeds.rule import Target, hours_up


@dataclass(frozen=True, slots=True)
class SignedProposal:
    """A signed proposal as it was read, its proposer's signature verified."""

    row: Row[Any]
    document: Proposal
    entries: dict[int, Row[Any]]

    def lasting(self) -> list[tuple[Target, bool]]:
        """Targets that it lists or keeps listed."""
        return lasting(self.document.additions, self.document.changes, self.entries)


def read_signed(ground: Ground, number: int) -> SignedProposal:
    """Raises Refused if it is not signed, or not by an officer who is active now."""
    with ground.database.read() as connection, without_collector():
        row = proposal_row(connection, number)
        if row.sha256 is None:
            raise Refused(
                _("proposal {n} is {state}, not signed").format(
                    n=number, state=_(PROPOSAL_WORDS[ProposalState(row.state)])
                ),
                kept=_("the proposal is as it was"),
                then=_("its proposer signs it first: blocker proposal sign {n}").format(n=number),
            )
        data = documents.get(connection, row.sha256)
        document = Proposal.of_bytes(data)
        listed = roster(connection).key_of(document.proposer)
        if listed is None or not signed_by(Kind.PROPOSAL, data, listed, row.signature or ""):
            raise chain.broken(_("proposal {n} does not carry the signature of an active officer").format(n=number))
        entries = entry_rows(connection, (change.number for change in document.changes))
    return SignedProposal(row, document, entries)


def refuse_never(number: int, said: Iterable[Judged]) -> None:
    """Raises Refused with every NEVER."""
    problems = [
        Problem(str(one.target), finding.rule, finding.sentence)
        for one in said
        for finding in of(one.findings, Severity.NEVER)
    ]
    refuse_all(_("the guard refuses targets of proposal {n}").format(n=number), problems)


def refuse_too_long(proposal: SignedProposal, said: list[Judged]) -> None:
    """What the guard of today limits to hours must not stand longer."""
    signed_hour = hours_up(proposal.document.signed)
    ends = [(item.rule.expires, max(item.valid_from, signed_hour)) for item in proposal.document.additions]
    for change in proposal.document.changes:
        row = proposal.entries.get(change.number)
        if change.verb not in ENDING and row is not None:
            ends.append((change.new or row.expires, signed_hour))
    problems = []
    for (end, start), one in zip(ends, said, strict=True):
        cap = max_hours(one.findings)
        if cap is not None and end > start + longest(isinstance(one.target, Prefix), cap):
            message = _("it stands on infrastructure shared by many, so at most {n} hours").format(n=cap)
            problems.append(Problem(str(one.target), "entry.expiry", message))
    refuse_all(_("entries of this proposal would stand too long"), problems)


def confirmations_of(
    number: int, proposal: SignedProposal, said: Iterable[Judged], confirmations: Mapping[str, str]
) -> tuple[Confirmation, ...]:
    """What the approver confirms; Refused names targets without a reason, Rejected those that are not listed."""
    wanted = {
        str(one.target): tuple(sorted({f.rule for f in found}))
        for one in said
        if (found := of(one.findings, Severity.CONFIRM))
    }
    strangers = set(confirmations) - {str(target) for target, _dropped in proposal.lasting()}
    if strangers:
        raise Rejected(
            _("proposal {n} does not list {targets}").format(n=number, targets=", ".join(sorted(strangers)[:10])),
            rule="review.confirm",
            then=_("confirm targets as the plan writes them"),
        )
    problems = [
        Problem(target, ",".join(rules), _("this very target must be confirmed, with a reason"))
        for target, rules in wanted.items()
        if not confirmations.get(target, "").strip()
    ]
    refuse_all(_("targets of proposal {n} are not confirmed").format(n=number), problems)
    return tuple(
        sorted(
            (Confirmation(target, rules, check_reason(confirmations[target])) for target, rules in wanted.items()),
            key=lambda confirmation: confirmation.line(),
        )
    )
