"""The register's front door."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import insert, select

from blocker.register import chain, documents, verify
from blocker.register.bulk import insert_rows
from blocker.register.database import Database
from blocker.register.decisions import Decisions
from blocker.register.entries import Entries
from blocker.register.ground import CREATED, Ground, Judge
from blocker.register.proposals import Proposals
from blocker.register.publications import Publications
from blocker.register.roster import Officers
from blocker.register.tables import OFFICER, REGISTER
from blocker.register.views import Emergency, EventView, Verified
from feeds.document import moment_of_text
from feeds.errors import Refused, Rejected
from feeds.language import _
from feeds.manifest import ChainHead
from feeds.officers import SignedGenesis, verify_genesis
from feeds.rule import good_text


class Register:
    """One authority's register in one database."""

    def __init__(self, database: Database, authority: str, authority_name: str, training: bool) -> None:
        self.authority = authority
        self.authority_name = authority_name
        self.training = training
        self._database = database
        self._ground = Ground(database, authority, training)
        self.decisions = Decisions(self._ground)
        self.proposals = Proposals(self._ground)
        self.entries = Entries(self._ground)
        self.officers = Officers(self._ground)
        self.publications = Publications(self._ground)

    @classmethod
    def create(
        cls,
        url: str,
        genesis: SignedGenesis,
        root_keys: Collection[str],
        threshold: int,
        now: datetime,
        *,
        authority_name: str = "",
        names: Mapping[str, str] | None = None,
    ) -> "Register":
        """A new register; `names` are the officers' own, by id.

        Refused if the database already holds one, Untrusted if too few root keys signed the officers.
        """
        officers = verify_genesis(genesis, root_keys, threshold)
        if not all(good_text(text, 200, empty=True) for text in (authority_name, *(names or {}).values())):
            raise Rejected(_("a name is too long or holds a character that cannot be printed"), rule="register.name")
        database = Database(url)
        database.begin_private()
        if database.revision() is not None:
            raise Refused(
                _("{url} already holds a register").format(url=database.shown),
                kept=_("it is as it was"),
                then=_("choose another database"),
            )
        database.upgrade()
        with database.write() as connection:
            connection.execute(
                insert(REGISTER).values(
                    id=1,
                    authority=officers.authority,
                    authority_name=authority_name,
                    training=officers.training,
                    next_entry=1,
                )
            )
            insert_rows(
                connection,
                OFFICER,
                ("id", "key", "name", "active"),
                ((o.id, o.key, (names or {}).get(o.id, ""), True) for o in officers.active()),
            )
            digest = documents.put(connection, "officer-genesis", genesis.document)
            body: dict[str, object] = {"document": digest, "signatures": dict(genesis.signatures)}
            chain.append(connection, CREATED, "", now, body)
        database.close()
        return cls.open(url)

    @classmethod
    def open(cls, url: str) -> "Register":
        """An existing register. Refused: it needs a migration, or the guards of its event table are gone."""
        database = Database(url)
        database.check()
        with database.read() as connection:
            row = connection.execute(select(REGISTER)).first()
        if row is None:
            raise Refused(
                _("{url} holds an unfinished register").format(url=database.shown),
                then=_("delete the database and run: blocker register init"),
            )
        return cls(database, row.authority, row.authority_name, bool(row.training))

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def head(self) -> ChainHead:
        """Length and hash of the event chain now."""
        with self._database.read() as connection:
            return chain.head(connection)

    def events(self, after: int = 0, limit: int = 1000) -> Sequence[EventView]:
        """Events with a sequence number above `after`, in order."""
        with self._database.read() as connection:
            return [
                EventView(e.seq, moment_of_text(e.at), e.kind, e.actor, json.loads(e.body), e.hash)
                for e in chain.events(connection, after, limit)
            ]

    def verified(
        self,
        now: datetime,
        root_keys: Collection[str],
        threshold: int,
        published: ChainHead | None,
        *,
        guard: Judge | None = None,
        admit: Callable[[Emergency], bool] | None = None,
    ) -> Verified:
        """Replay every signed document and compare it with the rows; Refused names each row that differs.

        `published` is the chain head in the feed's last manifest (None before the first): the chain must contain it.
        Of two entries for one target the one with the later decision wins (by its date, then the higher number).
        `guard` judges every rule again by the data of today; what it or the floor refuses is left out and named in
        `problems`. `admit` is asked about each break-glass proposal; without it they are left out.
        """
        return verify.verified(self._ground, now, root_keys, threshold, published, guard, admit)
