"""The feed's keys, how long each signature lasts, and the making of signed metadata.

Root keys are not here: they sign the root metadata once (and at each rotation) and stay offline. The three online
keys stand in separate files, so that the host that only re-signs timestamps need not hold the other two.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import Key, Signature, Signer, SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from blocker import keys
from blocker.publishing.layout import OFFICERS_ROLE
from feeds import officers

ROOT_THRESHOLD = 2
ROOT_KEYS = 3
OFFICERS_THRESHOLD = 2
ROOT_LIFE = timedelta(days=365)
TARGETS_LIFE = timedelta(days=7)
SNAPSHOT_LIFE = timedelta(days=7)
TIMESTAMP_LIFE = timedelta(days=2)
BULK_LIFE = timedelta(days=30)
# Signed again when less than this is left, so that a publishing host may be out of order for three days.
RESIGN_WITHIN = timedelta(days=4)
ROOT_WARNING = timedelta(days=60)

ONLINE_ROLES = (Targets.type, Snapshot.type, Timestamp.type)
_T = TypeVar("_T", Root, Targets, Snapshot, Timestamp)


class KeySigner(Signer):
    """Signs TUF metadata with one of our keys (a feed's, a root's or an officer's)."""

    def __init__(self, key: officers.Signer) -> None:
        self._key = key
        self._public = public_key(key.public_hex)

    @property
    def public_key(self) -> Key:
        return self._public

    def sign(self, payload: bytes) -> Signature:
        """A signature of the role's canonical bytes."""
        return Signature(self._public.keyid, self._key.sign(payload).hex())

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: Callable[[str], str] | None = None
    ) -> "KeySigner":
        """Not offered: keys are read by `blocker.keys` alone."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FeedKeys:
    """The three online keys."""

    targets: KeySigner
    snapshot: KeySigner
    timestamp: KeySigner

    @classmethod
    def create(cls, directory: Path) -> "FeedKeys":
        """Three new keys, each in its own file `ROLE.pem` of mode 0600; never replaces one that exists."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(*(KeySigner(keys.create(directory / f"{role}.pem", None)) for role in ONLINE_ROLES))

    @classmethod
    def read(cls, directory: Path) -> "FeedKeys":
        """Read the three files; raises Rejected if one is missing, damaged or open to others."""
        return cls(*(KeySigner(keys.load(directory / f"{role}.pem", None)) for role in ONLINE_ROLES))


def public_key(public_hex: str) -> SSlibKey:
    """The TUF key of an Ed25519 public key (64 hexadecimal digits)."""
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)))


def next_version(last: int, now: datetime) -> int:
    """The version after `last`: the seconds since 1970, so that it rises also over a restored repository."""
    return max(last + 1, int(now.timestamp()))


def signed(value: _T, signers: Iterable[Signer]) -> bytes:
    """The metadata file of `value`, signed by each of `signers`."""
    made = Metadata(value)
    for signer in signers:
        made.sign(signer, append=True)
    return made.to_bytes(JSONSerializer(compact=True))


def root_of(root_keys: Iterable[Key], online: FeedKeys, version: int, now: datetime) -> Root:
    """Root metadata: threshold 2 over the root keys, one key for each online role."""
    root = Root(version=version, expires=now + ROOT_LIFE, consistent_snapshot=True)
    for key in root_keys:
        root.add_key(key, Root.type)
    root.roles[Root.type].threshold = ROOT_THRESHOLD
    root.add_key(online.targets.public_key, Targets.type)
    root.add_key(online.snapshot.public_key, Snapshot.type)
    root.add_key(online.timestamp.public_key, Timestamp.type)
    return root


def delegation(officer_keys: Iterable[str]) -> Delegations:
    """The delegation of `bulk/*` to any two of the officers."""
    found = {key.keyid: key for key in map(public_key, officer_keys)}
    role = DelegatedRole(OFFICERS_ROLE, sorted(found), OFFICERS_THRESHOLD, terminating=True, paths=["bulk/*"])
    return Delegations(dict(sorted(found.items())), {OFFICERS_ROLE: role})


def meta_of(data: bytes, version: int) -> MetaFile:
    """What a snapshot or a timestamp says of a metadata file."""
    return MetaFile.from_data(version, data, ["sha256"])
