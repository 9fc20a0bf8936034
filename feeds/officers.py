"""Who the officers are, certified from the root keys: a signed start, then changes each signed by two others.

    genesis    the authority's first officers (id and public key), signed by at least `threshold` root keys
    change     add, disable, enable or rotate one officer, signed by two OTHER officers active just before it

Each change names the digest of the document before it, so none can be left out, doubled or moved. No key is ever
used twice. Only ids and keys stand here: persons' names are the authority's own business.

Every signature is over a statement that names the kind of document (`signable`), so one kind never passes for another,
nor for the JSON that TUF signs.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from feeds.document import compose, moment_of_text, moment_text, number_of_text, parse, sha256_of
from feeds.errors import Failure, Rejected, Untrusted
from feeds.language import _
from feeds.rule import check_authority

FEWEST_OFFICERS = 2
SIGNATURES_PER_CHANGE = 2
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
_KEY = re.compile(r"[0-9a-f]{64}\Z")
_SIGNATURE = re.compile(r"[0-9a-f]{128}\Z")
_T = TypeVar("_T")


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

    def __post_init__(self) -> None:
        if _ID.match(self.id) is None:
            raise Rejected(
                _("«{text}»: an officer's id is 1 to 32 small letters, digits and hyphens").format(text=self.id),
                rule="officer.id",
            )
        if _KEY.match(self.key) is None:
            raise Rejected(
                _("officer {id}: a public key is 64 hexadecimal digits").format(id=self.id), rule="officer.key"
            )


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first officers of an authority, at least two. `training`: a register for exercises only."""

    authority: str
    training: bool
    made: datetime
    officers: tuple[Officer, ...]

    def __post_init__(self) -> None:
        check_authority(self.authority)
        ids, keys = {o.id for o in self.officers}, {o.key for o in self.officers}
        if not len(self.officers) == len(ids) == len(keys) >= FEWEST_OFFICERS:
            raise Rejected(
                _("the first officers must be at least two, each with an id and a key of their own"),
                rule="officer.genesis",
            )

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        return compose(
            "blocker-officer-genesis",
            (
                ("authority", self.authority),
                ("training", "yes" if self.training else "no"),
                ("made", moment_text(self.made)),
            ),
            sorted(f"{officer.id}\t{officer.key}" for officer in self.officers),
        )

    @classmethod
    def of_bytes(cls, data: bytes) -> "Genesis":
        """Read canonical bytes; raises Untrusted."""
        (authority, training, made), lines = parse(data, "blocker-officer-genesis", ("authority", "training", "made"))
        pairs = [line.partition("\t") for line in lines]
        try:
            found = cls(
                authority, training == "yes", moment_of_text(made), tuple(Officer(a, b) for a, _tab, b in pairs)
            )
        except Rejected as error:
            raise Untrusted(error.what) from None
        return _same(found, found.to_bytes(), data)


@dataclass(frozen=True, slots=True)
class OfficerChange:
    """One step. `previous` is the digest (SHA-256) of the document before it.

    `officer.key` is the new key (add, rotate) or the one that stands (disable, enable).
    """

    authority: str
    number: int
    previous: str
    step: Step
    officer: Officer
    made: datetime

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        return compose(
            "blocker-officer-change",
            (
                ("authority", self.authority),
                ("number", str(self.number)),
                ("previous", self.previous),
                ("step", self.step),
                ("officer", self.officer.id),
                ("key", self.officer.key),
                ("made", moment_text(self.made)),
            ),
        )

    @classmethod
    def of_bytes(cls, data: bytes) -> "OfficerChange":
        """Read canonical bytes; raises Untrusted."""
        names = ("authority", "number", "previous", "step", "officer", "key", "made")
        (authority, number, previous, step, officer, key, made), _rest = parse(data, "blocker-officer-change", names)
        try:
            found = cls(
                authority, number_of_text(number), previous, Step(step), Officer(officer, key), moment_of_text(made)
            )
        except (Rejected, ValueError) as error:
            raise Untrusted(error.what if isinstance(error, Failure) else str(error)) from None
        return _same(found, found.to_bytes(), data)


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
    return signable_digest(kind, sha256_of(document))


def signable_digest(kind: Kind, sha256: str) -> bytes:
    """`signable` of a document whose SHA-256 is at hand."""
    return f"blocker signature 1\n{kind}\n{sha256}\n".encode()


def sign(kind: Kind, document: bytes, signer: Signer) -> str:
    """The signature, hexadecimal."""
    return signer.sign(signable(kind, document)).hex()


def signed_by(kind: Kind, document: bytes, key: str, signature: str) -> bool:
    """Is it this key's signature of this document of this kind? False for anything malformed, too."""
    if _KEY.match(key) is None or _SIGNATURE.match(signature) is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
            bytes.fromhex(signature), signable(kind, document)
        )
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class OfficerList:
    """The verified officers with their history; made by `verify_genesis` and `after` only.

    `head` is the digest of the last document, `history` holds the active officers (id -> key) after each change,
    the genesis first. `known` holds every id's last key, `used` every key there ever was.
    """

    authority: str
    training: bool
    head: str
    history: tuple[dict[str, str], ...]
    known: dict[str, str]
    used: frozenset[str]

    @property
    def length(self) -> int:
        """How many changes there were."""
        return len(self.history) - 1

    def active(self) -> tuple[Officer, ...]:
        """The officers who may act now, by id."""
        return tuple(Officer(id, key) for id, key in sorted(self.history[-1].items()))

    def key_of(self, officer: str, at: int | None = None) -> str | None:
        """The key of an officer active after change number `at` (default: the last), else None."""
        return self.history[self.length if at is None else at].get(officer)

    def check(self, change: OfficerChange) -> None:
        """Could this be the next change? Raises Rejected with the reason."""
        who, step = change.officer, change.step
        active, key = who.id in self.history[-1], self.known.get(who.id)
        if (change.authority, change.previous, change.number) != (self.authority, self.head, self.length + 1):
            raise Rejected(
                _("the officer list has changed since this change of {id} was written").format(id=who.id),
                rule="officer.order",
                then=_("propose it anew"),
            )
        wrong = ""
        if step is Step.ADD and key is not None:
            wrong = _("officer {id} is already on the list")
        elif step is not Step.ADD and key is None:
            wrong = _("officer {id} is not on the list")
        elif step in (Step.ADD, Step.ROTATE) and who.key in self.used:
            wrong = _("officer {id}: this key has been used before")
        elif step in (Step.DISABLE, Step.ROTATE) and not active:
            wrong = _("officer {id} is not active")
        elif step is Step.ENABLE and active:
            wrong = _("officer {id} is active already")
        elif step in (Step.DISABLE, Step.ENABLE) and who.key != key:
            wrong = _("officer {id}: that is not the key on the list")
        elif step is Step.DISABLE and len(self.history[-1]) <= FEWEST_OFFICERS:
            wrong = _("officer {id} cannot be disabled: two officers must remain")
        if wrong:
            raise Rejected(wrong.format(id=who.id), rule="officer.change")

    def after(self, change: SignedChange) -> "OfficerList":
        """The list with one more change; raises Untrusted if it is not the next or not signed by two others."""
        step = OfficerChange.of_bytes(change.document)
        try:
            self.check(step)
        except Rejected as error:
            raise Untrusted(error.what) from None
        who, active = step.officer, self.history[-1]
        good = {
            officer
            for officer, signature in change.signatures
            if officer != who.id and signed_by(Kind.CHANGE, change.document, active.get(officer, ""), signature)
        }
        if len(good) < SIGNATURES_PER_CHANGE:
            raise Untrusted(
                _("change {n} of officer {id} is not signed by two other officers").format(n=step.number, id=who.id)
            )
        now = {id: key for id, key in active.items() if id != who.id}
        if step.step is not Step.DISABLE:
            now[who.id] = who.key
        return OfficerList(
            self.authority,
            self.training,
            sha256_of(change.document),
            (*self.history, now),
            {**self.known, who.id: who.key},
            self.used | {who.key},
        )


def verify_genesis(signed: SignedGenesis, root_keys: Collection[str], threshold: int) -> OfficerList:
    """The first list; raises Untrusted unless `threshold` different root keys signed it."""
    good = {
        key
        for key, signature in signed.signatures
        if key in root_keys and signed_by(Kind.GENESIS, signed.document, key, signature)
    }
    if threshold < 1 or len(good) < threshold:
        raise Untrusted(
            _("the first officer list carries {n} good root signatures and needs {threshold}").format(
                n=len(good), threshold=threshold
            )
        )
    return unsigned_list(signed.document)


def unsigned_list(document: bytes) -> OfficerList:
    """The first list without its root signatures; for the authority's own bookkeeping, never for trust."""
    genesis = Genesis.of_bytes(document)
    keys = {officer.id: officer.key for officer in genesis.officers}
    return OfficerList(
        genesis.authority, genesis.training, sha256_of(document), (keys,), dict(keys), frozenset(keys.values())
    )


def verify(
    signed: SignedGenesis, root_keys: Collection[str], threshold: int, changes: Iterable[SignedChange]
) -> OfficerList:
    """The list after all changes; raises Untrusted at the first one that does not hold."""
    officers = verify_genesis(signed, root_keys, threshold)
    for change in changes:
        officers = officers.after(change)
    return officers


def _same(found: _T, canonical: bytes, data: bytes) -> _T:
    if canonical != data:
        raise Untrusted(_("this document is not in canonical form"))
    return found
