"""A feed that can lie: a TUF repository made by hand, with every key at hand, so that tests can sign anything.

`blocker.publishing` makes honest feeds only; what an ISP must survive comes from here.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from feeds import canonical
from feeds.delta import between
from feeds.manifest import BulkStatement, ChainHead, Contact, DecisionRef, DeltaRef, Manifest, bulk_path, delta_path
from feeds.officers import (
    Genesis,
    Kind,
    Officer,
    OfficerChange,
    SignedChange,
    SignedGenesis,
    Step,
    sign,
    unsigned_list,
)
from feeds.release import Release
from feeds.roster import roster_bytes
from feeds.rule import Rule
from tests.rules import AUTHORITY, DECISION, rule

NOW = datetime(2026, 11, 24, 5, 30, tzinfo=UTC)


def many(count: int, start: int = 1, **changes: Any) -> list[Rule]:
    """Rules on `nSTART.test`, `nSTART+1.test`, ..."""
    return [rule(f"n{n}.test", n, **changes) for n in range(start, start + count)]


class OfficerKey:
    """An officer's or root officer's Ed25519 key."""

    def __init__(self) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.tuf = CryptoSigner(self.private)

    @property
    def public_hex(self) -> str:
        raw = self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return raw.hex()

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data)


class TufFeed:
    """`publish` makes the next release; every attribute may be changed before it to make the feed lie."""

    def __init__(self, path: Path, training: bool = True, now: datetime = NOW) -> None:
        self.path = path
        self.training = training
        self.authority = AUTHORITY
        self.now = now
        self.life = timedelta(days=2)
        self.roots = [OfficerKey() for _n in range(3)]
        self.officers = [OfficerKey() for _n in range(3)]
        self.certified: Sequence[OfficerKey] = self.officers
        self.officer_changes: Sequence[SignedChange] = ()
        self.delegated: Sequence[OfficerKey] = self.officers
        self.roots_signing: Sequence[OfficerKey] = self.roots[:2]
        self.online = {role: CryptoSigner.generate_ed25519() for role in ("targets", "snapshot", "timestamp")}
        self.releases: list[Release] = []
        self.files: dict[str, bytes] = {}
        self.deltas: list[DeltaRef] = []
        self.statements: dict[str, bytes] = {}
        self.bulk_signers: Sequence[OfficerKey] = ()
        self.bulk_version = 0
        self.version = 0
        self.root_version = 0
        self.decisions = (DECISION, "7/QĐ-UBND")
        for folder in ("metadata", "targets/deltas", "targets/bulk"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        self.sign_root()

    @property
    def url(self) -> str:
        return self.path.as_uri() + "/"

    @property
    def anchor(self) -> bytes:
        return (self.path / "metadata" / "1.root.json").read_bytes()

    def sign_root(self, signers: Sequence[OfficerKey] | None = None) -> None:
        """The next version of the root metadata."""
        self.root_version += 1
        root = Root(version=self.root_version, expires=self.now + timedelta(days=365), consistent_snapshot=True)
        for key in self.roots:
            root.add_key(key.tuf.public_key, "root")
        root.roles["root"].threshold = 2
        for role, signer in self.online.items():
            root.add_key(signer.public_key, role)
        self._write(f"{self.root_version}.root", root, [key.tuf for key in signers or self.roots[:2]])

    def rule_set(self, rules: Iterable[Rule]) -> Release:
        serial = self.releases[-1].serial + 1 if self.releases else 1
        return Release.of(self.authority, serial, rules)

    def publish(self, rules: Iterable[Rule], now: datetime | None = None, **manifest: Any) -> Manifest:
        """Sign the next release; `manifest` are fields that say something else than the truth."""
        self.now = now or self.now
        release = self.rule_set(rules)
        return self.publish_release(release, **manifest)

    def publish_release(self, release: Release, **manifest: Any) -> Manifest:
        old = self.releases[-1] if self.releases else None
        self.releases.append(release)
        digest = canonical.digest(release)
        self.files["release.zst"] = canonical.compress(canonical.release_chunks(release), digest.size)
        if old is not None and old.serial < release.serial:
            delta = between(old, release)
            size = canonical.digest_of(canonical.delta_chunks(delta)).size
            self.files[delta_path(old.serial, release.serial)] = canonical.compress(canonical.delta_chunks(delta), size)
            self.deltas.append(
                DeltaRef(
                    from_serial=old.serial,
                    to_serial=release.serial,
                    size=size,
                    removed=len(delta.removed),
                    added=len(delta.added),
                )
            )
        fields: dict[str, Any] = {
            "authority": self.authority,
            "authority_name": "Sở Khoa học và Công nghệ",
            "serial": release.serial,
            "issued": self.now,
            "training": self.training,
            "digest": digest.sha256,
            "size": digest.size,
            "counts": release.counts(),
            "deltas": tuple(self.deltas[-64:]),
            "bulk": tuple(self.statements),
            "contact": Contact(email="khieunai@so.example", name="Sở"),
            "decisions": tuple(
                DecisionRef(
                    notation=notation,
                    agency="Sở",
                    number=notation,
                    date="2026-11-01",
                    legal_basis="NĐ 15/2020/NĐ-CP",
                    contact="khieunai@so.example",
                )
                for notation in self.decisions
            ),
            "chain": ChainHead(length=1, hash="0" * 64),
        }
        made = Manifest(**{**fields, **manifest})
        self.files["manifest.json"] = made.to_bytes()
        self.sign()
        return made

    def allow(self, removed: int, added: int, signers: Sequence[OfficerKey] | None = None, span: int = 1) -> None:
        """A bulk statement for the next release."""
        last = self.releases[-1].serial
        statement = BulkStatement(
            authority=self.authority,
            from_serial=last,
            to_serial=last + span,
            removed=removed,
            added=added,
            reason="court ruling",
            made=self.now,
        )
        self.statements[bulk_path(last, last + span)] = statement.to_bytes()
        self.bulk_signers = self.officers[:2] if signers is None else signers
        self.bulk_version += 1

    def sign(self) -> None:
        """Write all target files, and sign targets, officers, snapshot and, last, timestamp."""
        self.files["officers.json"] = self._officer_list()
        targets = {path: self._target(path, data) for path, data in self.files.items()}
        self.version = max(self.version + 1, int(self.now.timestamp()))
        keys = {key.tuf.public_key.keyid: key.tuf.public_key for key in self.delegated}
        role = DelegatedRole("officers", sorted(keys), 2, terminating=True, paths=["bulk/*"])
        made = Targets(self.version, None, self.now + self.life, targets, Delegations(keys, {"officers": role}))
        meta = {"targets.json": self._write(f"{self.version}.targets", made, [self.online["targets"]])}
        if self.statements:
            listed = {path: self._target(path, data) for path, data in self.statements.items()}
            bulk = Targets(self.bulk_version, None, self.now + self.life, listed)
            meta["officers.json"] = self._write(
                f"{self.bulk_version}.officers", bulk, [key.tuf for key in self.bulk_signers]
            )
        snapshot = self._write(
            f"{self.version}.snapshot",
            Snapshot(self.version, None, self.now + self.life, meta),
            [self.online["snapshot"]],
        )
        self._write(
            "timestamp", Timestamp(self.version, None, self.now + self.life, snapshot), [self.online["timestamp"]]
        )

    def target_file(self, path: str) -> Path:
        """Where a target's file lies now."""
        target = TargetFile.from_data(path, self.files[path], ["sha256"])
        folder, slash, name = path.rpartition("/")
        return self.path / "targets" / f"{folder}{slash}{target.hashes['sha256']}.{name}"

    def disable(self, number: int) -> None:
        """The other officers take this one off the list, as the next change."""
        change = OfficerChange(
            self.authority,
            1,
            unsigned_list(self._genesis()).head,
            Step.DISABLE,
            Officer(f"officer-{number}", self.certified[number].public_hex),
            NOW,
        ).to_bytes()
        others = [n for n in range(len(self.certified)) if n != number]
        signatures = tuple((f"officer-{n}", sign(Kind.CHANGE, change, self.certified[n])) for n in others)
        self.officer_changes = (SignedChange(change, signatures),)

    def _genesis(self) -> bytes:
        officers = (Officer(f"officer-{n}", key.public_hex) for n, key in enumerate(self.certified))
        return Genesis(self.authority, self.training, NOW, tuple(officers)).to_bytes()

    def _officer_list(self) -> bytes:
        genesis = self._genesis()
        signatures = tuple((key.public_hex, sign(Kind.GENESIS, genesis, key)) for key in self.roots_signing)
        return roster_bytes(SignedGenesis(genesis, signatures), self.officer_changes)

    def _target(self, path: str, data: bytes) -> TargetFile:
        target = TargetFile.from_data(path, data, ["sha256"])
        folder, slash, name = path.rpartition("/")
        (self.path / "targets" / f"{folder}{slash}{target.hashes['sha256']}.{name}").write_bytes(data)
        return target

    def _write(self, name: str, signed: Any, signers: Iterable[CryptoSigner]) -> MetaFile:
        made = Metadata(signed)
        for signer in signers:
            made.sign(signer, append=True)
        data = made.to_bytes()
        (self.path / "metadata" / f"{name}.json").write_bytes(data)
        return MetaFile.from_data(signed.version, data, ["sha256"])
