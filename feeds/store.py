"""The ISP's state directory: atomic, locked, crash-safe.

    settings.json      where the feed is, which anchor was given, training or not
    root.json          the trust anchor: the root metadata that the engineer gave
    tuf/               metadata cache of the TUF client
    releases/SERIAL-DIGEST/
        note.json      when it was accepted, what was refused, digests of the files beside it
        manifest.json  as signed, with root.json and targets.json, which prove it
        release.zst    what is enforced
        signed.zst     what was signed, where the floor or a missing decision refused a part of it
    current            symbolic link to one of them; switched by one rename
    held.json          the change that the brake holds back
    clock              the latest time ever seen
    counters.json      pulls by result
    lock               flock; whoever changes anything here holds it

DIGEST in a directory's name is of its note.json, which holds the digests of the other files: so a truncated or
changed file is found, whichever it is, and the release before it, which is kept, takes its place.
"""

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Self

import zstandard

from feeds import canonical, durable
from feeds.errors import Rejected, Unavailable, Untrusted
from feeds.language import _
from feeds.manifest import MAX_MANIFEST_BYTES, Manifest
from feeds.release import Release

DEFAULT_PATH = Path("/var/lib/blocker/feed")
CLOCK_STEP = timedelta(minutes=1)
MAX_NOTE_BYTES = 1 << 20
# Written once a pull, read by this machine alone: speed counts for more than the last percent of size.
_STORE_ZSTD_LEVEL = 3
_GENERATIONS = 2
_NAME = re.compile(r"(\d{7})-([0-9a-f]{16})\Z")


@dataclass(frozen=True)
class Accepted:
    """A release that passed every check. `refused` counts rules left out of it, by floor rule id.

    `damage` says which newer release in the directory is damaged, where this is the one before it.
    """

    manifest: Manifest
    accepted_at: datetime
    refused: Mapping[str, int]
    directory: Path
    damage: str = ""

    def release(self) -> Release:
        """What is enforced; raises Untrusted where the disk changed it, Unavailable where it cannot be read."""
        return _read(self.directory, "release.zst")

    def signed(self) -> Release:
        """What was signed, the base of the next delta; the same as `release()` where nothing was refused."""
        return _read(self.directory, "signed.zst" if (self.directory / "signed.zst").exists() else "release.zst")

    def signed_file(self) -> Path:
        """The zstd file of what was signed."""
        signed = self.directory / "signed.zst"
        return signed if signed.exists() else self.directory / "release.zst"


@dataclass(frozen=True)
class HeldChange:
    """A correctly signed release that the brake holds back."""

    serial: int
    digest: str
    from_serial: int
    removed: int
    added: int
    reasons: tuple[str, ...]
    since: datetime

    def as_json(self) -> dict[str, object]:
        return {**vars(self), "reasons": list(self.reasons), "since": self.since.isoformat()}


@dataclass
class Store:
    """One state directory. Reading needs no lock: what is there is always whole."""

    path: Path
    _latest: datetime | None = field(default=None, repr=False)

    @classmethod
    def create(cls, path: Path, *, url: str, root: bytes, training: bool) -> Self:
        """Set up the directory, or repair its settings; raises Rejected where it already follows another feed."""
        store = cls(path)
        settings = {"format": 1, "url": url, "training": training, "root_sha256": hashlib.sha256(root).hexdigest()}
        with durable.told(kept=_("nothing was changed")):
            (path / "releases").mkdir(parents=True, exist_ok=True)
            (path / "tuf").mkdir(exist_ok=True)
            with store.lock():
                old = _json(path / "settings.json")
                if old is not None and old != settings:
                    raise Rejected(
                        _("{path} already follows {url}").format(path=path, url=old.get("url")),
                        kept=_("nothing was changed"),
                        then=_("choose another directory with --state, or remove this one first"),
                        rule="store.exists",
                    )
                durable.write(path / "root.json", root)
                durable.write(path / "settings.json", _bytes(settings))
        return store

    @property
    def exists(self) -> bool:
        """Was the directory ever set up?"""
        return (self.path / "settings.json").exists()

    def settings(self) -> dict[str, Any]:
        """`url`, `training`; raises Unavailable where the directory was never set up or is damaged."""
        found = _json(self.path / "settings.json")
        if found is None:
            known = (self.path / "settings.json").exists()
            raise Unavailable(
                _("{path}: the settings are damaged").format(path=self.path)
                if known
                else _("{path} is not set up").format(path=self.path),
                kept=_("accepted releases, if there are any, stay in force"),
                then=_("run: blocker feed init --root ROOT_FILE URL --state {path}").format(path=self.path),
            )
        return found

    @property
    def url(self) -> str:
        return str(self.settings()["url"])

    @property
    def training(self) -> bool:
        return bool(self.settings()["training"])

    def root(self) -> bytes:
        """The trust anchor; raises Untrusted where the disk changed it."""
        settings = self.settings()
        with durable.told(), (self.path / "root.json").open("rb") as file:
            root = file.read(MAX_NOTE_BYTES)
        if hashlib.sha256(root).hexdigest() != settings.get("root_sha256"):
            raise Untrusted(
                _("{path}: the trust anchor is damaged").format(path=self.path / "root.json"),
                kept=_("the release in force is as before"),
                then=_("run `blocker feed init` again with the root file that the authority gave you"),
            )
        return root

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for a change; raises Unavailable when another process holds it."""
        with durable.told(), (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unavailable(
                    _("{path} is in use by another blocker process").format(path=self.path),
                    kept=_("nothing was changed"),
                    then=_("wait until it has finished; `blocker feed follow` pulls by itself"),
                ) from None
            for rest in (*self.path.glob(durable.UNFINISHED + "*"), *self.path.glob(f"*/{durable.UNFINISHED}*")):
                shutil.rmtree(rest) if rest.is_dir() and not rest.is_symlink() else rest.unlink(missing_ok=True)
            yield

    def accepted(self) -> Accepted | None:
        """The last good release, or None before the first; raises Unavailable where none of them is whole."""
        damage = ""
        candidates = self._candidates()
        for directory in candidates:
            try:
                return _accepted(directory, damage)
            except (Untrusted, OSError) as error:
                why = error.what if isinstance(error, Untrusted) else str(error.strerror or error)
                damage = damage or _("{path} is damaged: {why}").format(path=directory, why=why)
        if candidates:
            raise Unavailable(
                _("no release in {path} is whole: {damage}").format(path=self.path, damage=damage),
                kept=_("what is already loaded elsewhere stays in force"),
                then=_("run `blocker feed pull` to fetch it again"),
            )
        return None

    def token(self) -> tuple[int, int] | None:
        """Changes whenever another release is accepted; costs one lstat."""
        try:
            found = os.lstat(self.path / "current")
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def highest_serial(self) -> int:
        """The highest serial ever accepted here, damaged or not; 0 before the first."""
        return max((int(d.name[:7]) for d in self._directories()), default=0)

    def clock(self, now: datetime) -> datetime:
        """`now`, but never earlier than any time seen before, here or by another process of this machine.

        A machine that boots without its clock must neither revive lapsed rules nor trust an expired feed.
        """
        latest = max((m for m in (self._latest, self._kept_clock()) if m is not None), default=None)
        if latest is None or now > latest:
            if latest is None or self._latest is None or now - latest >= CLOCK_STEP:
                # A directory that this process may only read is still enforced.
                with suppress(OSError):
                    durable.write(self.path / "clock", now.astimezone(UTC).isoformat().encode() + b"\n")
            latest = now
        self._latest = latest
        return latest

    def _kept_clock(self) -> datetime | None:
        with suppress(OSError, ValueError, UnicodeDecodeError):
            kept = datetime.fromisoformat((self.path / "clock").read_text("ascii").strip())
            if kept.tzinfo is not None:
                return kept
        return None

    def accept(
        self,
        documents: Mapping[str, bytes],
        signed: Release,
        kept: Release,
        refused: Mapping[str, int],
        now: datetime,
        packed: Path | None = None,
    ) -> Accepted:
        """Make this the release in force; the caller holds the lock and has checked everything.

        `documents`: `manifest.json` as it was signed, and `root.json` and `targets.json`, which prove it.
        `packed` is a zstd file of `signed`, if there is one already. Raises Unavailable (disk), the old one untouched.
        """
        manifest: Manifest = Manifest.of_bytes(documents["manifest.json"])
        with durable.told():
            hidden = self.path / "releases" / f"{durable.UNFINISHED}{os.getpid()}"
            hidden.mkdir()
            try:
                note = _fill(hidden, documents, signed, kept, refused, now, packed)
                name = f"{manifest.serial:07d}-{hashlib.sha256(note).hexdigest()[:16]}"
                durable.sync_directory(hidden)
                os.rename(hidden, self.path / "releases" / name)
            except BaseException:
                shutil.rmtree(hidden, ignore_errors=True)
                raise
            durable.sync_directory(self.path / "releases")
            before = self._candidates()
            durable.relink(self.path / "current", f"releases/{name}")
            self._thin(name, before)
            self.release_held()
        return _accepted(self.path / "releases" / name, "")

    def held(self) -> HeldChange | None:
        """What the brake holds back, if it does."""
        found = _json(self.path / "held.json")
        try:
            return (
                HeldChange(
                    int(found["serial"]),
                    str(found["digest"]),
                    int(found["from_serial"]),
                    int(found["removed"]),
                    int(found["added"]),
                    tuple(map(str, found["reasons"])),
                    datetime.fromisoformat(found["since"]),
                )
                if found
                else None
            )
        except (KeyError, TypeError, ValueError):
            return None

    def hold(self, change: HeldChange) -> None:
        """Remember what the brake holds back, for `status` and for the engineer who accepts it by name."""
        with durable.told():
            durable.write(self.path / "held.json", _bytes(change.as_json()))

    def release_held(self) -> None:
        """Forget what was held."""
        with durable.told():
            (self.path / "held.json").unlink(missing_ok=True)

    def _directories(self) -> list[Path]:
        with suppress(FileNotFoundError), durable.told():
            return [d for d in (self.path / "releases").iterdir() if _NAME.match(d.name)]
        return []

    def _candidates(self) -> list[Path]:
        """The release in force first, then the others, highest serial first."""
        found = sorted(self._directories(), key=lambda d: d.name, reverse=True)
        with suppress(OSError):
            current = Path(os.readlink(self.path / "current")).name
            found.sort(key=lambda d: d.name != current)
        return found

    def _thin(self, name: str, before: list[Path]) -> None:
        """Keep the release in force and the last whole one before it."""
        keep = {name}
        for directory in before:
            if len(keep) >= _GENERATIONS:
                break
            with suppress(Untrusted, OSError):
                if directory.name not in keep:
                    _accepted(directory, "")
                    keep.add(directory.name)
        for directory in before:
            if directory.name not in keep:
                shutil.rmtree(directory, ignore_errors=True)


def _fill(
    hidden: Path,
    documents: Mapping[str, bytes],
    signed: Release,
    kept: Release,
    refused: Mapping[str, int],
    now: datetime,
    packed: Path | None,
) -> bytes:
    """Write all files of an accepted release; returns the bytes of its note."""
    whole = not refused
    manifest: Manifest = Manifest.of_bytes(documents["manifest.json"])
    if packed is None:
        _pack(hidden / ("release.zst" if whole else "signed.zst"), signed, manifest.size)
    else:
        shutil.copyfile(packed, hidden / ("release.zst" if whole else "signed.zst"))
        durable.sync_file(hidden / ("release.zst" if whole else "signed.zst"))
    digests = {"release.zst" if whole else "signed.zst": canonical.Digest(manifest.digest, manifest.size)}
    if not whole:
        digests["release.zst"] = canonical.digest(kept)
        _pack(hidden / "release.zst", kept, digests["release.zst"].size)
    for name, document in documents.items():
        durable.write_new(hidden / name, [document])
    note = {
        "format": 1,
        "accepted_at": now.astimezone(UTC).isoformat(),
        "refused": dict(refused),
        "files": {path.name: _file_digest(path) for path in hidden.iterdir()},
        "canonical": {name: {"sha256": digest.sha256, "size": digest.size} for name, digest in digests.items()},
    }
    durable.write_new(hidden / "note.json", [_bytes(note)])
    return _bytes(note)


def _pack(path: Path, release: Release, size: int) -> None:
    """Write a release as a zstd file, never whole in memory."""
    packer = zstandard.ZstdCompressor(level=_STORE_ZSTD_LEVEL, write_checksum=True).chunker(size=size)

    def frames() -> Iterator[bytes]:
        for chunk in canonical.release_chunks(release):
            yield from packer.compress(chunk)
        yield from packer.finish()  # type: ignore[no-untyped-call] # the library's stub forgets its type

    durable.write_new(path, frames())


def _accepted(directory: Path, damage: str) -> Accepted:
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
        damage,
    )


def _note(directory: Path) -> dict[str, Any]:
    raw = (directory / "note.json").read_bytes()[:MAX_NOTE_BYTES]
    found = _NAME.match(directory.name)
    if found is None or hashlib.sha256(raw).hexdigest()[:16] != found.group(2):
        raise Untrusted(_("{name} has changed on disk").format(name="note.json"))
    note: dict[str, Any] = json.loads(raw)
    return note


def _read(directory: Path, name: str) -> Release:
    """Read canonical bytes and compare their digest with the note's."""
    with durable.told(kept=_("what is already loaded stays in force")):
        digest = _note(directory)["canonical"][name]
        with (directory / name).open("rb") as file:
            hashed = _Hashed(canonical.decompressing(file))
            release = canonical.read_release(io.BufferedReader(hashed, canonical.CHUNK_BYTES), digest["size"])
    if hashed.sha256.hexdigest() != digest["sha256"]:
        raise Untrusted(_("{name} has changed on disk").format(name=directory / name))
    return release


class _Hashed(io.RawIOBase):
    """A stream that knows the SHA-256 of all that was read through it."""

    def __init__(self, inner: BinaryIO) -> None:
        self._inner = inner
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._inner.read(len(buffer))
        self.sha256.update(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(path: Path) -> dict[str, Any] | None:
    """A small file of ours; None where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_NOTE_BYTES))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _bytes(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1).encode() + b"\n"
