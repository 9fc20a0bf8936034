"""Decisions: recording, showing, finding."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select

from blocker.proposal import Decision
from blocker.register import chain, documents
from blocker.register.folding import fold, like
from blocker.register.ground import DECISION_RECORDED, Ground, roster
from blocker.register.tables import AGENCY, DECISION, ENTRY
from blocker.register.views import DecisionView
from blocker.workflow import EntryState
from feeds.document import moment_of_text, moment_text
from feeds.errors import Refused, Rejected
from feeds.language import _
from feeds.terminal import day_text

_GONE = (EntryState.WITHDRAWN, EntryState.REJECTED)


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions of a register."""

    ground: Ground

    def add(self, decision: Decision, officer: str, now: datetime) -> DecisionView:
        """Record a decision; recording the same again does nothing. Refused if its notation is taken by another."""
        # A day's grace: it may be tomorrow already where the decision was signed.
        if decision.date > (now + timedelta(days=1)).date():
            raise Rejected(
                _("decision {notation} is dated {date}, which is still to come").format(
                    notation=decision.notation, date=day_text(decision.date)
                ),
                rule="decision.date",
                kept=_("nothing was recorded"),
                then=_("correct the date; a recorded decision cannot be changed"),
            )
        with self.ground.database.write() as connection:
            row = connection.execute(select(DECISION).where(DECISION.c.notation == decision.notation)).first()
            digest = documents.put(connection, "decision", decision.to_bytes())
            if row is not None and row.document != digest:
                raise Refused(
                    _("decision {notation} is already recorded, with other content").format(notation=decision.notation),
                    kept=_("the recorded decision stands as it was"),
                    then=_("look at it (blocker decision show); a corrected decision needs a notation of its own"),
                )
            if row is None:
                if roster(connection).key_of(officer) is None:
                    raise Refused(_("{id} is not an active officer of this register").format(id=officer))
                connection.execute(
                    insert(DECISION).values(
                        notation=decision.notation,
                        agency=_agency(connection, decision.agency),
                        document=digest,
                        date=decision.date.isoformat(),
                        recorded=moment_text(now),
                        officer=officer,
                        folded=fold(" ".join((decision.notation, decision.subject, decision.agency))),
                    )
                )
                body = {"notation": decision.notation, "document": digest}
                chain.append(connection, DECISION_RECORDED, officer, now, dict(body))
            return _view(connection, decision.notation)

    def get(self, notation: str) -> DecisionView:
        """Raises Rejected if there is none."""
        with self.ground.database.read() as connection:
            return _view(connection, notation)

    def search(self, text: str = "", limit: int = 100, offset: int = 0) -> tuple[DecisionView, ...]:
        """Decisions whose notation, subject or agency contain `text` (no case, no diacritics), newest first."""
        query: Select[Any] = select(DECISION.c.notation)
        if text.strip():
            query = query.where(DECISION.c.folded.like(like(fold(text.strip())), escape="\\"))
        query = query.order_by(DECISION.c.date.desc(), DECISION.c.notation).limit(limit).offset(offset)
        with self.ground.database.read() as connection:
            return tuple(_view(connection, str(row.notation)) for row in connection.execute(query).all())

    def agencies(self) -> tuple[str, ...]:
        """Names of the agencies that have issued decisions."""
        with self.ground.database.read() as connection:
            return tuple(connection.execute(select(AGENCY.c.name).order_by(AGENCY.c.name)).scalars())


def decision_of(connection: Connection, notation: str) -> tuple[Decision, str]:
    """A decision's document and its SHA-256; raises Rejected if there is none."""
    digest = connection.execute(select(DECISION.c.document).where(DECISION.c.notation == notation)).scalar()
    if digest is None:
        raise Rejected(
            _("there is no decision {notation}").format(notation=notation),
            rule="decision.unknown",
            then=_("record it first: blocker decision add"),
        )
    return Decision.of_bytes(documents.get(connection, digest)), digest


def _view(connection: Connection, notation: str) -> DecisionView:
    decision, _digest = decision_of(connection, notation)
    row = connection.execute(select(DECISION).where(DECISION.c.notation == notation)).one()
    count = select(func.count()).where(ENTRY.c.decision == notation, ENTRY.c.state.not_in(_GONE))
    return DecisionView(
        decision.notation,
        decision.agency,
        decision.number,
        decision.date,
        decision.subject,
        decision.legal_basis,
        decision.contact,
        decision.sha256,
        decision.court,
        decision.ruling,
        moment_of_text(row.recorded),
        row.officer,
        connection.execute(count).scalar_one(),
    )


def _agency(connection: Connection, name: str) -> int:
    found = connection.execute(select(AGENCY.c.id).where(AGENCY.c.name == name)).scalar()
    if found is not None:
        return int(found)
    made = connection.execute(insert(AGENCY).values(name=name).returning(AGENCY.c.id))
    return int(made.scalar_one())
