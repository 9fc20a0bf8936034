"""Which old files may go: those that no reader can still be asking for.

A reader holds to the snapshot its timestamp.json named when it began, so a snapshot's files stay for a while after
another took its place. Snapshot versions are seconds since 1970, so they say themselves when that was.
"""

import re
from datetime import datetime, timedelta
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Snapshot, Targets

from blocker.publishing.layout import METADATA, OFFICERS_ROLE, TARGETS, Disk, metadata_path, target_path
from blocker.publishing.standing import Standing
from feeds.durable import UNFINISHED

KEEP_SNAPSHOTS = 3
GRACE = timedelta(hours=2)
_SNAPSHOT_FILE = re.compile(r"([1-9]\d{0,11})\.snapshot\.json\Z")
_ROOT_FILE = re.compile(r"[1-9]\d*\.root\.json\Z")


def clean(disk: Disk, standing: Standing, now: datetime) -> int:
    """Remove what an unfinished publication left and what is past its grace; the number of files removed."""
    wanted = _wanted(disk.root, standing, now)
    removed = 0
    for directory in (METADATA, TARGETS):
        for path in sorted((disk.root / directory).rglob("*")):
            if path.is_file() and path not in wanted and not _ROOT_FILE.match(path.name):
                disk.remove(path)
                removed += 1
    for path in disk.root.glob(UNFINISHED + "*"):
        disk.remove(path)
    return removed


def _wanted(root: Path, standing: Standing, now: datetime) -> set[Path]:
    current = standing.snapshot.version
    found = (_SNAPSHOT_FILE.match(path.name) for path in (root / METADATA).iterdir())
    # Above the current one is only what never became visible.
    versions = sorted((v for match in found if match and (v := int(match.group(1))) <= current), reverse=True)
    since = int((now - GRACE).timestamp())
    kept = [version for place, version in enumerate(versions) if place < KEEP_SNAPSHOTS or versions[place - 1] > since]
    wanted = {metadata_path(root, "timestamp", None)}
    for version in kept:
        wanted |= _files_of(root, version)
    return wanted


def _files_of(root: Path, version: int) -> set[Path]:
    """The files that a snapshot leads to; those of a damaged one are simply not kept for it."""
    files = {metadata_path(root, Snapshot.type, version)}
    try:
        snapshot = Metadata[Snapshot].from_bytes(metadata_path(root, Snapshot.type, version).read_bytes()).signed
        for role in (Targets.type, OFFICERS_ROLE):
            meta = snapshot.meta.get(f"{role}.json")
            if meta is None:
                continue
            path = metadata_path(root, role, meta.version)
            files.add(path)
            for target in Metadata[Targets].from_bytes(path.read_bytes()).signed.targets.values():
                files.add(target_path(root, target.path, target.hashes["sha256"]))
    except (OSError, RepositoryError, KeyError, AttributeError):
        return files
    return files
