"""A proposal being prepared: its items as lines in one zstd frame, judged before they are taken."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import zstandard
from sqlalchemy import Connection, Row, select, update

from blocker.guard import Finding, Severity, max_hours
from blocker.proposal import (
    AddItem,
    Addition,
    Change,
    ChangeItem,
    Decision,
    Verb,
    check_reason,
    evidence_text,
    split_items,
)
from blocker.proposal.standing import changed, check_extension, faults
from blocker.register import documents
from blocker.register.bulk import rows_where
from blocker.register.chain import broken
from blocker.register.entries import kind_of, standing_of, standing_rows, target_of
from blocker.register.ground import Judge
from blocker.register.tables import ENTRY, PROPOSAL, REGISTER
from blocker.register.views import Judged, Refusal
from blocker.workflow import PROPOSAL_WORDS, EntryState, ProposalState, longest, usual
from feeds.errors import Failure, Problem, Refused, Rejected
from feeds.language import _
from feeds.prefix import Prefix
from feeds.rule import Rule, Target, hours, hours_up

Key = tuple[object, ...]
ENDING = (Verb.SUSPEND, Verb.WITHDRAW)


@dataclass(slots=True)
class Sorted:
    """What judging makes of a batch."""

    taken: list[tuple[Addition, int | None]]
    unchanged: list[Addition]
    refused: list[Refusal]
    confirm: list[Judged]
    warnings: list[Judged]


def proposal_row(connection: Connection, number: int, *states: ProposalState) -> Row[Any]:
    """A proposal's row; Rejected if there is none, Refused if it is in none of `states` (when any are named)."""
    row = connection.execute(select(PROPOSAL).where(PROPOSAL.c.number == number)).first()
    if row is None:
        raise Rejected(
            _("there is no proposal {n}").format(n=number),
            rule="proposal.unknown",
            then=_("see all: blocker proposal list"),
        )
    if states and row.state not in states:
        raise Refused(
            _("proposal {n} is {state}").format(n=number, state=_(PROPOSAL_WORDS[ProposalState(row.state)])),
            kept=_("it is as it was"),
            then=_("this is done with a proposal that is: {states}").format(states=", ".join(states)),
        )
    return row


def read_draft(row: Row[Any]) -> tuple[list[AddItem], list[ChangeItem]]:
    """The items of a draft; raises Refused if the row was damaged."""
    if row.draft is None:
        return [], []
    try:
        return split_items(documents.unpack(row.draft).decode().splitlines())
    except (zstandard.ZstdError, UnicodeDecodeError, Failure):
        raise broken(_("the draft of proposal {n} has been changed").format(n=row.number)) from None


def write_draft(
    connection: Connection, number: int, additions: Iterable[AddItem], changes: Iterable[ChangeItem]
) -> None:
    """Store the items of a draft."""
    lines = [item.line() for item in additions] + [change.line() for change in changes]
    frame = documents.pack("\n".join(lines).encode())
    connection.execute(update(PROPOSAL).where(PROPOSAL.c.number == number).values(draft=frame, items=len(lines)))


def judged(guard: Judge, targets: Iterable[tuple[Target, bool]], listed: Mapping[Target, str]) -> list[Judged]:
    """What the guard says of each target; `listed` holds the decisions of targets that are already listed."""
    look: Callable[[Target], str | None] = listed.get
    return [Judged(t, guard.judge(t, path_dropped=dropped, listed=look)) for t, dropped in targets]


def of(findings: Iterable[Finding], severity: Severity) -> tuple[Finding, ...]:
    """Those of one severity."""
    return tuple(finding for finding in findings if finding.severity is severity)


def refusal(place: str, target: object, findings: Iterable[Finding]) -> Refusal:
    """A refusal for the guard's reasons."""
    shown = str(target)
    problems = tuple(
        Problem(shown, f.rule, f"{f.sentence} ({f.evidence})" if f.evidence else f.sentence) for f in findings
    )
    return Refusal(place or shown, shown, problems)


def sort_out(
    batch: list[Addition], judgements: list[Judged], rows: Iterable[Row[Any]], decision: str, hour: int
) -> Sorted:
    """Divide a judged batch into what is taken (with the guard's limit in hours), unchanged and refused."""
    there: dict[tuple[str, str], list[Row[Any]]] = {}
    for row in rows:
        there.setdefault((row.kind, row.target), []).append(row)
    done = Sorted([], [], [], [], [])
    for addition, one in zip(batch, judgements, strict=True):
        never = of(one.findings, Severity.NEVER)
        twin = _twin(addition, there.get(kind_of(addition.target), []), decision, hour)
        if never:
            done.refused.append(refusal(addition.place, addition.target, never))
        elif twin is not None and addition.expires is not None and hours_up(addition.expires) != twin.expires:
            message = _("entry {n} of this decision lists it already, with another expiry; extend or withdraw that one")
            problem = Problem(str(addition.target), "proposal.listed", message.format(n=twin.number))
            done.refused.append(Refusal(addition.place or str(addition.target), str(addition.target), (problem,)))
        elif twin is not None:
            done.unchanged.append(addition)
        else:
            done.taken.append((addition, max_hours(one.findings)))
            said = Judged(one.target, one.findings, addition.place)
            if of(one.findings, Severity.CONFIRM):
                done.confirm.append(said)
            elif one.findings:
                done.warnings.append(said)
    return done


def merge(
    connection: Connection, row: Row[Any], done: Sorted, authority: str, decision: Decision, now: datetime
) -> list[AddItem]:
    """Number what was taken and put it into the draft; what the draft refuses goes to `done.refused`."""
    additions, changes = read_draft(row)
    have: dict[Key, AddItem] = {item.rule.key: item for item in additions}
    first = int(connection.execute(select(REGISTER.c.next_entry)).scalar_one())
    number, fresh = first, []
    for addition, cap in done.taken:
        try:
            item = _built(addition, f"{authority}:{number}", decision, now, cap)
            twin = have.get(item.rule.key)
            if twin is not None:
                _check_twin(item, twin)
                done.unchanged.append(addition)
                continue
        except (Rejected, Refused) as error:
            shown = str(addition.target)
            rule = error.rule if isinstance(error, Rejected) else "proposal"
            problems = error.problems or (Problem(shown, rule, error.what),)
            done.refused.append(Refusal(addition.place or shown, shown, problems))
            continue
        have[item.rule.key] = item
        fresh.append(item)
        number += 1
    if fresh:
        connection.execute(update(REGISTER).values(next_entry=number))
        write_draft(connection, row.number, additions + fresh, changes)
    taken = {item.rule.target for item in fresh}
    done.confirm = [one for one in done.confirm if one.target in taken]
    done.warnings = [one for one in done.warnings if one.target in taken]
    return fresh


def change_items(
    connection: Connection, changes: list[Change], authority: str, now: datetime, caps: Mapping[int, int | None]
) -> tuple[list[ChangeItem], list[Refusal]]:
    """Changes as items, and those that the workflow refuses. `caps`: the guard's limit in hours, by entry."""
    rows = entry_rows(connection, (change.entry for change in changes))
    items, refused = [], []
    hour, signed = hours(now), hours_up(now)
    for change in changes:
        entry = f"{authority}:{change.entry}"
        try:
            row = rows.get(change.entry)
            if row is None:
                raise Rejected(_("there is no entry {id}").format(id=entry), rule="entry.unknown")
            prefix, cap = row.kind == "prefix", caps.get(change.entry)
            item = ChangeItem(change.verb, entry, check_reason(change.reason))
            if change.verb is Verb.EXTEND:
                end = hours_up(change.expires) if change.expires else signed + usual(prefix, cap)
                item = ChangeItem(change.verb, entry, change.reason, row.expires, end)
                check_extension(item, prefix, signed, cap)
                if end <= row.expires:
                    raise Rejected(_("an extension must end later than before"), rule="entry.expiry")
            changed(standing_of(row), item, hour)
            items.append(item)
        except (Rejected, Refused) as error:
            rule = error.rule if isinstance(error, Rejected) else "entry.workflow"
            refused.append(Refusal(change.place or entry, entry, error.problems or (Problem(entry, rule, error.what),)))
    return items, refused


def entry_rows(connection: Connection, numbers: Iterable[int]) -> dict[int, Row[Any]]:
    """Rows of entries, by number."""
    return {row.number: row for row in rows_where(connection, tuple(ENTRY.c), ENTRY.c.number, numbers)}


def row_target(row: Row[Any]) -> Target:
    """The target of an entry's row."""
    return target_of(row.kind, row.target)


def listed_targets(connection: Connection, targets: Iterable[Target]) -> tuple[list[Row[Any]], dict[Target, str]]:
    """Rows that stand for these targets, and the decision of each such target."""
    rows = list(standing_rows(connection, targets))
    return rows, {row_target(row): row.decision for row in rows if row.state != EntryState.PROPOSED}


def lasting(
    additions: Iterable[AddItem], changes: Iterable[ChangeItem], rows: Mapping[int, Row[Any]]
) -> list[tuple[Target, bool]]:
    """Targets that a proposal lists or keeps listed, with their `path_dropped`; those that end need no judging."""
    found: list[tuple[Target, bool]] = [(item.rule.target, item.path_dropped) for item in additions]
    for change in changes:
        row = rows.get(change.number)
        if change.verb not in ENDING and row is not None:
            found.append((row_target(row), bool(row.path_dropped)))
    return found


def _built(addition: Addition, entry: str, decision: Decision, now: datetime, cap: int | None) -> AddItem:
    """The item of an addition; raises Rejected or Refused with the reason."""
    prefix = isinstance(addition.target, Prefix)
    signed = hours_up(now)
    start = hours_up(addition.valid_from) if addition.valid_from else 0
    start = start if start > signed else 0
    end = hours_up(addition.expires) if addition.expires else (start or signed) + usual(prefix, cap)
    rule = Rule(
        addition.target,
        addition.action,
        entry,
        addition.category,
        decision.notation,
        end,
        addition.data,
        addition.limits,
    )
    item = AddItem(rule, check_reason(addition.reason), start, evidence_text(addition.evidence), addition.path_dropped)
    problems = faults(item, decision, signed)
    if cap is not None and end > (start or signed) + longest(prefix, cap):
        message = _("it stands on infrastructure shared by many, so at most {n} hours").format(n=cap)
        problems.append(Problem(str(addition.target), "entry.expiry", message))
    if problems:
        raise Refused(problems[0].message, problems=problems)
    return item


def _twin(addition: Addition, rows: list[Row[Any]], decision: str, hour: int) -> Row[Any] | None:
    """The entry that already says the same under the same decision."""
    same = (str(addition.limits), str(addition.action), addition.data, str(addition.category), decision)
    for row in rows:
        state = standing_of(row).at(hour)
        if state in (EntryState.ACTIVE, EntryState.WAITING, EntryState.PROPOSED) and same == (
            row.limits,
            row.action,
            row.data,
            row.category,
            row.decision,
        ):
            return row
    return None


def _check_twin(item: AddItem, twin: AddItem) -> None:
    same = (item.rule.action, item.rule.data, item.rule.category)
    if same != (twin.rule.action, twin.rule.data, twin.rule.category):
        raise Rejected(_("this proposal lists it already, with another action or category"), rule="proposal.twice")
