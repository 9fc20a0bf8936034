"""Who the officers are, certified from the root keys: a signed start, then changes each signed by two others.

    genesis    the authority's first officers (id and public key), signed by at least `threshold` root keys
    change     add, disable, enable or rotate one officer, signed by two OTHER officers active just before it

Each change names the digest of the document before it, so none can be left out, doubled or moved. No key is ever
used twice. Only ids and keys stand here: persons' names are the authority's own business.

Every signature is over a statement that names the kind of document (`signable`), so one kind never passes for another.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Signer(Protocol):
    """A private Ed25519 key that can sign (`blocker.keys.Key`)."""

    @property
    def public_hex(self) -> str:
        """The public key, 64 hexadecimal digits."""

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature (RFC 8032)."""


class Kind(StrEnum):
    """Kinds of signed documents; the name is part of what is signed."""

    GENESIS = "officer-genesis"
    CHANGE = "officer-change"
    PROPOSAL = "proposal"
    REVIEW = "review"
    BULK = "bulk-statement"


class Step(StrEnum):
    """What a change does to one officer."""

    ADD = "add"
    DISABLE = "disable"
    ENABLE = "enable"
    ROTATE = "rotate"


@dataclass(frozen=True, slots=True)
class Officer:
    """An officer's id (small letters, digits, hyphens, at most 32) and Ed25519 public key (64 hexadecimal digits)."""

    id: str
    key: str


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first officers of an authority. `training`: a register for exercises only."""

    authority: str
    training: bool
    made: datetime
    officers: tuple[Officer, ...]

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        raise NotImplementedError

    @classmethod
    def of_bytes(cls, data: bytes) -> "Genesis":
        """Read canonical bytes; raises Untrusted."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class OfficerChange:
    """One step. `previous` is the digest (SHA-256) of the document before it; `key` is empty for disable and enable."""

    authority: str
    number: int
    previous: str
    step: Step
    officer: Officer
    made: datetime

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        raise NotImplementedError

    @classmethod
    def of_bytes(cls, data: bytes) -> "OfficerChange":
        """Read canonical bytes; raises Untrusted."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class SignedGenesis:
    """Genesis bytes with signatures: root public key -> signature, both hexadecimal."""

    document: bytes
    signatures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SignedChange:
    """Bytes of a change with signatures: officer id -> signature (hexadecimal)."""

    document: bytes
    signatures: tuple[tuple[str, str], ...]


def signable(kind: Kind, document: bytes) -> bytes:
    """What is signed: the kind's name, then the document's SHA-256."""
    raise NotImplementedError


def sign(kind: Kind, document: bytes, signer: Signer) -> str:
    """The signature, hexadecimal."""
    return signer.sign(signable(kind, document)).hex()


def signed_by(kind: Kind, document: bytes, key: str, signature: str) -> bool:
    """Is it this key's signature of this document of this kind? False for anything malformed, too."""
    raise NotImplementedError


class OfficerList:
    """The verified officers with their history. Immutable; `after` gives the next one."""

    authority: str
    training: bool
    head: str  # digest of the last document
    length: int  # changes so far

    def active(self) -> tuple[Officer, ...]:
        """The officers who may act now, by id."""
        raise NotImplementedError

    def key_of(self, officer: str, at: int | None = None) -> str | None:
        """The key of an officer active after change number `at` (default: the last), else None."""
        raise NotImplementedError

    def after(self, change: SignedChange) -> "OfficerList":
        """The list with one more change; raises Untrusted if it is not the next or not signed by two others."""
        raise NotImplementedError


def verify_genesis(signed: SignedGenesis, root_keys: Collection[str], threshold: int) -> OfficerList:
    """The first list; raises Untrusted unless `threshold` different root keys signed it."""
    raise NotImplementedError


def verify(
    signed: SignedGenesis, root_keys: Collection[str], threshold: int, changes: Iterable[SignedChange]
) -> OfficerList:
    """The list after all changes; raises Untrusted at the first one that does not hold."""
    raise NotImplementedError
