"""The event chain: every event carries the hash of the one before it, so history can be extended and not rewritten.

    hash = SHA-256 of "SEQ LF PREVIOUS LF KIND LF ACTOR LF AT LF BODY LF"

BODY is JSON with sorted keys. Length and last hash (the head) stand in the signed manifest of every release.
"""

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from blocker.register.tables import EVENT
from feeds.document import moment_text
from feeds.errors import Problem, Refused
from feeds.language import _
from feeds.manifest import ChainHead

START = "0" * 64


@dataclass(frozen=True, slots=True)
class Event:
    """One link as it is stored."""

    seq: int
    previous: str
    hash: str
    kind: str
    actor: str
    at: str
    body: str

    def fields(self) -> dict[str, object]:
        """What the body says; empty if it is no JSON object."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def said(self, name: str) -> str:
        """A field of the body as text; empty if it is not there."""
        return str(self.fields().get(name, ""))


def link_hash(seq: int, previous: str, kind: str, actor: str, at: str, body: str) -> str:
    """The hash of a link."""
    return hashlib.sha256(f"{seq}\n{previous}\n{kind}\n{actor}\n{at}\n{body}\n".encode()).hexdigest()


def head(connection: Connection) -> ChainHead:
    """Length and last hash."""
    row = connection.execute(select(EVENT.c.seq, EVENT.c.hash).order_by(EVENT.c.seq.desc()).limit(1)).first()
    return ChainHead(length=row[0], hash=row[1]) if row else ChainHead(length=0, hash=START)


def append(connection: Connection, kind: str, actor: str, now: datetime, body: dict[str, object]) -> ChainHead:
    """Add a link; the caller holds the writer's lock (`Database.write`)."""
    last = head(connection)
    text = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    seq, at = last.length + 1, moment_text(now)
    digest = link_hash(seq, last.hash, kind, actor, at, text)
    connection.execute(
        insert(EVENT).values(seq=seq, previous=last.hash, hash=digest, kind=kind, actor=actor, at=at, body=text)
    )
    return ChainHead(length=seq, hash=digest)


def events(
    connection: Connection, after: int = 0, limit: int | None = None, kinds: Collection[str] = ()
) -> Iterator[Event]:
    """Stored links with a sequence number above `after`, in order, unchecked; of these kinds only, if any are named."""
    query = select(EVENT).where(EVENT.c.seq > after).order_by(EVENT.c.seq).limit(limit)
    if kinds:
        query = query.where(EVENT.c.kind.in_(kinds))
    for row in connection.execute(query):
        yield Event(row.seq, row.previous, row.hash, row.kind, row.actor, row.at, row.body)


def checked(connection: Connection, published: ChainHead | None) -> list[Event]:
    """All links; raises Refused if one does not hold, or if the head that was `published` is not among them."""
    found = list(events(connection))
    previous = START
    for place, link in enumerate(found, 1):
        digest = link_hash(link.seq, link.previous, link.kind, link.actor, link.at, link.body)
        if link.seq != place or link.previous != previous or link.hash != digest:
            problem = Problem(_("event {n}").format(n=place), "chain.link", _("it does not follow from the one before"))
            raise broken(_("the register's history has been changed at event {n}").format(n=place), problem)
        previous = digest
    if published is not None and published.length > 0:
        if published.length > len(found):
            raise broken(
                _("the register is behind what was published: {n} events, the feed says {m}").format(
                    n=len(found), m=published.length
                )
            )
        if found[published.length - 1].hash != published.hash:
            raise broken(
                _("the register's history differs from what was published, at or before event {n}").format(
                    n=published.length
                )
            )
    return found


def broken(what: str, *problems: Problem) -> Refused:
    """The refusal that all faults of history share."""
    return Refused(
        what,
        kept=_("nothing was published"),
        then=_("restore the database from a backup that is no older, and find out who changed it"),
        problems=problems,
    )
