"""Alembic runs this: migrations in the transaction that `Database.upgrade` opened, then the append-only triggers."""

from alembic import context

from blocker.register import appendonly
from blocker.register.tables import Row

connection = context.config.attributes["connection"]
# Batch mode: SQLite cannot alter a table in place. Event tables are never batch-altered (see `appendonly`).
context.configure(connection=connection, target_metadata=Row.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
if connection.dialect.has_table(connection, "event"):
    appendonly.install(connection)
