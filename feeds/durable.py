"""Files that are there whole or not at all: temporary file, fsync, rename, fsync of the directory.

After `write` or `relink` returns, the new content survives a power cut; at any instant before, the old one is whole.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_native_id

from feeds.errors import Unavailable
from feeds.language import _

UNFINISHED = ".new-"


def write_new(path: Path, chunks: Iterable[bytes], mode: int | None = None) -> None:
    """Write a file that does not exist yet and fsync it. For files inside a directory that is itself still hidden.

    `mode` holds whatever the umask; without it the file is 0644 less the umask.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode)
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, content: bytes, mode: int | None = None) -> None:
    """Put `content` in the place of the file `path` in one step; `mode` as in `write_new`."""
    hidden = _hidden(path)
    hidden.unlink(missing_ok=True)
    try:
        write_new(hidden, [content], mode)
        os.replace(hidden, path)
    except BaseException:
        with suppress(OSError):
            hidden.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def relink(link: Path, target: str) -> None:
    """Let the symbolic link `link` point at `target` in one step."""
    hidden = _hidden(link)
    hidden.unlink(missing_ok=True)
    try:
        os.symlink(target, hidden)
        os.replace(hidden, link)
    except BaseException:
        with suppress(OSError):
            hidden.unlink(missing_ok=True)
        raise
    sync_directory(link.parent)


def _hidden(path: Path) -> Path:
    """No other thread of this machine has it: what two write at once is never a mixture."""
    return path.with_name(f"{UNFINISHED}{path.name}-{get_native_id()}")


def sync_file(path: Path) -> None:
    """fsync a file that somebody else wrote."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """fsync a directory, so that the names in it are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def told(kept: str = "", then: str = "") -> Iterator[None]:
    """Turn an OSError inside into Unavailable that names the file and the system's reason."""
    try:
        yield
    except OSError as error:
        place = error.filename or _("the state directory")
        raise Unavailable(
            _("{path}: {why}").format(path=place, why=error.strerror or error),
            kept=kept or _("the release in force is as before"),
            then=then or _("check free space and permissions, then try again"),
        ) from error
