"""Where the index lies, and building it once when two processes want it at the same time."""

import fcntl
import hashlib
import os
import sqlite3
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from blocker.guard.index import build, sources
from blocker.guard.index.lookup import Index
from feeds.errors import Unavailable
from feeds.language import _
from feeds.terminal import hint, progress


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/blocker`, else `~/.cache/blocker`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "blocker"


def index_path(cache: Path) -> Path:
    """The file for the installed versions of the sources and of our own lists and code."""
    state = hashlib.sha256(f"{build.FORMAT}".encode())
    for package in (sources.MISP, sources.PSL):
        try:
            state.update(f"{package} {version(package)}\n".encode())
        except PackageNotFoundError:
            sources.folder(package)
    for source in sources.NAMES + sources.RANGES:
        state.update(f"{source}\n".encode())
    for path in sorted(sources.HAND.glob("*.txt")):
        state.update(path.read_bytes())
    return cache / f"guard-{state.hexdigest()[:16]}.sqlite"


def open_index(cache: Path | None = None, rebuild: bool = False) -> Index:
    """The index, built first if it is missing or damaged. Raises Unavailable."""
    place = cache or default_cache()
    path = index_path(place)
    if not rebuild:
        with suppress(sqlite3.Error, ValueError, OSError):
            return Index(path)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (place / "guard.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not rebuild:
                # Whoever held the lock before us has probably built it.
                with suppress(sqlite3.Error, ValueError, OSError):
                    return Index(path)
            _build(path)
        return Index(path)
    except (OSError, sqlite3.Error, ValueError) as error:
        raise Unavailable(
            _("the guard's index cannot be built in {place}: {why}").format(place=place, why=error),
            kept=_("nothing was judged"),
            then=_("make room or name another directory with --cache"),
        ) from error


def _build(path: Path) -> None:
    hint(_("Building the guard's index from the installed lists (once, about half a minute) ..."))
    started = path.with_name(f".{path.name}.{os.getpid()}")
    started.unlink(missing_ok=True)
    try:
        with progress(_("Guard index"), build.STEPS) as advance:
            build.build(started, advance)
        with started.open("rb") as file:
            os.fsync(file.fileno())
        started.replace(path)
    finally:
        started.unlink(missing_ok=True)
    for old in path.parent.glob("guard-*.sqlite"):
        if old != path:
            with suppress(OSError):
                old.unlink()
