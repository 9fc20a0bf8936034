"""The next edition of the feed, and the order in which its files are written.

Target files first, then targets, officers and snapshot metadata under names that nobody asks for yet, and
timestamp.json last and alone in place: the instant it is renamed, readers see the new edition, all of it there.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tuf.api.metadata import Delegations, Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from blocker.publishing.bulk import Bulk
from blocker.publishing.layout import OFFICERS_ROLE, Disk, metadata_path, target_path
from blocker.publishing.sign import (
    ONLINE_ROLES,
    SNAPSHOT_LIFE,
    TARGETS_LIFE,
    TIMESTAMP_LIFE,
    FeedKeys,
    delegation,
    meta_of,
    next_version,
    signed,
)
from blocker.publishing.standing import Standing
from feeds.errors import Rejected
from feeds.language import _


@dataclass(frozen=True, slots=True)
class Edition:
    """What readers will find: all targets, of which `files` are new, and the delegation to the officers.

    `officers` is the metadata file of the delegated role where it is new, already signed by officers.
    """

    before: Standing | None
    targets: Mapping[str, TargetFile]
    delegations: Delegations
    files: Mapping[str, bytes] = field(default_factory=dict)
    officers: Metadata[Targets] | None = None

    @classmethod
    def first(cls, officer_keys: Iterable[str]) -> "Edition":
        """The edition of a new feed, which carries no release yet."""
        return cls(None, {}, delegation(officer_keys))

    @classmethod
    def same(cls, before: Standing) -> "Edition":
        """The edition that stands already, to be signed again."""
        return cls(before, before.targets.targets, before.targets.delegations or delegation(()))

    def with_file(self, path: str, data: bytes, custom: object = None) -> "Edition":
        """This edition with a target added or replaced; `custom` is signed with it (TUF section 4.5)."""
        target = TargetFile.from_data(path, data, ["sha256"])
        if custom is not None:
            target.unrecognized_fields["custom"] = custom
        return replace(self, targets={**self.targets, path: target}, files={**self.files, path: data})

    def with_bulk(self, bulk: Bulk) -> "Edition":
        """This edition with statements under the officers' role."""
        return replace(self, officers=bulk.metadata, files={**self.files, **bulk.statements})

    def only(self, paths: Iterable[str]) -> "Edition":
        """This edition with those of the top-level role's targets alone."""
        wanted = set(paths)
        return replace(
            self,
            targets={path: target for path, target in self.targets.items() if path in wanted},
        )


def put(disk: Disk, edition: Edition, keys: FeedKeys, now: datetime, also: Sequence[FeedKeys] = ()) -> None:
    """Write the edition. Raises Failure at a fault of the disk; readers then still see the edition before.

    `also` are further keys that sign it, so that readers under a root that names those accept it, too.
    """
    signing = (keys, *also)
    now, before = now.astimezone(UTC), edition.before
    last = max(before.timestamp.version, before.snapshot.version, before.targets.version) if before else 0
    version = next_version(last, now)
    for path, data in edition.files.items():
        place = target_path(disk.root, path, hashlib.sha256(data).hexdigest())
        if not (place.exists() and place.read_bytes() == data):
            disk.write(place, data)
    targets = Targets(version, None, now + TARGETS_LIFE, dict(edition.targets), edition.delegations)
    meta = dict(before.snapshot.meta) if before else {}
    written = {Targets.type: (version, signed(targets, [k.targets for k in signing]))}
    if edition.officers is not None:
        written[OFFICERS_ROLE] = (edition.officers.signed.version, edition.officers.to_bytes())
    for role, (number, data) in written.items():
        disk.write(metadata_path(disk.root, role, number), data)
        meta[f"{role}.json"] = meta_of(data, number)
    snapshot = signed(Snapshot(version, None, now + SNAPSHOT_LIFE, meta), [k.snapshot for k in signing])
    disk.write(metadata_path(disk.root, Snapshot.type, version), snapshot)
    _put_timestamp(disk, version, meta_of(snapshot, version), signing, now)


def stamp(disk: Disk, before: Standing, keys: FeedKeys, now: datetime) -> None:
    """Sign the timestamp again over the snapshot that stands."""
    now = now.astimezone(UTC)
    version = next_version(before.timestamp.version, now)
    _put_timestamp(disk, version, before.timestamp.snapshot_meta, [keys], now)


def _put_timestamp(disk: Disk, version: int, snapshot: MetaFile, signing: Sequence[FeedKeys], now: datetime) -> None:
    timestamp = Timestamp(version, None, now + TIMESTAMP_LIFE, snapshot)
    disk.write(metadata_path(disk.root, Timestamp.type, None), signed(timestamp, [k.timestamp for k in signing]))


def check_keys(root: Root, keys: FeedKeys) -> None:
    """Raise Rejected unless the keys are those that the feed's root names."""
    for role, signer in zip(ONLINE_ROLES, (keys.targets, keys.snapshot, keys.timestamp), strict=True):
        if signer.public_key.keyid not in root.roles[role].keyids:
            raise Rejected(
                _("the {role} key is not the one that this feed's root names").format(role=role),
                rule="keys.foreign",
                kept=_("nothing was changed"),
                then=_("give the directory of this feed's keys with --keys"),
            )
