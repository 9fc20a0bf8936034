"""The database: connections, transactions, the writer's lock, migrations."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, OperationalError

from blocker.register import appendonly
from feeds.errors import Refused, Rejected, Unavailable
from feeds.language import _

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 60
# "bloc": every writer of a register takes this lock first, so that the chain has one tip.
_LOCK = 0x626C6F63


class Database:
    """One database by SQLAlchemy URL. SQLite runs in WAL mode with synchronous=FULL."""

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            if parsed.drivername in ("postgresql", "postgres"):
                parsed = parsed.set(drivername="postgresql+psycopg")
            if parsed.get_backend_name() not in ("sqlite", "postgresql"):
                raise ArgumentError(parsed.drivername)
            self._engine: Engine = create_engine(parsed)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError):
            raise Rejected(
                _("the database must be named as sqlite:////path/register.db or postgresql://user@host/name"),
                rule="register.url",
            ) from None
        self.shown = parsed.render_as_string(hide_password=True)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)

    def begin_private(self) -> None:
        """SQLite: make the file, if it is not there, for its owner and group: it holds unpublished proposals."""
        path = self._engine.url.database
        if self.is_sqlite and path and path != ":memory:":
            with suppress(OSError):  # what hinders this hinders opening it, too, which then says so
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot to read from."""
        level = "SERIALIZABLE" if self.is_sqlite else "REPEATABLE READ"
        with self._faults():
            connection = self._engine.connect()
            with connection:
                if not self.is_sqlite:
                    connection = connection.execution_options(isolation_level=level)
                with connection.begin():
                    yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction of the only writer: nobody else appends until it ends."""
        with self._faults(), self._engine.connect() as plain:
            connection = plain.execution_options(register_writes=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
                yield connection

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise Refused(
                _("the database refused the change: {why}").format(why=_first_line(error)),
                kept=_("nothing was changed"),
                then=_("look at the register again; somebody else may have been quicker"),
            ) from error
        except OperationalError as error:
            raise Unavailable(
                _("the database {url} cannot be used now: {why}").format(url=self.shown, why=_first_line(error)),
                kept=_("nothing was changed"),
                then=_("check that it is there, writable and not full, and try again"),
            ) from error
        except DBAPIError as error:
            raise Unavailable(
                _("the database {url} reports: {why}").format(url=self.shown, why=_first_line(error)),
                kept=_("nothing was changed"),
                then=_("if this stays, check its state and its backup"),
            ) from error

    def revision(self) -> str | None:
        """The migration it is at; None for an empty database."""
        with self.read() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def upgrade(self, revision: str = "head") -> None:
        """Run the migrations up to `revision`, then put the append-only triggers in place; one transaction."""
        config = alembic_config()
        with self.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    def check(self) -> None:
        """Raises Refused if migrations are due or the append-only triggers are gone."""
        head = ScriptDirectory.from_config(alembic_config()).get_current_head()
        found = self.revision()
        if found is None:
            raise Refused(
                _("{url} holds no register").format(url=self.shown), then=_("make one: blocker register init")
            )
        if found != head:
            raise Refused(
                _("{url} was made by another version of this program (at {found}, needed {head})").format(
                    url=self.shown, found=found, head=head
                ),
                kept=_("nothing was changed"),
                then=_("make a backup, then run: blocker register upgrade"),
            )
        with self.read() as connection:
            missing = appendonly.gone(connection)
        if missing:
            raise Refused(
                _("protection of the event table is gone: {names}").format(names=", ".join(missing)),
                kept=_("nothing was changed"),
                then=_("find out who changed the database, compare it with the published chain head, then upgrade"),
            )


def alembic_config() -> Config:
    """Alembic's configuration; the connection goes into `attributes`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not open transactions by itself: BEGIN IMMEDIATE is ours (see `_begin_sqlite`).
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {BUSY_SECONDS * 1000}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "recursive_triggers = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("register_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _first_line(error: DBAPIError) -> str:
    origin = error.orig
    text = str(origin) if isinstance(origin, BaseException) else str(error)
    if isinstance(origin, sqlite3.Error):
        text = f"{text} ({type(origin).__name__})"
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__
