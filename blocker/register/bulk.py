"""Many rows at once, by each database's quickest way."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, select

BATCH = 20_000
IN_BATCH = 500


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows given as tuples in the order of `columns`: COPY on PostgreSQL, executemany on SQLite."""
    names = ", ".join(columns)
    if connection.dialect.name == "postgresql":
        cursor: Any = connection.connection.cursor()
        with cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608 - names come from `tables`
    source = iter(rows)
    while batch := list(islice(source, BATCH)):
        connection.exec_driver_sql(statement, batch)


def rows_where(
    connection: Connection, columns: Sequence[ColumnElement[Any]], column: ColumnElement[Any], values: Iterable[Any]
) -> Iterator[Row[Any]]:
    """Rows whose `column` is one of `values`, asked for in batches."""
    source = iter(values)
    while batch := list(islice(source, IN_BATCH)):
        yield from connection.execute(select(*columns).where(column.in_(batch)))
