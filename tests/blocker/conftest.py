"""A register in SQLite and in a private PostgreSQL, with officers who have keys."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.blocker.world import World
from tests.conftest import missing

PG_BIN = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session")
def postgresql(need_program: Callable[[str, str], str]) -> Iterator[Callable[[], str]]:
    """A PostgreSQL 15 of our own on a unix socket; the value makes a new database and gives its URL."""
    if not (PG_BIN / "initdb").exists():
        if os.geteuid() == 0:
            # pg_ctlcluster comes with the package of the server, which has no program on the PATH of its own.
            need_program("pg_ctlcluster", "postgresql-15")
        if not (PG_BIN / "initdb").exists():
            missing("PostgreSQL 15 is not installed (Debian package postgresql)")
    # A socket's path has at most 107 characters, so pytest's long paths will not do.
    folder = Path(tempfile.mkdtemp(prefix="blocker-pg-"))
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres")

    def run(program: str, *args: str) -> None:
        command = [*user, str(PG_BIN / program), *args]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=120)

    try:
        run("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-c listen_addresses='' -k {folder} -c fsync=off -c max_connections=50"
        run("pg_ctl", "-D", f"{folder}/data", "-o", options, "-w", "-l", f"{folder}/log", "start")
        numbers = itertools.count(1)

        def database() -> str:
            name = f"register{next(numbers)}"
            run("createdb", "-h", str(folder), "-U", "postgres", name)
            return f"postgresql://postgres@/{name}?host={folder}"

        yield database
        run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: each test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/register.db"
    make: Callable[[], str] = request.getfixturevalue("postgresql")
    return make()


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A register with three officers (an, binh, chi) and one decision (`1/QD`)."""
    made = World(database_url)
    yield made
    made.register.close()
