"""Somebody with full write access to the database: no trigger, no constraint and no hash stands in their way."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, delete, insert, make_url, text, update

from blocker.register import chain, documents
from blocker.register.tables import EVENT, TABLES
from feeds.document import moment_text
from feeds.manifest import ChainHead
from tests.blocker.world import World


class Attacker:
    """Owns the database of a `World`, and officer an's key if `world.keys["an"]` is used."""

    def __init__(self, world: World) -> None:
        self.world = world
        url = make_url(world.url)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        self._engine = create_engine(url)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A transaction in which no trigger fires and no constraint is checked."""
        with self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
                connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
                connection.exec_driver_sql("PRAGMA writable_schema = ON")
                triggers = connection.exec_driver_sql(
                    "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
                ).all()
                for name, _sql in triggers:
                    connection.exec_driver_sql(f"DROP TRIGGER {name}")
                yield connection
                for _name, sql in triggers:
                    connection.exec_driver_sql(sql)
            else:
                connection.exec_driver_sql("SET session_replication_role = replica")
                constraints = connection.exec_driver_sql(
                    "SELECT conrelid::regclass::text, conname FROM pg_constraint"
                    " WHERE contype = 'c' AND conrelid <> 0 AND connamespace = 'public'::regnamespace"
                ).all()
                for table, constraint in constraints:
                    connection.exec_driver_sql(f'ALTER TABLE "{table}" DROP CONSTRAINT "{constraint}"')
                yield connection
                connection.exec_driver_sql("SET session_replication_role = origin")
            connection.commit()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def sql(self, statement: str, **values: object) -> None:
        """Run any statement."""
        with self.connection() as connection:
            connection.execute(text(statement), values)

    def set(self, table: str, where: dict[str, object], **values: object) -> None:
        """Change rows of a table."""
        rows = TABLES[table]
        with self.connection() as connection:
            statement = update(rows).values(**values)
            for column, value in where.items():
                statement = statement.where(rows.c[column] == value)
            assert connection.execute(statement).rowcount > 0

    def add(self, table: str, **values: object) -> None:
        """A new row."""
        with self.connection() as connection:
            connection.execute(insert(TABLES[table]).values(**values))

    def put(self, data: bytes) -> str:
        """Store a document of their own making."""
        with self.connection() as connection:
            return documents.put(connection, "forged", data)

    def document(self, digest: str) -> bytes:
        """A stored document."""
        with self.connection() as connection:
            return documents.get(connection, digest)

    def append(self, kind: str, actor: str, body: dict[str, object]) -> None:
        """A new event with the right hash."""
        with self.connection() as connection:
            chain.append(connection, kind, actor, self.world.now, body)

    def events(self) -> list[chain.Event]:
        """All events."""
        with self.connection() as connection:
            return list(chain.events(connection))

    def head(self) -> ChainHead:
        """The chain's head."""
        with self.connection() as connection:
            return chain.head(connection)

    def last(self, kind: str) -> dict[str, Any]:
        """The body of the last event of a kind."""
        return next(json.loads(e.body) for e in reversed(self.events()) if e.kind == kind)

    def rewrite(self, change: Callable[[list[chain.Event]], list[tuple[str, str, str, str]]]) -> None:
        """Replace all events by others (kind, actor, at, body), every hash made to fit."""
        links = change(self.events())
        with self.connection() as connection:
            connection.execute(delete(EVENT))
            previous = chain.START
            for seq, (kind, actor, at, body) in enumerate(links, 1):
                digest = chain.link_hash(seq, previous, kind, actor, at, body)
                connection.execute(
                    insert(EVENT).values(
                        seq=seq, previous=previous, hash=digest, kind=kind, actor=actor, at=at, body=body
                    )
                )
                previous = digest

    def without(self, *kinds_and_proposals: tuple[str, int | None]) -> None:
        """Rewrite history without these events."""

        def keep(events: list[chain.Event]) -> list[tuple[str, str, str, str]]:
            gone = set(kinds_and_proposals)
            return [
                (e.kind, e.actor, e.at, e.body)
                for e in events
                if (e.kind, e.fields().get("proposal")) not in gone and (e.kind, None) not in gone
            ]

        self.rewrite(keep)

    def review(self, number: int, officer: str, signature: str, review: bytes, kind: str = "proposal.approved") -> None:
        """Put an approval into history and rows, as the program would."""
        world = self.world
        sha256 = self.last("proposal.signed")["document"]
        digest = self.put(review)
        self.append(
            kind,
            officer,
            {"proposal": number, "document": sha256, "review": digest, "signature": signature, "reason": ""},
        )
        self.set(
            "proposal",
            {"number": number},
            state="approved",
            reviewer=officer,
            reviewed=moment_text(world.now),
        )
        self.sql("UPDATE entry SET state = 'active', lapses = 0 WHERE proposal = :number", number=number)
