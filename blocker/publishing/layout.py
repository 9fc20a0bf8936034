"""Where each file of the feed stands, and how it is written.

    metadata/N.root.json ... N.targets.json N.officers.json N.snapshot.json     never changed once written
    metadata/timestamp.json                                                   replaced in place, always last
    targets/HASH.manifest.json targets/HASH.release.zst targets/deltas/HASH.A-B.zst targets/bulk/HASH.A-B.json
    root.json                                                                 the trust anchor to hand to ISPs

HASH is the SHA-256 of the file (TUF section 6.2, consistent snapshots): a reader holding any timestamp.json finds
exactly the files that belong to it.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from feeds import durable
from feeds.errors import Failure, Unavailable
from feeds.language import _

METADATA = "metadata"
TARGETS = "targets"
ANCHOR = "root.json"
OFFICERS_ROLE = "officers"
OFFICERS_PATH = "officers.json"
CONTACT_PATH = "contact.json"  # how to object, before the first manifest says it
LOCK = ".publish.lock"
# A web server under another user reads the feed, whatever the umask of who publishes.
PUBLIC_FILE = 0o644
PUBLIC_DIRECTORY = 0o755


class Disk:
    """Durable writing below the feed's directory. Tests put faults in here."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: Path, data: bytes) -> None:
        """Write a file whole; after a crash at any point the old file or the new one stands. Raises Failure."""
        try:
            self._directory(path.parent)
            durable.write(path, data, PUBLIC_FILE)
        except OSError as error:
            raise Failure(
                _("the feed cannot be written: {path}: {why}").format(path=path, why=error.strerror or error),
                kept=_("readers still get the release that was there before"),
                then=_("make room or mend the disk, then publish again: it finishes or undoes what was begun"),
            ) from error

    def remove(self, path: Path) -> None:
        """Remove a file that nothing refers to any more; if that fails the next run tries again."""
        with contextlib.suppress(OSError):
            path.unlink()

    def _directory(self, path: Path) -> None:
        missing = [p for p in (path, *path.parents) if not p.exists()]
        for directory in reversed(missing):
            directory.mkdir(exist_ok=True)
            if directory.is_relative_to(self.root):
                directory.chmod(PUBLIC_DIRECTORY)
            durable.sync_directory(directory.parent)


def metadata_path(root: Path, role: str, version: int | None) -> Path:
    """The file of a role's metadata; `version` None for the timestamp, the only one without."""
    return root / METADATA / (f"{role}.json" if version is None else f"{version}.{role}.json")


def target_path(root: Path, path: str, sha256: str) -> Path:
    """The file of a target."""
    directory, slash, name = path.rpartition("/")
    return root / TARGETS / f"{directory}{slash}{sha256}.{name}"


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """One publisher at a time; raises Unavailable if another is at work."""
    try:
        handle = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            _("the feed's directory {path} cannot be used: {why}").format(path=root, why=error.strerror),
            then=_("check the path and its permissions"),
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Unavailable(
                _("another publication is at work on {path}").format(path=root),
                kept=_("nothing was changed"),
                then=_("wait until it has ended and try again"),
            ) from None
        yield
    finally:
        os.close(handle)
