"""Signing a proposal, approving and rejecting it, break-glass: each step one signed document and one event."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from blocker.guard import Severity, max_hours
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
from blocker.register.drafts import ENDING, entry_rows, judged, lasting, of, proposal_row, read_draft
from blocker.register.entries import standing_of
from blocker.register.ground import (
    PROPOSAL_APPROVED,
    PROPOSAL_EMERGENCY,
    PROPOSAL_REJECTED,
    PROPOSAL_SIGNED,
    Ground,
    Judge,
    roster,
    signed,
)
from blocker.register.tables import ENTRY, ENTRY_CHANGE, PROPOSAL, REVIEW
from blocker.register.views import Judged
from blocker.workflow import (
    BREAK_GLASS_HOURS,
    Act,
    EntryState,
    ProposalState,
    check_four_eyes,
    longest,
    next_proposal,
)
from feeds.document import moment_text
from feeds.errors import Problem, Refused, Rejected
from feeds.language import _
from feeds.officers import Kind, Signer, signed_by
from feeds.prefix import Prefix
from feeds.rule import Target, hours, hours_up

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
    with ground.database.write() as connection:
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


@dataclass(frozen=True, slots=True)
class _Signed:
    """A signed proposal as it was read, its proposer's signature verified."""

    row: Row[Any]
    document: Proposal
    entries: dict[int, Row[Any]]

    def lasting(self) -> list[tuple[Target, bool]]:
        """Targets that it lists or keeps listed."""
        return lasting(self.document.additions, self.document.changes, self.entries)


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
    proposal = _read(ground, number)
    next_proposal(ProposalState(proposal.row.state), Act.APPROVE)
    check_four_eyes(proposal.document.proposer, officer)
    said = judged(guard, proposal.lasting(), {})
    _refuse_never(number, said)
    _refuse_too_long(proposal, said)
    confirmed = _confirmed(number, proposal, said, confirmations)
    _review(ground, proposal, Verdict.APPROVE, officer, key, "", confirmed, now)


def reject(ground: Ground, number: int, officer: str, key: Signer, reason: str, now: datetime) -> None:
    """See `Proposals.reject`."""
    check_reason(reason)
    proposal = _read(ground, number)
    next_proposal(ProposalState(proposal.row.state), Act.REJECT)
    check_four_eyes(proposal.document.proposer, officer)
    _review(ground, proposal, Verdict.REJECT, officer, key, reason, (), now)


def break_glass(
    ground: Ground, number: int, officer: str, key: Signer, guard: Judge, reason: str, now: datetime
) -> None:
    """See `Proposals.break_glass`."""
    check_reason(reason)
    proposal = _read(ground, number)
    next_proposal(ProposalState(proposal.row.state), Act.BREAK_GLASS)
    check_break_glass(proposal.document)
    said = judged(guard, proposal.lasting(), {})
    _refuse_never(number, said)
    problems = [
        Problem(str(one.target), finding.rule, finding.sentence)
        for one in said
        for finding in of(one.findings, Severity.CONFIRM)
    ]
    refuse_all(_("break-glass cannot list what a second officer must confirm"), problems)
    _refuse_lapsed(ground, proposal)
    _review(ground, proposal, Verdict.BREAK_GLASS, officer, key, reason, (), now)


def _read(ground: Ground, number: int) -> _Signed:
    with ground.database.read() as connection:
        row = proposal_row(connection, number)
        if row.sha256 is None:
            raise Refused(
                _("proposal {n} is {state}, not signed").format(n=number, state=row.state),
                kept=_("the proposal is as it was"),
                then=_("its proposer signs it first: blocker proposal sign {n}").format(n=number),
            )
        data = documents.get(connection, row.sha256)
        document = Proposal.of_bytes(data)
        listed = roster(connection).key_of(document.proposer)
        if listed is None or not signed_by(Kind.PROPOSAL, data, listed, row.signature or ""):
            raise chain.broken(_("proposal {n} does not carry the signature of an active officer").format(n=number))
        entries = entry_rows(connection, (change.number for change in document.changes))
    return _Signed(row, document, entries)


def _review(
    ground: Ground,
    proposal: _Signed,
    verdict: Verdict,
    officer: str,
    key: Signer,
    reason: str,
    confirmed: tuple[Confirmation, ...],
    now: datetime,
) -> None:
    act, kind = _KINDS[verdict]
    number, sha256 = proposal.document.number, proposal.row.sha256
    with ground.database.write() as connection:
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


def _refuse_never(number: int, said: Iterable[Judged]) -> None:
    problems = [
        Problem(str(one.target), finding.rule, finding.sentence)
        for one in said
        for finding in of(one.findings, Severity.NEVER)
    ]
    refuse_all(_("the guard refuses targets of proposal {n}").format(n=number), problems)


def _refuse_too_long(proposal: _Signed, said: list[Judged]) -> None:
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


def _confirmed(
    number: int, proposal: _Signed, said: Iterable[Judged], confirmations: Mapping[str, str]
) -> tuple[Confirmation, ...]:
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


def _refuse_lapsed(ground: Ground, proposal: _Signed) -> None:
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
