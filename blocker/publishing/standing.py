"""What the repository now says, read back from its files and verified under its own root.

The publisher trusts its directory no more than a reader does: a file that was changed or cut off there stops the
publication instead of being signed again.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from securesystemslib.exceptions import StorageError
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from blocker.publishing.layout import METADATA, OFFICERS_ROLE, metadata_path, target_path
from feeds.errors import Rejected, Untrusted
from feeds.language import _
from feeds.manifest import MANIFEST_PATH, Manifest

_T = TypeVar("_T", Root, Targets, Snapshot, Timestamp)
_ROOT_FILE = re.compile(r"([1-9]\d{0,5})\.root\.json\Z")


@dataclass(frozen=True, slots=True)
class Standing:
    """The feed as a reader would find it now. `manifest` is None before the first publication."""

    directory: Path
    root: Root
    timestamp: Timestamp
    snapshot: Snapshot
    targets: Targets
    officers: Metadata[Targets] | None
    manifest: Manifest | None

    @property
    def serial(self) -> int:
        """The serial the feed carries; 0 before the first publication."""
        return self.manifest.serial if self.manifest else 0

    def target(self, path: str) -> bytes:
        """The bytes of a target, checked; raises Untrusted."""
        return read_target(self.directory, self.targets.targets[path])


def read_standing(directory: Path) -> Standing:
    """Read and verify; raises Rejected if there is no feed, Untrusted if a file is missing, changed or cut off."""
    root = newest_root(directory)

    def role(kind: type[_T], version: int | None) -> Metadata[_T]:
        return _verified(directory, kind, kind.type, version, root.verify_delegate)

    timestamp = role(Timestamp, None).signed
    version = timestamp.snapshot_meta.version
    snapshot = role(Snapshot, version).signed
    targets = role(Targets, snapshot.meta["targets.json"].version).signed
    for name, meta, number in (
        ("snapshot", timestamp.snapshot_meta, version),
        *((file.removesuffix(".json"), meta, meta.version) for file, meta in snapshot.meta.items()),
    ):
        path = metadata_path(directory, name, number)
        with _damage(path):
            meta.verify_length_and_hashes(path.read_bytes())
    officers = None
    if f"{OFFICERS_ROLE}.json" in snapshot.meta:
        number = snapshot.meta[f"{OFFICERS_ROLE}.json"].version
        path = metadata_path(directory, OFFICERS_ROLE, number)
        with _damage(path):
            officers = cast("Metadata[Targets]", Metadata.from_bytes(path.read_bytes()))
    manifest = None
    if MANIFEST_PATH in targets.targets:
        manifest = cast(Manifest, Manifest.of_bytes(read_target(directory, targets.targets[MANIFEST_PATH])))
    return Standing(directory, root, timestamp, snapshot, targets, officers, manifest)


def newest_root(directory: Path) -> Root:
    """The newest root metadata; raises Rejected where there is no feed at all."""
    try:
        found = [_ROOT_FILE.match(path.name) for path in (directory / METADATA).iterdir()]
    except OSError:
        found = []
    versions = sorted(int(match.group(1)) for match in found if match)
    if not versions:
        raise Rejected(
            _("there is no feed in {path}").format(path=directory),
            rule="feed.none",
            then=_("make one with «blocker register init», or give its directory with --repository"),
        )
    path = metadata_path(directory, Root.type, versions[-1])
    with _damage(path):
        made = Metadata[Root].from_bytes(path.read_bytes())
        if made.signed.type != Root.type or made.signed.version != versions[-1]:
            raise RepositoryError(_("it holds something else"))
        made.signed.verify_delegate(Root.type, made.signed_bytes, made.signatures)
        return made.signed
    raise AssertionError


def read_target(directory: Path, target: TargetFile) -> bytes:
    """The bytes of a target, its length and hash checked; raises Untrusted."""
    path = target_path(directory, target.path, target.hashes["sha256"])
    with _damage(path):
        data = path.read_bytes()
        target.verify_length_and_hashes(data)
        return data
    raise AssertionError


def _verified(
    directory: Path, kind: type[_T], role: str, version: int | None, verify: Callable[[str, bytes, Any], None]
) -> Metadata[_T]:
    path = metadata_path(directory, role, version)
    with _damage(path):
        made = Metadata[_T].from_bytes(path.read_bytes())
        if made.signed.type != kind.type or (version is not None and made.signed.version != version):
            raise RepositoryError(_("it holds something else"))
        verify(role, made.signed_bytes, made.signatures)
        return made
    raise AssertionError


class _damage:
    """Any fault inside becomes Untrusted that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            self._say(error.strerror or str(error), error)
        if isinstance(error, RepositoryError | DeserializationError | StorageError | ValueError | KeyError):
            self._say(str(error) or type(error).__name__, error)

    def _say(self, why: str, error: BaseException) -> NoReturn:
        raise Untrusted(
            _("the feed's own file {path} is damaged: {why}").format(path=self._path, why=why),
            kept=_("nothing was changed"),
            then=_("restore the feed's directory from a backup; an older copy will do"),
        ) from error
