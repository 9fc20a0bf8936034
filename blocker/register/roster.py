"""Officers: who they are, and changes of the list, each signed by two others."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from blocker.register import chain, documents
from blocker.register.ground import OFFICERS_CHANGED, OFFICERS_PROPOSED, Ground, certificates, roster, signed
from blocker.register.tables import OFFICER, OFFICER_CHANGE
from blocker.register.views import OfficerChangeView, OfficerView
from feeds.errors import Refused, Rejected
from feeds.language import _
from feeds.officers import Kind, Officer, OfficerChange, OfficerList, SignedChange, SignedGenesis, Signer, Step
from feeds.rule import good_text


@dataclass(frozen=True, slots=True)
class Officers:
    """The officers of a register."""

    ground: Ground

    def roster(self) -> OfficerList:
        """The list as the signed documents make it (root signatures are checked by `verified`)."""
        with self.ground.database.read() as connection:
            return roster(connection)

    def certificates(self) -> tuple[SignedGenesis, tuple[SignedChange, ...]]:
        """The signed documents behind the list, as the feed carries them (`feeds.roster`)."""
        with self.ground.database.read() as connection:
            return certificates(connection)

    def list(self) -> tuple[OfficerView, ...]:
        """All officers, by id."""
        with self.ground.database.read() as connection:
            rows = connection.execute(select(OFFICER).order_by(OFFICER.c.id))
            return tuple(OfficerView(row.id, row.key, row.name, bool(row.active)) for row in rows)

    def propose(
        self, step: Step, officer: str, by: str, signer: Signer, now: datetime, *, key: str = "", name: str = ""
    ) -> str:
        """Sign a change of the officer list as the first of two; its SHA-256.

        `key` is the new public key of add and rotate; `name` the person's, for add. Raises Rejected, Refused.
        """
        if not good_text(name, 200, empty=True):
            raise Rejected(_("this name holds a character that cannot be printed"), rule="officer.name")
        with self.ground.database.write() as connection:
            listed = roster(connection)
            if step in (Step.DISABLE, Step.ENABLE):
                key = listed.known.get(officer, "")
                if not key:
                    raise Rejected(_("officer {id} is not on the list").format(id=officer), rule="officer.change")
            change = OfficerChange(
                self.ground.authority, listed.length + 1, listed.head, step, Officer(officer, key), now
            )
            listed.check(change)
            _check_other(by, officer)
            document = change.to_bytes()
            signature = signed(connection, Kind.CHANGE, document, by, signer)
            digest = documents.put(connection, "officer-change", document)
            connection.execute(
                insert(OFFICER_CHANGE).values(
                    sha256=digest,
                    number=change.number,
                    officer=officer,
                    name=name,
                    first_by=by,
                    first_signature=signature,
                )
            )
            chain.append(connection, OFFICERS_PROPOSED, by, now, {"document": digest, "signature": signature})
            return digest

    def countersign(self, sha256: str, by: str, signer: Signer, now: datetime) -> None:
        """Sign as the second; the change takes effect. Raises Rejected, Refused, Untrusted."""
        with self.ground.database.write() as connection:
            row = connection.execute(select(OFFICER_CHANGE).where(OFFICER_CHANGE.c.sha256 == sha256)).first()
            if row is None or row.second_by is not None:
                raise Rejected(
                    _("there is no open change {sha256} of the officer list").format(sha256=sha256[:16]),
                    rule="officer.change",
                    then=_("see what waits: blocker officer list"),
                )
            document = documents.get(connection, sha256)
            listed = roster(connection)
            change = OfficerChange.of_bytes(document)
            listed.check(change)
            _check_other(by, change.officer.id)
            if by == row.first_by:
                raise Refused(
                    _("officer {id} signed this change already; a second officer must").format(id=by),
                    kept=_("the change waits"),
                )
            signature = signed(connection, Kind.CHANGE, document, by, signer)
            both = {row.first_by: row.first_signature, by: signature}
            after = listed.after(SignedChange(document, tuple(both.items())))
            _store(connection, change, row.name, after)
            where = OFFICER_CHANGE.c.sha256 == sha256
            connection.execute(update(OFFICER_CHANGE).where(where).values(second_by=by))
            body: dict[str, object] = {"document": sha256, "signatures": both}
            chain.append(connection, OFFICERS_CHANGED, by, now, body)

    def pending(self) -> tuple[OfficerChangeView, ...]:
        """Changes that wait for a second signature and still fit the list."""
        with self.ground.database.read() as connection:
            query = select(OFFICER_CHANGE).where(
                OFFICER_CHANGE.c.second_by.is_(None), OFFICER_CHANGE.c.number == roster(connection).length + 1
            )
            found = []
            for row in connection.execute(query.order_by(OFFICER_CHANGE.c.sha256)).all():
                change = OfficerChange.of_bytes(documents.get(connection, row.sha256))
                found.append(
                    OfficerChangeView(row.sha256, change.step, change.officer, row.name, row.first_by, change.made)
                )
            return tuple(found)


def _check_other(by: str, officer: str) -> None:
    if by == officer:
        raise Refused(
            _("officer {id} cannot sign a change of their own place on the list").format(id=by),
            kept=_("the list is as it was"),
            then=_("two other officers sign it"),
        )


def _store(connection: Connection, change: OfficerChange, name: str, after: OfficerList) -> None:
    who = change.officer
    active = after.key_of(who.id) is not None
    if change.step is Step.ADD:
        connection.execute(insert(OFFICER).values(id=who.id, key=who.key, name=name, active=active))
    else:
        connection.execute(update(OFFICER).where(OFFICER.c.id == who.id).values(key=who.key, active=active))
