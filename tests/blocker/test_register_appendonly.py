"""What was recorded stays: in the database itself, after every migration, without the program's help."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, make_url, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from blocker.register import Register, appendonly, chain
from blocker.register.database import MIGRATIONS, Database, alembic_config
from blocker.register.tables import EVENT, Row
from feeds.errors import Refused
from feeds.officers import Step
from tests.blocker.world import NOW, World, name

REVISIONS = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]


def engine_of(url: str) -> Engine:
    """A plain connection of another program: no pragma of ours is set."""
    parsed = make_url(url)
    return create_engine(parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed)


@pytest.fixture(params=REVISIONS)
def upgraded(request: pytest.FixtureRequest, database_url: str) -> Iterator[Engine]:
    """A database with three events, brought to head from each revision there ever was."""
    database = Database(database_url)
    database.upgrade(request.param)
    database.upgrade()
    with database.write() as connection:
        for number in range(3):
            chain.append(connection, "serial.reserved", "", NOW, {"serial": number})
    database.close()
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


COLUMNS = "seq, previous, hash, kind, actor, at, body"
ATTACKS = {
    "update": "UPDATE event SET actor = 'x' WHERE seq = 2",
    "update the key": "UPDATE event SET seq = 9 WHERE seq = 3",
    "delete": "DELETE FROM event WHERE seq = 3",
    "delete all": "DELETE FROM event",
    "insert in between": f"INSERT INTO event ({COLUMNS}) VALUES (0, 'p', 'h', 'k', 'a', 't', 'b')",
    "insert far ahead": f"INSERT INTO event ({COLUMNS}) "
    "SELECT 9, hash, 'h', 'k', 'a', 't', 'b' FROM event WHERE seq = 3",
    "insert a fork": f"INSERT INTO event ({COLUMNS}) SELECT 4, hash, 'h', 'k', 'a', 't', 'b' FROM event WHERE seq = 2",
    "update a document": "UPDATE document SET size = 0",
    "delete a document": "DELETE FROM document",
}
SQLITE_ATTACKS = {
    "insert or replace": f"INSERT OR REPLACE INTO event ({COLUMNS}) "
    "SELECT seq, previous, hash, kind, 'x', at, body FROM event WHERE seq = 2",
    "replace by its hash": f"REPLACE INTO event ({COLUMNS}) "
    "SELECT 4, (SELECT hash FROM event WHERE seq = 2), hash, kind, 'x', at, body FROM event WHERE seq = 3",
    "update or replace": "UPDATE OR REPLACE event SET seq = 3 WHERE seq = 2",
    "upsert": f"INSERT INTO event ({COLUMNS}) SELECT {COLUMNS} FROM event WHERE seq = 2 "
    "ON CONFLICT DO UPDATE SET actor = 'x'",
    "replace a document": "INSERT OR REPLACE INTO document SELECT sha256, kind, 0, body FROM document",
}
POSTGRESQL_ATTACKS = {
    "truncate": "TRUNCATE event",
    "truncate cascade": "TRUNCATE document CASCADE",
    "upsert": f"INSERT INTO event ({COLUMNS}) SELECT {COLUMNS} FROM event WHERE seq = 2 "
    "ON CONFLICT (seq) DO UPDATE SET actor = 'x'",
    "merge": "MERGE INTO event USING (SELECT 2 AS n) s ON event.seq = s.n WHEN MATCHED THEN UPDATE SET actor = 'x'",
}


def rows(connection: Connection) -> list[object]:
    return list(connection.execute(select(EVENT).order_by(EVENT.c.seq)))


def test_no_statement_changes_what_was_recorded(upgraded: Engine) -> None:
    own = SQLITE_ATTACKS if upgraded.dialect.name == "sqlite" else POSTGRESQL_ATTACKS
    with upgraded.begin() as connection:
        before = rows(connection)
        connection.exec_driver_sql("INSERT INTO document (sha256, kind, size, body) VALUES ('d', 'k', 1, '')")
    assert len(before) == 3
    for what, statement in {**ATTACKS, **own}.items():
        with upgraded.connect() as connection, pytest.raises(DBAPIError, match="append-only"):
            connection.exec_driver_sql(statement)
        with upgraded.connect() as connection:
            assert rows(connection) == before, what


def test_a_batch_migration_of_the_event_table_leaves_it_protected(tmp_path: Path) -> None:
    # Only SQLite rebuilds a table in batch mode: it cannot alter one in place.
    database = Database(f"sqlite:///{tmp_path}/register.db")
    database.upgrade()
    with database.write() as connection:
        for statement in (
            "CREATE TABLE rebuilt AS SELECT * FROM event",
            "DROP TABLE event",
            "ALTER TABLE rebuilt RENAME TO event",
        ):
            connection.exec_driver_sql(statement)
        assert len(appendonly.gone(connection)) == 3
    with pytest.raises(Refused, match="protection of the event table is gone"):
        database.check()
    database.upgrade()
    database.check()
    database.close()


def test_no_migration_alters_an_append_only_table_in_batch_mode() -> None:
    for path in (MIGRATIONS / "versions").glob("*.py"):
        text = path.read_text()
        assert 'batch_alter_table("event"' not in text, path
        assert 'batch_alter_table("document"' not in text, path


def test_the_migrations_make_exactly_the_tables_of_the_models(database_url: str) -> None:
    database = Database(database_url)
    database.upgrade()
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"render_as_batch": True})
        assert compare_metadata(context, Row.metadata) == []
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE proposal SET state = 'approved', reviewer = proposer WHERE number = 1",
        "UPDATE review SET officer = proposer",
        "UPDATE officer_change SET second_by = first_by",
    ],
)
def test_four_eyes_is_a_constraint_of_the_database_too(world: World, statement: str) -> None:
    world.listed(name("bet.vn"))
    officers = world.register.officers
    sha256 = officers.propose(Step.DISABLE, "chi", "an", world.keys["an"], NOW)
    officers.countersign(sha256, "binh", world.keys["binh"], NOW)
    engine = engine_of(world.url)
    with pytest.raises(IntegrityError, match="four_eyes"), engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_register_of_another_version_is_not_opened(world: World) -> None:
    engine = engine_of(world.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(Refused, match="another version") as error:
        Register.open(world.url)
    assert "upgrade" in error.value.then


def test_the_register_holds_no_persons_but_its_own_officers() -> None:
    columns = {f"{table.name}.{column.name}" for table in Row.metadata.tables.values() for column in table.columns}
    assert set(Row.metadata.tables) == {
        "agency",
        "decision",
        "document",
        "entry",
        "entry_change",
        "event",
        "officer",
        "officer_change",
        "proposal",
        "publication",
        "register",
        "review",
    }
    personal = ("person", "account", "user", "subscriber", "customer", "client", "phone", "email", "passport", "owner")
    assert [c for c in columns if any(word in c for word in personal)] == []
    assert {c for c in columns if c.endswith(".name")} == {"agency.name", "officer.name", "officer_change.name"}
