"""`blocker feed follow --render`: a file in another program's form, and the command by which that program reads it.

The file is replaced in one step when another release is accepted and when a rule lapses. The command runs after it was
replaced, again until it succeeds. What it has succeeded with is noted beside the releases until the file is replaced
again, so that neither a restart runs it in vain nor a crash loses it.
"""

import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from feeds import durable
from feeds.errors import Unavailable
from feeds.language import _
from feeds.manifest import Manifest
from feeds.release import Release
from feeds.render import render
from feeds.rule import hours, moment_of
from feeds.store import Store

RETRY_SECONDS = 30.0
RUN_SECONDS = 60.0
# Whoever reads the file runs as another user, whatever our umask.
_MODE = 0o644
_NEVER = sys.maxsize


@dataclass(frozen=True, slots=True)
class Kept:
    """The file is as it shall be, and the command has succeeded with it."""

    serial: int
    size: int


@dataclass(frozen=True, slots=True)
class _InForce:
    manifest: Manifest
    rules: Release

    def release(self) -> Release:
        return self.rules


@dataclass
class RenderedFile:
    """`form` is one of `feeds.render.formats`; `run` raises Unavailable where the command does not succeed."""

    store: Store
    form: str
    path: Path
    run: Callable[[], None]
    _token: tuple[int, int] | None = None
    _next_lapse: int = 0
    _again: float = 0.0
    _digest: str = ""
    _kept: Kept = field(default=Kept(0, 0))

    def look(self, now: datetime, seconds: float) -> Kept | None:
        """Make the file what it shall be `now`; None if there was nothing to do.

        `seconds` are those of a clock that only rises: after a fault the next try is RETRY_SECONDS later. Raises
        Unavailable, the last good file kept; Untrusted where the disk changed the release.
        """
        if seconds < self._again:
            return None
        self._again = seconds + RETRY_SECONDS
        self._write(self.store.clock(now))
        done = None
        if self._digest and self._digest != self._succeeded():
            self.run()
            self.store.remember(self._note, {"sha256": self._digest})
            done = self._kept
        self._digest, self._again = "", 0.0
        return done

    def _write(self, now: datetime) -> None:
        """Replace the file if what it shall hold is another than it holds; `_digest` is set where it was looked at."""
        token, hour = self.store.token(), hours(now)
        if token == self._token and hour < self._next_lapse:
            return
        accepted = self.store.accepted()
        if accepted is None:
            return
        in_force = _InForce(accepted.manifest, accepted.release())
        expiries = {rule.expires for rule in in_force.rules.rules}
        since = max((expiry for expiry in expiries if expiry <= hour), default=None)
        # As of its last change, not of this hour: the same rules are the same bytes.
        as_of = min(accepted.manifest.issued, now) if since is None else moment_of(since)
        with durable.told(kept=_("{path} is as before").format(path=self.path)):
            self._digest, size = self._replace(render(self.form, in_force, as_of))
        self._kept = Kept(accepted.manifest.serial, size)
        self._token = token
        self._next_lapse = min((expiry for expiry in expiries if expiry > hour), default=_NEVER)

    def _replace(self, pieces: Iterable[str]) -> tuple[str, int]:
        """The SHA-256 and the size of what the file now holds."""
        hidden = self.path.with_name(f"{durable.UNFINISHED}{self.path.name}")
        hashed, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for piece in pieces:
                data = piece.encode()
                hashed.update(data)
                size += len(data)
                yield data

        hidden.unlink(missing_ok=True)
        try:
            durable.write_new(hidden, counted(), _MODE)
            if hashed.hexdigest() != _digest_of(self.path):
                self.store.remember(self._note, {})
                os.replace(hidden, self.path)
                durable.sync_directory(self.path.absolute().parent)
        finally:
            with suppress(OSError):
                hidden.unlink(missing_ok=True)
        return hashed.hexdigest(), size

    def _succeeded(self) -> str:
        """With which content the command succeeded last; a note that a full disk has lost only runs it once more."""
        return str(self.store.remembered(self._note).get("sha256", ""))

    @property
    def _note(self) -> str:
        # A state directory may feed several files.
        return f"rendered-{hashlib.sha256(bytes(self.path.absolute())).hexdigest()[:16]}.json"


def run_command(words: Sequence[str]) -> None:
    """Run it without a shell, what it says on our stderr; raises Unavailable unless it ends with 0 in RUN_SECONDS."""
    why = ""
    try:
        # Standard output carries our answers.
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=2, timeout=RUN_SECONDS, check=False)
        if done.returncode:
            why = _("it ended with status {status}").format(status=done.returncode)
    except subprocess.TimeoutExpired:
        why = _("it did not end within {n} seconds").format(n=round(RUN_SECONDS))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
    if why:
        raise Unavailable(
            _("the command «{command}» failed: {why}").format(command=shlex.join(words), why=why),
            kept=_("the file is written; what its reader has loaded before stays in force"),
            then=_("it is run again every {n} seconds until it succeeds").format(n=round(RETRY_SECONDS)),
        )


def _digest_of(path: Path) -> str:
    """Empty where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
