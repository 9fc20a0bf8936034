"""What every part of the register stands on: the database, whose register it is, and its officers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from blocker.guard import Finding
from blocker.register import documents
from blocker.register.chain import Event, broken, events
from blocker.register.database import Database
from feeds.errors import Refused
from feeds.language import _
from feeds.officers import Kind, OfficerList, SignedChange, SignedGenesis, Signer, sign, unsigned_list
from feeds.rule import Target

CREATED = "register.created"
OFFICERS_PROPOSED = "officers.proposed"
OFFICERS_CHANGED = "officers.changed"
DECISION_RECORDED = "decision.recorded"
PROPOSAL_OPENED = "proposal.opened"
PROPOSAL_DISCARDED = "proposal.discarded"
PROPOSAL_SIGNED = "proposal.signed"
PROPOSAL_APPROVED = "proposal.approved"
PROPOSAL_REJECTED = "proposal.rejected"
PROPOSAL_EMERGENCY = "proposal.break_glass"
SERIAL_RESERVED = "serial.reserved"
RELEASE_PUBLISHED = "release.published"


class Judge(Protocol):
    """What the register asks of the guard (`blocker.guard.Guard`)."""

    def judge(
        self, target: Target, *, path_dropped: bool = False, listed: Callable[[Target], str | None] | None = None
    ) -> tuple[Finding, ...]:
        """All findings about one target."""


@dataclass(frozen=True, slots=True)
class Ground:
    """One authority's database."""

    database: Database
    authority: str
    training: bool


def roster(connection: Connection) -> OfficerList:
    """The officer list as the events make it; root signatures are not checked here."""
    genesis, changes = certificates(connection)
    found = unsigned_list(genesis.document)
    for change in changes:
        found = found.after(change)
    return found


def certificates(connection: Connection) -> tuple[SignedGenesis, tuple[SignedChange, ...]]:
    """The signed documents behind the officer list, in order."""
    found = [
        (documents.get(connection, event.said("document")), signatures(event))
        for event in events(connection, kinds=(CREATED, OFFICERS_CHANGED))
    ]
    if not found:
        raise broken(_("the register has no first officer list"))
    return SignedGenesis(*found[0]), tuple(SignedChange(*one) for one in found[1:])


def signatures(event: Event) -> tuple[tuple[str, str], ...]:
    """The signatures in an event's body: signer -> signature."""
    said = event.fields().get("signatures")
    return tuple((str(who), str(what)) for who, what in sorted(said.items())) if isinstance(said, dict) else ()


def signed(connection: Connection, kind: Kind, document: bytes, officer: str, key: Signer) -> str:
    """The officer's signature, if the officer is active and the key is theirs; raises Refused."""
    listed = roster(connection).key_of(officer)
    if listed is None:
        raise Refused(
            _("{id} is not an active officer of this register").format(id=officer),
            kept=_("nothing was changed"),
            then=_("see who is: blocker officer list"),
        )
    if listed != key.public_hex:
        raise Refused(
            _("this is not the key of officer {id}").format(id=officer),
            kept=_("nothing was changed"),
            then=_("use the key file of {id}, or have a new key certified: blocker officer rotate").format(id=officer),
        )
    return sign(kind, document, key)
