"""Triggers that make `event` and `document` append-only in the database itself.

They hold against UPDATE, DELETE, TRUNCATE and INSERT OR REPLACE. SQLite's REPLACE deletes without firing delete
triggers unless recursive_triggers is on, and a connection of another program need not turn it on: so a BEFORE INSERT
trigger admits nothing but the next link. Alembic's batch mode rebuilds a table and loses its triggers: `install` runs
after every migration, and `gone` at every opening.

Whoever owns the database can drop triggers; that is what the chain's hashes, the signatures and the published head are
for (`replay`).
"""

from sqlalchemy import Connection

_NEXT_LINK = """NEW.seq IS NULL
    OR NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM event)
    OR NEW.previous <> coalesce((SELECT hash FROM event ORDER BY seq DESC LIMIT 1),
        '0000000000000000000000000000000000000000000000000000000000000000')"""


def _sqlite(name: str, when: str, table: str, condition: str = "") -> str:
    clause = f"\nWHEN {condition}" if condition else ""
    return (
        f"CREATE TRIGGER {name} BEFORE {when} ON {table}{clause}\n"
        f"BEGIN SELECT RAISE(ABORT, 'the table {table} is append-only'); END"
    )


SQLITE = {
    "event_no_update": _sqlite("event_no_update", "UPDATE", "event"),
    "event_no_delete": _sqlite("event_no_delete", "DELETE", "event"),
    "event_next_link": _sqlite("event_next_link", "INSERT", "event", _NEXT_LINK),
    "document_no_update": _sqlite("document_no_update", "UPDATE", "document"),
    "document_no_delete": _sqlite("document_no_delete", "DELETE", "document"),
    "document_no_replace": _sqlite(
        "document_no_replace",
        "INSERT",
        "document",
        "EXISTS (SELECT 1 FROM document WHERE sha256 = NEW.sha256)",
    ),
}

_POSTGRESQL_FUNCTIONS = (
    """CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION USING MESSAGE = 'the table ' || TG_TABLE_NAME || ' is append-only'; END $$""",
    f"""CREATE OR REPLACE FUNCTION event_next_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF {_NEXT_LINK} THEN RAISE EXCEPTION 'the table event is append-only'; END IF;
  RETURN NEW;
END $$""",
)


def _postgresql(name: str, when: str, table: str, each: str, function: str) -> str:
    return f"CREATE TRIGGER {name} BEFORE {when} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}()"


POSTGRESQL = {
    "event_no_update": _postgresql("event_no_update", "UPDATE OR DELETE", "event", "ROW", "append_only"),
    "event_no_truncate": _postgresql("event_no_truncate", "TRUNCATE", "event", "STATEMENT", "append_only"),
    "event_next_link": _postgresql("event_next_link", "INSERT", "event", "ROW", "event_next_link"),
    "document_no_update": _postgresql("document_no_update", "UPDATE OR DELETE", "document", "ROW", "append_only"),
    "document_no_truncate": _postgresql("document_no_truncate", "TRUNCATE", "document", "STATEMENT", "append_only"),
}

_FIND = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'",
    # An enabled trigger fires for ordinary sessions ('O') or always ('A'); 'D' and 'R' are as good as none.
    "postgresql": "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')",
}


def gone(connection: Connection) -> list[str]:
    """Names of triggers that should be there and are not, or not as they should be."""
    name = connection.dialect.name
    found = {row[0]: row[1] for row in connection.exec_driver_sql(_FIND[name])}
    if name == "sqlite":
        return [trigger for trigger, sql in SQLITE.items() if found.get(trigger) != sql]
    return [trigger for trigger in POSTGRESQL if trigger not in found]


def install(connection: Connection) -> None:
    """Put in place what is gone."""
    missing = gone(connection)
    if connection.dialect.name == "sqlite":
        for name in missing:
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
            connection.exec_driver_sql(SQLITE[name])
        return
    for function in _POSTGRESQL_FUNCTIONS:
        connection.exec_driver_sql(function)
    for name in missing:
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name} ON {name.partition('_')[0]}")
        connection.exec_driver_sql(POSTGRESQL[name])
