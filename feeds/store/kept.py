"""The directory of one accepted release: how it is written, read back and checked."""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import zstandard

from feeds import canonical, durable
from feeds.collector import without_collector
from feeds.errors import Untrusted
from feeds.language import _
from feeds.manifest import MAX_MANIFEST_BYTES, Manifest
from feeds.release import Release
from feeds.rule import Rule

MAX_NOTE_BYTES = 1 << 20
NAME = re.compile(r"(\d{7})-([0-9a-f]{16})\Z")
# Written once a pull, read by this machine alone: speed counts for more than the last percent of size.
_STORE_ZSTD_LEVEL = 3


@dataclass(frozen=True)
class Accepted:
    """A release that passed every check. `refused` counts rules left out of it, by floor rule id.

    `counts` are of what is enforced (`Release.counts`). `damage` says which newer release in the directory is damaged,
    where this is the one before it.
    """

    manifest: Manifest
    accepted_at: datetime
    refused: Mapping[str, int]
    directory: Path
    counts: Mapping[str, int] = field(default_factory=dict)
    damage: str = ""

    def release(self) -> Release:
        """What is enforced; raises Untrusted where the disk changed it, Unavailable where it cannot be read."""
        return _read(self.directory, "release.zst")

    def rules(self) -> Iterator[Rule]:
        """The rules of `release()` one by one, in canonical order.

        The same errors, but the iterator may end with one: believe what it gave only when it has ended well.
        """
        with durable.told(kept=_("what is already loaded stays in force")):
            digest = _note(self.directory)["canonical"]["release.zst"]
            with (self.directory / "release.zst").open("rb") as file:
                hashed = _Hashed(canonical.decompressing(file))
                buffered = io.BufferedReader(hashed, canonical.CHUNK_BYTES)
                yield from canonical.read_rules(buffered, min(digest["size"], canonical.MAX_RELEASE_BYTES))
        _check(hashed, self.directory / "release.zst", digest["sha256"], digest["size"])

    def signed(self) -> Release:
        """What was signed, the base of the next delta; the same as `release()` where nothing was refused."""
        return _read(self.directory, "signed.zst" if (self.directory / "signed.zst").exists() else "release.zst")

    def signed_file(self) -> Path:
        """The zstd file of what was signed."""
        signed = self.directory / "signed.zst"
        return signed if signed.exists() else self.directory / "release.zst"


def fill(
    hidden: Path,
    documents: Mapping[str, bytes],
    signed: Release,
    kept: Release,
    refused: Mapping[str, int],
    now: datetime,
    packed: Path | None,
) -> bytes:
    """Write all files of an accepted release; returns the bytes of its note."""
    manifest: Manifest = Manifest.of_bytes(documents["manifest.json"])
    name_of_signed = "signed.zst" if refused else "release.zst"
    if packed is None:
        _pack(hidden / name_of_signed, signed)
    else:
        shutil.copyfile(packed, hidden / name_of_signed)
        durable.sync_file(hidden / name_of_signed)
    digests = {name_of_signed: canonical.Digest(manifest.digest, manifest.size)}
    if refused:
        digests["release.zst"] = _pack(hidden / "release.zst", kept)
    for name, document in documents.items():
        durable.write_new(hidden / name, [document])
    note = {
        "format": 1,
        "accepted_at": now.astimezone(UTC).isoformat(),
        "refused": dict(refused),
        "counts": kept.counts(),
        "files": {path.name: _file_digest(path) for path in hidden.iterdir()},
        "canonical": {name: {"sha256": digest.sha256, "size": digest.size} for name, digest in digests.items()},
    }
    durable.write_new(hidden / "note.json", [as_bytes(note)])
    return as_bytes(note)


def _pack(path: Path, release: Release) -> canonical.Digest:
    """Write a release as a zstd file, never whole in memory; the digest and size of its canonical bytes."""
    packer = zstandard.ZstdCompressor(level=_STORE_ZSTD_LEVEL, write_checksum=True).chunker()
    hashed, size = hashlib.sha256(), 0

    def frames() -> Iterator[bytes]:
        nonlocal size
        for chunk in canonical.release_chunks(release):
            hashed.update(chunk)
            size += len(chunk)
            yield from packer.compress(chunk)
        yield from packer.finish()  # type: ignore[no-untyped-call] # the library's stub forgets its type

    durable.write_new(path, frames())
    return canonical.Digest(hashed.hexdigest(), size)


def read_accepted(directory: Path, damage: str = "") -> Accepted:
    """Check every file of an accepted release against its note, and the note against the directory's name."""
    note = _note(directory)
    for name, digest in note["files"].items():
        if _file_digest(directory / name) != digest:
            raise Untrusted(_("{name} has changed on disk").format(name=name))
    raw = (directory / "manifest.json").read_bytes()[:MAX_MANIFEST_BYTES]
    manifest: Manifest = Manifest.of_bytes(raw)
    return Accepted(
        manifest,
        datetime.fromisoformat(note["accepted_at"]),
        MappingProxyType({str(rule): int(count) for rule, count in note["refused"].items()}),
        directory,
        MappingProxyType({str(kind): int(count) for kind, count in note["counts"].items()}),
        damage,
    )


def _note(directory: Path) -> dict[str, Any]:
    raw = (directory / "note.json").read_bytes()[:MAX_NOTE_BYTES]
    found = NAME.match(directory.name)
    if found is None or hashlib.sha256(raw).hexdigest()[:16] != found.group(2):
        raise Untrusted(_("{name} has changed on disk").format(name="note.json"))
    note: dict[str, Any] = json.loads(raw)
    return note


def _read(directory: Path, name: str) -> Release:
    with durable.told(kept=_("what is already loaded stays in force")):
        digest = _note(directory)["canonical"][name]
    return read_checked(directory / name, digest["sha256"], digest["size"])


def read_checked(path: Path, sha256: str, size: int) -> Release:
    """The release in a zstd file; raises Untrusted unless its canonical bytes have this digest and size.

    What is decompressed is bounded by `size`, and that by `canonical.MAX_RELEASE_BYTES`.
    """
    with durable.told(kept=_("what is already loaded stays in force")), path.open("rb") as file:
        hashed = _Hashed(canonical.decompressing(file))
        most = min(size, canonical.MAX_RELEASE_BYTES)
        with without_collector():
            release = canonical.read_release(io.BufferedReader(hashed, canonical.CHUNK_BYTES), most)
    _check(hashed, path, sha256, size)
    return release


def _check(hashed: "_Hashed", path: Path, sha256: str, size: int) -> None:
    """Raise Untrusted unless all that was read through `hashed` has this digest and size."""
    if hashed.sha256.hexdigest() != sha256 or hashed.size != size:
        raise Untrusted(
            _("{path}: the rules are not those that were signed").format(path=path.name),
            kept=_("the last good release stays in force"),
            then=_("pull again; if it lasts, tell the authority"),
        )


class _Hashed(io.RawIOBase):
    """A stream that knows the SHA-256 and the size of all that was read through it."""

    def __init__(self, inner: BinaryIO) -> None:
        self._inner = inner
        self.sha256 = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._inner.read(len(buffer))
        self.sha256.update(chunk)
        self.size += len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_bytes(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1).encode() + b"\n"
