"""Proposals from the first draft to the plan; signing and reviewing stand in `reviews`."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from blocker.guard import Severity, max_hours
from blocker.proposal import AddItem, Addition, Change, ChangeItem, Proposal
from blocker.proposal.standing import changed
from blocker.register import chain, documents, reviews
from blocker.register.decisions import decision_of
from blocker.register.drafts import (
    ENDING,
    change_items,
    entry_rows,
    judged,
    lasting,
    listed_targets,
    merge,
    of,
    proposal_row,
    read_draft,
    refusal,
    row_target,
    sort_out,
    write_draft,
)
from blocker.register.entries import standing_of, view_of
from blocker.register.ground import PROPOSAL_DISCARDED, PROPOSAL_OPENED, Ground, Judge
from blocker.register.tables import PROPOSAL
from blocker.register.views import AddReport, Plan, ProposalView, Refusal
from blocker.workflow import Act, ProposalState, next_proposal
from feeds.collector import without_collector
from feeds.document import moment_of_text, moment_text
from feeds.errors import Refused
from feeds.language import _
from feeds.manifest import seconds
from feeds.officers import Signer
from feeds.rule import hours, moment_of


@dataclass(frozen=True, slots=True)
class Proposals:
    """The proposals of a register."""

    ground: Ground

    def new(self, decision: str, now: datetime) -> int:
        """Open a proposal under a decision; its number. Raises Rejected if there is no such decision."""
        with self.ground.database.write() as connection:
            decision_of(connection, decision)
            number = int(connection.execute(select(func.coalesce(func.max(PROPOSAL.c.number), 0))).scalar_one()) + 1
            connection.execute(
                insert(PROPOSAL).values(
                    number=number,
                    decision=decision,
                    state=ProposalState.DRAFT,
                    opened=moment_text(now),
                    items=0,
                    reason="",
                )
            )
            body: dict[str, object] = {"proposal": number, "decision": decision}
            chain.append(connection, PROPOSAL_OPENED, "", now, body)
            return number

    def add(self, number: int, additions: Iterable[Addition], guard: Judge, now: datetime) -> AddReport:
        """Judge new entries and take those that pass; the others are reported with every reason."""
        batch, now = list(additions), seconds(now)
        with self.ground.database.read() as connection:
            row = proposal_row(connection, number, ProposalState.DRAFT)
            rows, listed = listed_targets(connection, (addition.target for addition in batch))
        # Judging takes a while, so it is done without holding the database.
        judgements = judged(guard, ((a.target, a.path_dropped) for a in batch), listed)
        done = sort_out(batch, judgements, rows, row.decision, hours(now))
        with self.ground.database.write() as connection, without_collector():
            row = proposal_row(connection, number, ProposalState.DRAFT)
            decision, _digest = decision_of(connection, row.decision)
            fresh = merge(connection, row, done, self.ground.authority, decision, now)
            same = PROPOSAL.c.unchanged + len(done.unchanged)
            connection.execute(update(PROPOSAL).where(PROPOSAL.c.number == number).values(unchanged=same))
        return AddReport(
            len(fresh), tuple(done.unchanged), tuple(done.refused), tuple(done.confirm), tuple(done.warnings)
        )

    def change(self, number: int, changes: Iterable[Change], guard: Judge, now: datetime) -> AddReport:
        """Take changes of standing entries; a later change of the same entry replaces an earlier one."""
        batch, now = list({change.entry: change for change in changes}.values()), seconds(now)
        with self.ground.database.read() as connection:
            proposal_row(connection, number, ProposalState.DRAFT)
            rows = entry_rows(connection, (change.entry for change in batch))
        kept_up = [c for c in batch if c.verb not in ENDING and c.entry in rows]
        said = judged(guard, ((row_target(rows[c.entry]), bool(rows[c.entry].path_dropped)) for c in kept_up), {})
        caps = {c.entry: max_hours(one.findings) for c, one in zip(kept_up, said, strict=True)}
        never = {c.entry: of(one.findings, Severity.NEVER) for c, one in zip(kept_up, said, strict=True)}
        refused = [refusal(c.place, row_target(rows[c.entry]), never[c.entry]) for c in kept_up if never[c.entry]]
        batch = [change for change in batch if not never.get(change.entry)]
        with self.ground.database.write() as connection:
            row = proposal_row(connection, number, ProposalState.DRAFT)
            items, more = change_items(connection, batch, self.ground.authority, now, caps)
            additions, before = read_draft(row)
            kept = {item.entry: item for item in (*before, *items)}
            write_draft(connection, number, additions, kept.values())
        confirm = tuple(one for one in said if of(one.findings, Severity.CONFIRM))
        return AddReport(len(items), (), (*refused, *more), confirm, ())

    def drop(self, number: int, items: Collection[str], now: datetime) -> int:
        """Take items out of a draft: targets as `str(target)`, changes as `authority:number`; how many went."""
        wanted = set(items)
        with self.ground.database.write() as connection:
            row = proposal_row(connection, number, ProposalState.DRAFT)
            additions, changes = read_draft(row)
            left = [item for item in additions if str(item.rule.target) not in wanted]
            stay = [change for change in changes if change.entry not in wanted]
            write_draft(connection, number, left, stay)
            return len(additions) + len(changes) - len(left) - len(stay)

    def plan(self, number: int, now: datetime, guard: Judge | None = None) -> Plan:
        """What it would do, or did; judged by the guard of today if one is given."""
        with self.ground.database.read() as connection:
            row = proposal_row(connection, number)
            additions, changes = _items(connection, row)
            rows = entry_rows(connection, (change.number for change in changes))
            _rows, listed = listed_targets(connection, (i.rule.target for i in additions) if guard else ())
        views = {n: view_of(found, self.ground.authority, hours(now)) for n, found in rows.items()}
        refused = _unfit(changes, rows, now) if row.state in (ProposalState.DRAFT, ProposalState.SIGNED) else []
        said = judged(guard, lasting(additions, changes, rows), listed) if guard else []
        refused += [refusal("", one.target, bad) for one in said if (bad := of(one.findings, Severity.NEVER))]
        return Plan(
            view(row),
            tuple(item.rule for item in additions),
            tuple((_change(c), views[c.number]) for c in changes if c.number in views),
            tuple(views[c.number] for c in changes if c.verb in ENDING and c.number in views),
            row.unchanged,
            tuple(refused),
            tuple(one for one in said if of(one.findings, Severity.CONFIRM)),
            tuple(one for one in said if one.findings and not of(one.findings, Severity.CONFIRM)),
        )

    def document(self, number: int) -> bytes:
        """The canonical bytes of a signed proposal; raises Refused for a draft."""
        with self.ground.database.read() as connection:
            row = proposal_row(connection, number)
            if row.sha256 is None:
                raise Refused(_("proposal {n} is not signed yet").format(n=number), then=_("sign it first"))
            return documents.get(connection, row.sha256)

    def sign(self, number: int, officer: str, key: Signer, now: datetime) -> str:
        """Propose it; the document's SHA-256. Raises Refused with every fault."""
        return reviews.sign(self.ground, number, officer, key, seconds(now))

    def approve(
        self, number: int, officer: str, key: Signer, guard: Judge, confirmations: Mapping[str, str], now: datetime
    ) -> None:
        """Approve it, and put it in force.

        `confirmations`: `str(target)` -> written reason, one for every target the guard wants confirmed. Refused: not
        signed, proposed by the same officer, a NEVER, a target not confirmed, an entry that has moved on.
        """
        reviews.approve(self.ground, number, officer, key, guard, confirmations, seconds(now))

    def reject(self, number: int, officer: str, key: Signer, reason: str, now: datetime) -> None:
        """Reject it with a reason; a break-glass publication ends with it."""
        reviews.reject(self.ground, number, officer, key, reason, seconds(now))

    def break_glass(self, number: int, officer: str, key: Signer, guard: Judge, reason: str, now: datetime) -> None:
        """Let a signed proposal through alone, for at most 72 hours; a later `approve` by another confirms it.

        Publishing must admit it by name (`Register.verified`). Refused: what the guard wants confirmed, since nobody is
        there to confirm it; a target that already lapsed unconfirmed.
        """
        reviews.break_glass(self.ground, number, officer, key, guard, reason, seconds(now))

    def discard(self, number: int, now: datetime) -> None:
        """Give up a draft."""
        with self.ground.database.write() as connection:
            row = proposal_row(connection, number)
            state = next_proposal(ProposalState(row.state), Act.DISCARD)
            where = PROPOSAL.c.number == number
            connection.execute(update(PROPOSAL).where(where).values(state=state, draft=None))
            chain.append(connection, PROPOSAL_DISCARDED, "", now, {"proposal": number})

    def get(self, number: int) -> ProposalView:
        """Raises Rejected if there is none."""
        with self.ground.database.read() as connection:
            return view(proposal_row(connection, number))

    def list(self, state: ProposalState | None = None, limit: int = 100, offset: int = 0) -> tuple[ProposalView, ...]:
        """Newest first."""
        query = select(PROPOSAL).order_by(PROPOSAL.c.number.desc()).limit(limit).offset(offset)
        if state is not None:
            query = query.where(PROPOSAL.c.state == str(state))
        with self.ground.database.read() as connection:
            return tuple(view(row) for row in connection.execute(query))


def view(row: Row[Any]) -> ProposalView:
    """A proposal's row as a value."""
    return ProposalView(
        row.number,
        row.decision,
        ProposalState(row.state),
        moment_of_text(row.opened),
        row.proposer or "",
        row.reviewer or "",
        row.sha256 or "",
        moment_of_text(row.signed) if row.signed else None,
        moment_of_text(row.reviewed) if row.reviewed else None,
        row.reason,
        row.items,
    )


def _items(connection: Connection, row: Row[Any]) -> tuple[list[AddItem], list[ChangeItem]]:
    if row.sha256 is None:
        return read_draft(row)
    proposal = Proposal.of_bytes(documents.get(connection, row.sha256))
    return list(proposal.additions), list(proposal.changes)


def _change(item: ChangeItem) -> Change:
    return Change(item.verb, item.number, item.reason, moment_of(item.new) if item.new else None)


def _unfit(changes: Iterable[ChangeItem], rows: Mapping[int, Row[Any]], now: datetime) -> list[Refusal]:
    found = []
    for item in changes:
        row = rows.get(item.number)
        try:
            if row is not None:
                changed(standing_of(row), item, hours(now))
        except Refused as error:
            found.append(Refusal(item.entry, item.entry, error.problems))
    return found
