"""Entries: finding them, their history, and why a target is blocked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from blocker.proposal.standing import Standing
from blocker.register import chain
from blocker.register.bulk import rows_where
from blocker.register.folding import fold, like
from blocker.register.ground import PROPOSAL_APPROVED, PROPOSAL_EMERGENCY, PROPOSAL_REJECTED, PROPOSAL_SIGNED, Ground
from blocker.register.tables import ENTRY, ENTRY_CHANGE, PROPOSAL, PUBLICATION
from blocker.register.views import EntryView, HistoryLine, Match
from blocker.workflow import EntryState
from feeds.document import moment_of_text
from feeds.errors import Rejected
from feeds.language import _
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import Action, Category, Limits, NameTarget, Scope, Target, hours, moment_of

IN_FORCE = (EntryState.ACTIVE, EntryState.EMERGENCY)
_RECORDED = (EntryState.ACTIVE, EntryState.EMERGENCY, EntryState.SUSPENDED, EntryState.PROPOSED)


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of a register."""

    ground: Ground

    def get(self, number: int, now: datetime) -> EntryView:
        """Raises Rejected if there is none."""
        with self.ground.database.read() as connection:
            return self._one(connection, number, now)

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
        """Entries whose name (without case and diacritics) or prefix contains `text`, by number."""
        wanted: list[ColumnElement[bool]] = []
        if text.strip():
            plain, folded = like(text.strip().lower()), like(fold(text.strip()))
            wanted.append(
                or_(
                    ENTRY.c.target.like(plain, escape="\\"),
                    ENTRY.c.target.like(folded, escape="\\"),
                    ENTRY.c.folded.like(folded, escape="\\"),
                )
            )
        if state is not None:
            wanted.append(_state_is(state, hours(now)))
        if category is not None:
            wanted.append(ENTRY.c.category == str(category))
        if decision is not None:
            wanted.append(ENTRY.c.decision == decision)
        query = select(ENTRY).where(*wanted).order_by(ENTRY.c.number).limit(limit).offset(offset)
        with self.ground.database.read() as connection:
            return self._views(connection, connection.execute(query).all(), now)

    def history(self, number: int, now: datetime) -> tuple[HistoryLine, ...]:
        """Everything that happened to an entry, oldest first."""
        with self.ground.database.read() as connection:
            entry = self._one(connection, number, now)
            changes = connection.execute(select(ENTRY_CHANGE).where(ENTRY_CHANGE.c.entry == number)).all()
            touching = {row.proposal: (str(row.verb), str(row.reason)) for row in changes}
            touching[entry.proposal] = ("add", entry.reason)
            digests = {
                row.sha256: row.number
                for row in rows_where(connection, (PROPOSAL.c.number, PROPOSAL.c.sha256), PROPOSAL.c.number, touching)
            }
            lines = list(_steps(connection, digests, touching))
            published = _published(connection, [entry.proposal]).get(entry.proposal)
            if published is not None:
                serial, at = published
                lines.append(HistoryLine(moment_of_text(at), "published", "", None, _("release {n}").format(n=serial)))
            if entry.state in (EntryState.EXPIRED, EntryState.LAPSED):
                lines.append(HistoryLine(entry.expires, str(entry.state), "", None, ""))
        return tuple(sorted(lines, key=lambda line: line.at))

    def why(self, target: Target, now: datetime) -> tuple[Match, ...]:
        """Entries for the target itself and those that cover it; those in force first, then the nearest."""
        with self.ground.database.read() as connection:
            rows = rows_where(connection, tuple(ENTRY.c), ENTRY.c.target, _texts(target))
            views = self._views(connection, [row for row in rows if _covers(row, target)], now)
        matches = [Match(view, view.target != target, view.state in IN_FORCE) for view in views]
        return tuple(sorted(matches, key=lambda m: (not m.in_force, -_depth(m.entry.target), -m.entry.number)))

    def _one(self, connection: Connection, number: int, now: datetime) -> EntryView:
        rows = connection.execute(select(ENTRY).where(ENTRY.c.number == number)).all()
        if not rows:
            raise Rejected(
                _("there is no entry {id}").format(id=f"{self.ground.authority}:{number}"),
                rule="entry.unknown",
                then=_("find it: blocker entry list TEXT"),
            )
        return self._views(connection, rows, now)[0]

    def _views(self, connection: Connection, rows: Iterable[Row[Any]], now: datetime) -> tuple[EntryView, ...]:
        rows = list(rows)
        published = _published(connection, {row.proposal for row in rows})
        return tuple(view_of(row, self.ground.authority, hours(now), published.get(row.proposal)) for row in rows)


def target_of(kind: str, text: str) -> Target:
    """The target of a row's fields."""
    return Prefix.of_text(text) if kind == "prefix" else NameTarget(DomainName(text), Scope(kind))


def kind_of(target: Target) -> tuple[str, str]:
    """A target's fields in a row: kind and text."""
    return (str(target.scope), target.name.text) if isinstance(target, NameTarget) else ("prefix", str(target))


def standing_of(row: Row[Any]) -> Standing:
    """How a row says its entry stands."""
    return Standing(EntryState(row.state), row.valid_from, row.expires, row.paused_until, row.lapses)


def view_of(row: Row[Any], authority: str, hour: int, published: tuple[int, str] | None = None) -> EntryView:
    """A row as it stands in `hour`."""
    return EntryView(
        row.number,
        f"{authority}:{row.number}",
        target_of(row.kind, row.target),
        Action(row.action),
        row.data,
        Limits.parse(row.limits),
        Category(row.category),
        row.decision,
        row.reason,
        tuple(row.evidence.split(",")) if row.evidence != "-" else (),
        standing_of(row).at(hour),
        moment_of(row.valid_from) if row.valid_from else None,
        moment_of(row.expires),
        row.proposal,
        published[0] if published else None,
    )


def standing_rows(connection: Connection, targets: Iterable[Target]) -> Iterator[Row[Any]]:
    """Rows for exactly these targets that are proposed or stand."""
    wanted = {kind_of(target) for target in targets}
    for row in rows_where(connection, tuple(ENTRY.c), ENTRY.c.target, dict.fromkeys(text for _k, text in wanted)):
        if (row.kind, row.target) in wanted and row.state in _RECORDED:
            yield row


def _published(connection: Connection, proposals: Iterable[int]) -> dict[int, tuple[int, str]]:
    """Proposal -> first published serial made from a chain that has its approval, and when that was published."""
    releases = connection.execute(
        select(PUBLICATION.c.serial, PUBLICATION.c.length, PUBLICATION.c.published)
        .where(PUBLICATION.c.published.is_not(None))
        .order_by(PUBLICATION.c.serial)
    ).all()
    found: dict[int, tuple[int, str]] = {}
    numbers = set(proposals)
    if not releases or not numbers:
        return found
    for event in chain.events(connection, kinds=(PROPOSAL_APPROVED, PROPOSAL_EMERGENCY)):
        number = event.fields().get("proposal")
        if isinstance(number, int) and number in numbers and number not in found:
            release = next((r for r in releases if r.length >= event.seq), None)
            if release is not None:
                found[number] = (int(release.serial), str(release.published))
    return found


_WORDS = {
    PROPOSAL_SIGNED: "proposed",
    PROPOSAL_APPROVED: "approved",
    PROPOSAL_REJECTED: "rejected",
    PROPOSAL_EMERGENCY: "break_glass",
}
_DONE = {"extend": "extended", "suspend": "suspended", "resume": "resumed", "withdraw": "withdrawn"}


def _steps(
    connection: Connection, digests: dict[str, int], touching: dict[int, tuple[str, str]]
) -> Iterator[HistoryLine]:
    for event in chain.events(connection, kinds=tuple(_WORDS)):
        number = digests.get(event.said("document"))
        if number is not None:
            verb, reason = touching[number]
            word = _WORDS[event.kind]
            if verb != "add":
                word = _DONE[verb] if event.kind == PROPOSAL_APPROVED else f"{verb}: {word}"
            text = event.said("reason") or reason
            yield HistoryLine(moment_of_text(event.at), word, event.actor, number, text)


def _state_is(state: EntryState, hour: int) -> ColumnElement[bool]:
    """SQL for what `workflow.at_hour` says."""
    c = ENTRY.c
    live = c.state.in_((EntryState.ACTIVE, EntryState.SUSPENDED, EntryState.EMERGENCY))
    lapsed = and_(c.state == EntryState.EMERGENCY, c.lapses <= hour)
    paused = and_(c.state == EntryState.ACTIVE, c.paused_until > hour)
    recorded = and_(c.state == str(state), c.expires > hour)
    match state:
        case EntryState.LAPSED:
            return lapsed
        case EntryState.EXPIRED:
            return and_(live, c.expires <= hour, ~lapsed)
        case EntryState.WAITING:
            return and_(c.state == EntryState.ACTIVE, c.expires > hour, c.valid_from > hour, ~paused)
        case EntryState.ACTIVE:
            return and_(recorded, c.valid_from <= hour, ~paused)
        case EntryState.SUSPENDED:
            return and_(c.expires > hour, or_(c.state == EntryState.SUSPENDED, paused))
        case EntryState.EMERGENCY:
            return and_(recorded, ~lapsed)
        case _:
            return c.state == str(state)


def _texts(target: Target) -> list[str]:
    """The texts that a row must have to be this target or to cover it."""
    if isinstance(target, NameTarget):
        return [target.name.text, *target.name.parents()]
    bits = 32 if target.version == 4 else 128
    return [
        str(Prefix(target.version, target.network >> (bits - length) << (bits - length), length))
        for length in range(target.length + 1)
        if not (target.version == 6 and length >= 96 and target.network >> 32 == 0xFFFF)
    ]


def _covers(row: Row[Any], target: Target) -> bool:
    if row.kind == "prefix":
        return isinstance(target, Prefix)
    if not isinstance(target, NameTarget):
        return False
    # An exact rule is about its own name; whoever asks for a name wants to hear of it whatever scope they wrote.
    return bool(row.kind == "subtree" or row.target == target.name.text)


def _depth(target: Target) -> int:
    return (
        target.name.text.count(".") * 2 + (target.scope is Scope.EXACT)
        if isinstance(target, NameTarget)
        else target.length
    )
