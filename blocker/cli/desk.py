"""What every officer's command shares: which register, which officer, which key, and what the clock says."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from blocker.cli.ask import Secrets, ask_text, require
from feeds.errors import Rejected
from feeds.language import _
from feeds.terminal import hint, printable

if TYPE_CHECKING:
    from blocker.guard import Guard
    from blocker.keys import Key
    from blocker.register import Register

TRIES = 3  # at typing a passphrase

Command = TypeVar("Command", bound=Callable[..., Any])

register_option = click.option(
    "--register",
    "register_url",
    envvar="BLOCKER_REGISTER",
    metavar="FILE|URL",
    help=_("The register: a file, or a database URL; default in your data directory [BLOCKER_REGISTER]."),
)
id_option = click.option(
    "--officer", envvar="BLOCKER_OFFICER", metavar="ID", help=_("Who you are: your officer id [BLOCKER_OFFICER].")
)


def secret_options(command: Command) -> Command:
    """--passphrase-fd and --passphrase-file."""
    made = click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=_("A file of mode 0600 that holds the passphrase; without it you are asked."),
    )(command)
    return click.option(
        "--passphrase-fd", type=int, metavar="N", help=_("Read the passphrase from this open file descriptor.")
    )(made)


def signing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--officer, --key and where the passphrase comes from, handed to the command as one `signing`."""

    @wraps(command)
    def with_signing(
        *args: Any,
        officer: str | None,
        key_file: Path | None,
        passphrase_fd: int | None,
        passphrase_file: Path | None,
        **rest: Any,
    ) -> Any:
        return command(*args, signing=Signing(officer, key_file, passphrase_fd, passphrase_file), **rest)

    made = click.option(
        "--key",
        "key_file",
        envvar="BLOCKER_KEY",
        type=click.Path(path_type=Path, dir_okay=False),
        help=_("The file with your private key [BLOCKER_KEY]."),
    )(secret_options(with_signing))
    return id_option(made)


def now() -> datetime:
    """The one place where officers' commands read the clock."""
    return datetime.now(UTC).replace(microsecond=0)


def url_of(register: str | None) -> str:
    """The database URL of what was said: a URL stays, a path becomes SQLite's, nothing means the data directory."""
    if register and "://" in register:
        return register
    path = Path(register).expanduser() if register else _data_directory() / "register.db"
    return f"sqlite:///{path.absolute()}"


def file_of(url: str) -> Path | None:
    """The file behind a SQLite URL; None for a database server."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def check_file(url: str) -> None:
    """Raises Rejected where the register should be a file and is not there; SQLite would make an empty one."""
    path = file_of(url)
    if path is not None and not path.exists():
        raise Rejected(
            _("there is no register at {path}").format(path=path),
            then=_("name it with --register FILE or in BLOCKER_REGISTER, or set one up: blocker register init"),
        )


@contextmanager
def opened(register: str | None) -> "Iterator[Register]":
    """The register, open; a missing file is said in words an officer understands."""
    from blocker.register import Register

    url = url_of(register)
    check_file(url)
    found = Register.open(url)
    try:
        yield found
    finally:
        found.close()


def load_guard(training: bool) -> "Guard":
    """The guard, loaded only by the commands that judge."""
    from blocker.guard import Guard

    return Guard.load(training)


@dataclass(frozen=True, slots=True)
class Acting:
    """An officer who is about to sign."""

    officer: str
    key: "Key"


@dataclass(frozen=True, slots=True)
class Signing:
    """What was said about who signs; `open` asks for the rest and opens the key."""

    officer: str | None
    key_file: Path | None
    passphrase_fd: int | None
    passphrase_file: Path | None

    def needed(self) -> tuple[tuple[str, object], ...]:
        """For `require`."""
        return (("--officer", self.officer), ("--key", self.key_file))

    def open(self) -> Acting:
        """Who signs, with the key opened."""
        require(*self.needed())
        name = ask_text(self.officer, "--officer", _("Your officer id"))
        path = key_path(self.key_file)
        return Acting(name, open_key(path, Secrets(self.passphrase_fd, self.passphrase_file)))


def open_key(path: Path, secrets: Secrets) -> "Key":
    """The key in a file; a person may mistype its passphrase, a script may not."""
    from blocker import keys

    if not keys.is_encrypted(path):
        return keys.load(path, None)
    for tries_left in reversed(range(1 if secrets.given else TRIES)):
        try:
            return keys.load(path, secrets.existing(str(path)))
        except Rejected as error:
            if not tries_left:
                raise
            hint("  " + printable(error.what))
    raise AssertionError


def key_path(key_file: Path | None) -> Path:
    """The key file, asked for where it is missing."""
    text = ask_text(None if key_file is None else str(key_file), "--key", _("File with your private key"))
    return Path(text).expanduser()


def _data_directory() -> Path:
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "blocker"
