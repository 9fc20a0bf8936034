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
    resolver.image     the release compiled by the resolver, so that its next start need not (`resolver.image`)
    lock               flock; whoever changes anything here holds it

DIGEST in a directory's name is of its note.json, which holds the digests of the other files: so a truncated or
changed file is found, whichever it is, and the release before it, which is kept, takes its place.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from feeds import durable
from feeds.errors import Rejected, Unavailable, Untrusted
from feeds.language import _
from feeds.manifest import Manifest
from feeds.release import Release
from feeds.store.kept import MAX_NOTE_BYTES, NAME, Accepted, as_bytes, fill, read_accepted, read_checked

__all__ = ["Accepted", "HeldChange", "Store", "read_checked"]

DEFAULT_PATH = Path("/var/lib/blocker/feed")
CLOCK_STEP = timedelta(minutes=1)
_GENERATIONS = 2


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
        """Set up the directory, repair it or change its URL; raises Rejected where it has another root or kind."""
        store = cls(path)
        settings = {"format": 1, "url": url, "training": training, "root_sha256": hashlib.sha256(root).hexdigest()}
        with durable.told(kept=_("nothing was changed")):
            (path / "releases").mkdir(parents=True, exist_ok=True)
            (path / "tuf").mkdir(exist_ok=True)
            with store.lock():
                old = _json(path / "settings.json")
                # The address may change; trust and kind may not.
                if old is not None and {**old, "url": url} != settings:
                    raise Rejected(
                        _("{path} already follows {url} under another root or of another kind").format(
                            path=path, url=old.get("url")
                        ),
                        kept=_("nothing was changed"),
                        then=_("choose another directory with --state, or remove this one first"),
                        rule="store.exists",
                    )
                durable.write(path / "root.json", root)
                durable.write(path / "settings.json", as_bytes(settings))
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
            # What a killed process left: ours, and the TUF library's temporary files.
            unfinished = (f"{durable.UNFINISHED}*", f"*/{durable.UNFINISHED}*", "tuf/tmp*")
            for rest in (path for pattern in unfinished for path in self.path.glob(pattern)):
                shutil.rmtree(rest) if rest.is_dir() and not rest.is_symlink() else rest.unlink(missing_ok=True)
            yield

    def accepted(self) -> Accepted | None:
        """The last good release, or None before the first; raises Unavailable where none of them is whole."""
        damage = ""
        candidates = self._candidates()
        for directory in candidates:
            try:
                return read_accepted(directory, damage)
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
                note = fill(hidden, documents, signed, kept, refused, now, packed)
                name = f"{manifest.serial:07d}-{hashlib.sha256(note).hexdigest()[:16]}"
                durable.sync_directory(hidden)
                self._place(hidden, name)
            except BaseException:
                shutil.rmtree(hidden, ignore_errors=True)
                raise
            durable.sync_directory(self.path / "releases")
            before = self._candidates()
            durable.relink(self.path / "current", f"releases/{name}")
            self._thin(name, before)
            self.release_held()
        return read_accepted(self.path / "releases" / name)

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
            durable.write(self.path / "held.json", as_bytes(change.as_json()))

    def release_held(self) -> None:
        """Forget what was held."""
        with durable.told():
            (self.path / "held.json").unlink(missing_ok=True)

    def remember(self, name: str, value: Mapping[str, object]) -> None:
        """Keep a small document beside the releases (`history.json`, `counters.json`); a full disk is no failure."""
        with suppress(OSError):
            durable.write(self.path / name, as_bytes(value))

    def remembered(self, name: str) -> dict[str, Any]:
        """What `remember` kept; empty where there is nothing or it is damaged."""
        return _json(self.path / name) or {}

    def expires(self) -> datetime | None:
        """When the feed's last verified timestamp expires; None before the first pull."""
        signed = self.remembered("tuf/timestamp.json").get("signed")
        with suppress(KeyError, TypeError, ValueError):
            return datetime.fromisoformat(dict(signed or {})["expires"]).astimezone(UTC)
        return None

    def status(self) -> dict[str, object]:
        """How the directory stands, as `--json` prints it; raises Unavailable where it is not set up."""
        settings = self.settings()
        accepted, held = self.accepted(), self.held()
        data: dict[str, object] = {
            "state": str(self.path),
            "url": settings.get("url"),
            "training": settings.get("training"),
            "serial": None,
            "expires": _text(self.expires()),
            "held": held.as_json() if held else None,
            "pulls": self.counts(),
        }
        if accepted is not None:
            manifest = accepted.manifest
            data |= {
                "serial": manifest.serial,
                "authority": manifest.authority,
                "authority_name": manifest.authority_name,
                "digest": manifest.digest,
                "issued": _text(manifest.issued),
                "accepted": _text(accepted.accepted_at),
                "counts": dict(accepted.counts),
                "refused": dict(accepted.refused),
                "damage": accepted.damage,
            }
        return data

    def count(self, result: str) -> None:
        """One more pull with this result."""
        counts = self.counts()
        counts[result] = counts.get(result, 0) + 1
        self.remember("counters.json", {"pulls": counts})

    def counts(self) -> dict[str, int]:
        """Pulls by result since the directory was set up."""
        kept = self.remembered("counters.json").get("pulls")
        if not isinstance(kept, dict):
            return {}
        return {str(result): n for result, n in kept.items() if isinstance(n, int) and n >= 0}

    @property
    def tuf(self) -> Path:
        """The metadata cache of the TUF client."""
        return self.path / "tuf"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory for one pull's downloads, on the same disk; the caller holds the lock."""
        path = self.path / f"{durable.UNFINISHED}pull-{os.getpid()}"
        with durable.told():
            path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _directories(self) -> list[Path]:
        with suppress(FileNotFoundError), durable.told():
            return [d for d in (self.path / "releases").iterdir() if NAME.match(d.name)]
        return []

    def _candidates(self) -> list[Path]:
        """The release in force first, then the others, highest serial first."""
        found = sorted(self._directories(), key=lambda d: d.name, reverse=True)
        with suppress(OSError):
            current = Path(os.readlink(self.path / "current")).name
            found.sort(key=lambda d: d.name != current)
        return found

    def _place(self, hidden: Path, name: str) -> None:
        """Give a finished directory its name. A pull that was killed may have left the very same one there already."""
        place = self.path / "releases" / name
        if place.exists():
            try:
                read_accepted(place)
            except (Untrusted, OSError):
                shutil.rmtree(place)
            else:
                shutil.rmtree(hidden)
                return
        os.rename(hidden, place)

    def _thin(self, name: str, before: list[Path]) -> None:
        """Keep the release in force and the last whole one before it."""
        keep = {name}
        for directory in before:
            if len(keep) >= _GENERATIONS:
                break
            with suppress(Untrusted, OSError):
                if directory.name not in keep:
                    read_accepted(directory)
                    keep.add(directory.name)
        for directory in before:
            if directory.name not in keep:
                shutil.rmtree(directory, ignore_errors=True)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _json(path: Path) -> dict[str, Any] | None:
    """A small file of ours; None where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_NOTE_BYTES))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
