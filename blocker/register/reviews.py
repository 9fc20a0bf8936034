"""Signing a proposal, approving and rejecting it, break-glass: each step one signed document and one event."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from blocker.guard import Severity
from blocker.proposal import AddItem, Confirmation, Proposal, Review, Verdict, check_reason, in_order
from blocker.proposal.standing import (
    Standing,
    changed,
    check_break_glass,
    check_extension,
    check_proposal,
    refuse_all,
    unpaused,
)
from blocker.register import chain, documents
from blocker.register.bulk import insert_rows
from blocker.register.compare import ENTRY_COLUMNS, FACTS, differences, facts, first_standing, new_row
from blocker.register.decisions import decision_of
from blocker.register.drafts import entry_rows, judged, of, proposal_row, read_draft
from blocker.register.entries import standing_of
from blocker.register.ground import (
    PROPOSAL_APPROVED,
    PROPOSAL_EMERGENCY,
    PROPOSAL_REJECTED,
    PROPOSAL_SIGNED,
    Ground,
    Judge,
    signed,
)
from blocker.register.tables import ENTRY, ENTRY_CHANGE, PROPOSAL, REVIEW
from blocker.register.underreview import SignedProposal, confirmations_of, read_signed, refuse_never, refuse_too_long
from blocker.workflow import (
    BREAK_GLASS_HOURS,
    Act,
    EntryState,
    ProposalState,
    check_four_eyes,
    next_proposal,
)
from feeds.collector import without_collector
from feeds.document import moment_text
from feeds.errors import Problem, Refused, Rejected
from feeds.language import _
from feeds.officers import Kind, Signer
from feeds.prefix import Prefix
from feeds.rule import hours, hours_up

_KINDS = {
    Verdict.APPROVE: (Act.APPROVE, PROPOSAL_APPROVED),
    Verdict.REJECT: (Act.REJECT, PROPOSAL_REJECTED),
    Verdict.BREAK_GLASS: (Act.BREAK_GLASS, PROPOSAL_EMERGENCY),
}
_ENTRY_STATES = {
    ProposalState.SIGNED: EntryState.PROPOSED,
    ProposalState.EMERGENCY: EntryState.EMERGENCY,
    ProposalState.APPROVED: EntryState.ACTIVE,
    ProposalState.REJECTED: EntryState.REJECTED,
}


def sign(ground: Ground, number: int, officer: str, key: Signer, now: datetime) -> str:
    """Turn a draft into a signed document and its entries into rows; the document's SHA-256."""
    with ground.database.write() as connection, without_collector():
        row = proposal_row(connection, number)
        state = next_proposal(ProposalState(row.state), Act.SIGN)
        additions, changes = in_order(*read_draft(row))
        decision, digest = decision_of(connection, row.decision)
        proposal = Proposal(
            ground.authority,
            number,
            row.decision,
            digest,
            officer,
            now,
            chain.head(connection),
            tuple(additions),
            tuple(changes),
        )
        check_proposal(proposal, decision)
        _check_changes(connection, proposal, now)
        document = proposal.to_bytes()
        signature = signed(connection, Kind.PROPOSAL, document, officer, key)
        sha256 = documents.put(connection, "proposal", document)
        connection.execute(
            update(PROPOSAL)
            .where(PROPOSAL.c.number == number)
            .values(
                state=state,
                draft=None,
                proposer=officer,
                sha256=sha256,
                signature=signature,
                signed=moment_text(now),
            )
        )
        insert_rows(connection, ENTRY, ENTRY_COLUMNS, (new_row(item, number) for item in additions))
        columns = ("proposal", "entry", "verb", "reason", "old", "new")
        insert_rows(
            connection,
            ENTRY_CHANGE,
            columns,
            ((number, c.number, str(c.verb), c.reason, c.old, c.new) for c in changes),
        )
        body: dict[str, object] = {"proposal": number, "document": sha256, "signature": signature}
        chain.append(connection, PROPOSAL_SIGNED, officer, now, body)
        return sha256


def approve(
    ground: Ground,
    number: int,
    officer: str,
    key: Signer,
    guard: Judge,
    confirmations: Mapping[str, str],
    now: datetime,
) -> None:
    """See `Proposals.approve`."""
    proposal = read_signed(ground, number)
    next_proposal(ProposalState(proposal.row.state), Act.APPROVE)
    check_four_eyes(proposal.document.proposer, officer)
    said = judged(guard, proposal.lasting(), {})
    refuse_never(number, said)
    refuse_too_long(proposal, said)
    confirmed = confirmations_of(number, proposal, said, confirmations)
    _review(ground, proposal, Verdict.APPROVE, officer, key, "", confirmed, now)


def reject(ground: Ground, number: int, officer: str, key: Signer, reason: str, now: datetime) -> None:
    """See `Proposals.reject`."""
    check_reason(reason)
    proposal = read_signed(ground, number)
    next_proposal(ProposalState(proposal.row.state), Act.REJECT)
    check_four_eyes(proposal.document.proposer, officer)
    _review(ground, proposal, Verdict.REJECT, officer, key, reason, (), now)


def break_glass(
    ground: Ground, number: int, officer: str, key: Signer, guard: Judge, reason: str, now: datetime
) -> None:
    """See `Proposals.break_glass`."""
    check_reason(reason)
    proposal = read_signed(ground, number)
    next_proposal(ProposalState(proposal.row.state), Act.BREAK_GLASS)
    check_break_glass(proposal.document)
    said = judged(guard, proposal.lasting(), {})
    refuse_never(number, said)
    problems = [
        Problem(str(one.target), finding.rule, finding.sentence)
        for one in said
        for finding in of(one.findings, Severity.CONFIRM)
    ]
    refuse_all(_("break-glass cannot list what a second officer must confirm"), problems)
    _refuse_lapsed(ground, proposal)
    _review(ground, proposal, Verdict.BREAK_GLASS, officer, key, reason, (), now)


def _review(
    ground: Ground,
    proposal: SignedProposal,
    verdict: Verdict,
    officer: str,
    key: Signer,
    reason: str,
    confirmed: tuple[Confirmation, ...],
    now: datetime,
) -> None:
    act, kind = _KINDS[verdict]
    number, sha256 = proposal.document.number, proposal.row.sha256
    with ground.database.write() as connection, without_collector():
        row = proposal_row(connection, number)
        state = next_proposal(ProposalState(row.state), act)
        if row.sha256 != sha256:
            raise chain.broken(_("proposal {n} changed while it was being reviewed").format(n=number))
        if now < proposal.document.signed:
            raise Refused(
                _("proposal {n} was signed at {signed}, which is still to come").format(
                    n=number, signed=moment_text(proposal.document.signed)
                ),
                kept=_("the proposal waits for its review"),
                then=_("set the clocks of both computers right"),
            )
        if verdict is not Verdict.REJECT:
            _check_rows(connection, proposal.document, _ENTRY_STATES[ProposalState(row.state)])
        review = Review(
            ground.authority,
            number,
            sha256,
            verdict,
            officer,
            now,
            chain.head(connection),
            reason,
            confirmed,
        )
        document = review.to_bytes()
        signature = signed(connection, Kind.REVIEW, document, officer, key)
        digest = documents.put(connection, "review", document)
        connection.execute(
            insert(REVIEW).values(
                document=digest,
                proposal=number,
                proposer=row.proposer,
                officer=officer,
                verdict=str(verdict),
                at=moment_text(now),
            )
        )
        connection.execute(
            update(PROPOSAL)
            .where(PROPOSAL.c.number == number)
            .values(state=state, reviewer=officer, reviewed=moment_text(now), reason=reason)
        )
        _move_entries(connection, proposal.document, verdict, ProposalState(row.state), state, hours(now))
        body: dict[str, object] = {
            "proposal": number,
            "document": sha256,
            "review": digest,
            "signature": signature,
            "reason": reason,
        }
        chain.append(connection, kind, officer, now, body)


def _move_entries(
    connection: Connection,
    proposal: Proposal,
    verdict: Verdict,
    before: ProposalState,
    after: ProposalState,
    hour: int,
) -> None:
    """New entries of the proposal change their state; so do the entries that it changes."""
    emergency = verdict is Verdict.BREAK_GLASS
    lapses = hour + BREAK_GLASS_HOURS if emergency else 0
    connection.execute(
        update(ENTRY).where(ENTRY.c.proposal == proposal.number).values(state=str(_ENTRY_STATES[after]), lapses=lapses)
    )
    if verdict is Verdict.REJECT and before is not ProposalState.EMERGENCY:
        return
    rows = entry_rows(connection, (change.number for change in proposal.changes))
    for change in proposal.changes:
        standing = standing_of(rows[change.number])
        moved = unpaused(standing) if verdict is Verdict.REJECT else changed(standing, change, hour, emergency)
        _store(connection, change.number, moved)


def _store(connection: Connection, number: int, standing: Standing) -> None:
    connection.execute(
        update(ENTRY)
        .where(ENTRY.c.number == number)
        .values(
            state=str(standing.state),
            expires=standing.expires,
            paused_until=standing.paused_until,
            lapses=standing.lapses,
        )
    )


def _check_changes(connection: Connection, proposal: Proposal, now: datetime) -> None:
    rows = entry_rows(connection, (change.number for change in proposal.changes))
    problems: list[Problem] = []
    for change in proposal.changes:
        try:
            row = rows.get(change.number)
            if row is None:
                raise Rejected(_("there is no entry {id}").format(id=change.entry), rule="entry.unknown")
            changed(standing_of(row), change, hours(now))
            check_extension(change, row.kind == "prefix", hours_up(proposal.signed))
        except (Refused, Rejected) as error:
            problems += error.problems or (Problem(change.entry, "entry.unknown", error.what),)
    refuse_all(_("proposal {n} no longer fits the register").format(n=proposal.number), problems)


def _check_rows(connection: Connection, proposal: Proposal, state: EntryState) -> None:
    """The rows that come into force must still be what the document says."""
    columns = [ENTRY.c[name] for name in FACTS]
    rows = connection.execute(select(*columns).where(ENTRY.c.proposal == proposal.number))
    items = {item.number: item for item in proposal.additions}

    def said(number: int) -> tuple[object, ...] | None:
        item = items.get(number)
        return facts(item, first_standing(item, state)) if item else None

    plain = ((*tuple(row)[:-1], 0) for row in rows)
    found = list(differences(plain, said, len(items), lambda: items))
    if found:
        raise chain.broken(
            _("rows of proposal {n} were changed behind the program's back").format(n=proposal.number), *found
        )


def _refuse_lapsed(ground: Ground, proposal: SignedProposal) -> None:
    """Break-glass works once for a target: who wants it again needs a second officer."""
    texts = {_text(item): item.rule.target for item in proposal.document.additions}
    query = (
        select(ENTRY.c.target)
        .join(REVIEW, REVIEW.c.proposal == ENTRY.c.proposal)
        .where(REVIEW.c.verdict == str(Verdict.BREAK_GLASS), ENTRY.c.target.in_(texts))
        .where(ENTRY.c.state.in_((str(EntryState.EMERGENCY), str(EntryState.REJECTED))))
    )
    with ground.database.read() as connection:
        again = sorted(set(connection.execute(query).scalars()))
    message = _("break-glass was used for it before, and no second officer confirmed it")
    problems = [Problem(str(texts[text]), "proposal.break-glass", message) for text in again]
    refuse_all(_("break-glass cannot be repeated"), problems)


def _text(item: AddItem) -> str:
    target = item.rule.target
    return str(target) if isinstance(target, Prefix) else target.name.text
