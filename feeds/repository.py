"""Reading a signed TUF repository of static files.

    URL/metadata/timestamp.json, N.root.json, N.snapshot.json, N.targets.json, N.officers.json
    URL/targets/HASH.manifest.json, HASH.release.zst, deltas/HASH.A-B.zst, bulk/HASH.A-B.json, HASH.officers.json

python-tuf's Updater verifies (TUF specification section 5: root chain, rollback, freeze, mix and match, lengths,
hashes); `feeds.fetching` carries the bytes. Its errors become Stale, Untrusted and Unavailable here.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from feeds.errors import Failure, Rejected, Stale, Unavailable, Untrusted
from feeds.language import _
from feeds.manifest import MANIFEST_PATH, MAX_MANIFEST_BYTES

METADATA = "metadata/"
TARGETS = "targets/"
TIMESTAMP = METADATA + "timestamp.json"
OFFICERS_ROLE = "officers"
OFFICERS_PATH = "officers.json"
MAX_ROOT_BYTES = 512_000
MAX_TIMESTAMP_BYTES = 16_384
MAX_SNAPSHOT_BYTES = 2_000_000
MAX_TARGETS_BYTES = 5_000_000
MAX_ROOT_ROTATIONS = 64
MAX_DELEGATIONS = 4
MAX_OFFICERS_BYTES = 4 << 20
MAX_BULK_BYTES = 64 << 10
MAX_FILE_BYTES = 512 << 20

# Whatever a feed names, only these are asked for: nothing in a name can lead out of a directory.
_PATHS = re.compile(
    r"manifest\.json|release\.zst|officers\.json|(?:deltas/\d{1,7}-\d{1,7}\.zst)|(?:bulk/\d{1,7}-\d{1,7}\.json)"
)
_CONFIG = UpdaterConfig(
    max_root_rotations=MAX_ROOT_ROTATIONS,
    max_delegations=MAX_DELEGATIONS,
    root_max_length=MAX_ROOT_BYTES,
    timestamp_max_length=MAX_TIMESTAMP_BYTES,
    snapshot_max_length=MAX_SNAPSHOT_BYTES,
    targets_max_length=MAX_TARGETS_BYTES,
)


@dataclass(frozen=True, slots=True)
class OfficersRole:
    """The delegated role that signs bulk statements: its targets, what was signed, and by which public keys."""

    targets: dict[str, TargetFile]
    document: bytes
    signatures: dict[str, tuple[str, str]]  # key id -> (public key, signature), hexadecimal


class Repository:
    """One look at a feed: everything read through it belongs to one snapshot."""

    def __init__(
        self, url: str, cache: Path, scratch: Path, anchor: bytes, fetcher: FetcherInterface, now: datetime
    ) -> None:
        """`cache` keeps verified metadata between pulls, `scratch` may be thrown away after this one; both exist.

        `anchor` is the root metadata that the engineer gave.
        """
        self._cache = cache
        self.scratch = scratch
        base = url if url.endswith("/") else url + "/"
        with _failures():
            self._updater = Updater(
                str(cache), base + METADATA, None, base + TARGETS, fetcher, _CONFIG, bootstrap=anchor
            )
        # The library reads the machine's clock; ours never goes backwards, so that an expired feed stays expired.
        self._updater._trusted_set.reference_time = now.astimezone(UTC)

    def refresh(self) -> None:
        """Fetch and verify the metadata; raises Stale, Untrusted or Unavailable."""
        with _failures():
            self._updater.refresh()

    @property
    def expires(self) -> datetime:
        """When the timestamp expires, and with it the feed if nothing newer comes."""
        return self._updater._trusted_set.timestamp.expires

    @property
    def root(self) -> Root:
        """The newest verified root."""
        return self._updater._trusted_set.root

    def manifest(self) -> bytes:
        """The signed bytes of the manifest."""
        found = self.read(MANIFEST_PATH, MAX_MANIFEST_BYTES)
        if found is None:
            raise Untrusted(
                _("the feed carries no manifest"),
                kept=kept(),
                then=_("ask the authority whether the feed has been published yet"),
            )
        return found

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """A small target of the top-level role; None if the feed has none by this name."""
        target = self.target(path)
        if target is None:
            return None
        return self._fetch(target, self.scratch / "target", max_bytes).read_bytes()

    def target(self, path: str) -> TargetFile | None:
        """What the top-level role signed about this path: never what a delegated role says."""
        _check_path(path)
        return self._updater._trusted_set.targets.targets.get(path)

    def fetch(self, target: TargetFile, to: Path, max_bytes: int = MAX_FILE_BYTES) -> Path:
        """Download a target into the file `to`; its length and hash are checked before it gets there."""
        return self._fetch(target, to, max_bytes)

    def officers_role(self, path: str) -> OfficersRole | None:
        """The role under which the bulk statement `path` was signed, verified by TUF; None if there is none."""
        _check_path(path)
        if f"{OFFICERS_ROLE}.json" not in self._updater._trusted_set.snapshot.meta:
            return None
        with _failures():
            found = self._updater.get_targetinfo(path)
            if found is None or path in self._updater._trusted_set.targets.targets:
                return None
            raw = (self._cache / f"{OFFICERS_ROLE}.json").read_bytes()
            made = Metadata[Targets].from_bytes(raw)
        delegations = self._updater._trusted_set.targets.delegations
        keys = delegations.keys if delegations else {}
        signatures = {
            keyid: (str(keys[keyid].keyval.get("public", "")), signature.signature)
            for keyid, signature in made.signatures.items()
            if keyid in keys and keys[keyid].keytype == "ed25519"
        }
        if made.signed.targets.get(path) != found:
            return None
        return OfficersRole(made.signed.targets, made.signed_bytes, signatures)

    def proofs(self) -> dict[str, bytes]:
        """The metadata by which the manifest can be verified again without the network."""
        with _failures():
            return {name: (self._cache / name).read_bytes() for name in ("root.json", "targets.json")}

    def _fetch(self, target: TargetFile, to: Path, max_bytes: int) -> Path:
        _check_path(target.path)
        if target.length > max_bytes:
            raise Untrusted(
                _("{path} is {n} bytes; this program takes at most {max}").format(
                    path=target.path, n=target.length, max=max_bytes
                ),
                kept=kept(),
                then=_("tell the authority; a newer version of this program may take it"),
            )
        with _failures():
            self._updater.download_target(target, str(to))
        return to


def check_anchor(root: bytes) -> tuple[int, int, int]:
    """Is it root metadata that is signed by itself? Its version, how many keys must sign, how many there are."""
    try:
        if len(root) > MAX_ROOT_BYTES:
            raise ValueError(_("it is too large"))
        made = Metadata[Root].from_bytes(root)
        if made.signed.type != Root.type:
            raise ValueError(_("it is signed metadata of another kind"))
        made.signed.verify_delegate(Root.type, made.signed_bytes, made.signatures)
    except (exceptions.RepositoryError, ValueError) as error:
        raise Rejected(
            _("this is no root file of a feed: {why}").format(why=error),
            rule="feed.root",
            kept=_("nothing was set up"),
            then=_("ask the authority for root.json again"),
        ) from error
    role = made.signed.roles[Root.type]
    return made.signed.version, role.threshold, len(role.keyids)


def kept() -> str:
    """What every failure of a pull leaves as it was."""
    return _("the last good release stays in force")


def _check_path(path: str) -> None:
    if _PATHS.fullmatch(path) is None:
        raise Untrusted(
            _("«{path}» is no file that a feed may carry").format(path=path[:100]), kept=kept(), then=_tell()
        )


def _tell() -> str:
    return _("tell the authority; if it lasts, ask for its root file over another way and compare")


@contextmanager
def _failures() -> Iterator[None]:
    """Every error of the TUF library and of the system as one of ours."""
    try:
        yield
    except Failure:
        raise
    except exceptions.ExpiredMetadataError as error:
        raise Stale(
            _("the feed has expired ({what}): nobody has signed it anew in time").format(what=error),
            kept=kept(),
            then=_("check this machine's clock, then ask the authority; its publishing host may be down"),
        ) from error
    except exceptions.DownloadLengthMismatchError as error:
        raise Untrusted(
            _("the server sends more than was signed: {what}").format(what=error), kept=kept(), then=_tell()
        ) from error
    except exceptions.SlowRetrievalError as error:
        raise Unavailable(str(error), kept=kept(), then=_("try again later, or over another network path")) from error
    except exceptions.DownloadError as error:
        raise Unavailable(
            str(error), kept=kept(), then=_("check the network and the URL in `blocker feed status`, then pull again")
        ) from error
    except exceptions.UnsignedMetadataError as error:
        raise Untrusted(_("signatures are missing: {what}").format(what=error), kept=kept(), then=_tell()) from error
    except exceptions.BadVersionNumberError as error:
        raise Untrusted(
            _("the feed was rolled back or mixed: {what}").format(what=error),
            kept=kept(),
            then=_("a cache may have served an old file: try again in a minute; if it lasts, tell the authority"),
        ) from error
    except exceptions.LengthOrHashMismatchError as error:
        raise Untrusted(
            _("a file is not the one that was signed: {what}").format(what=error),
            kept=kept(),
            then=_("it may have been published this moment: try again in a minute; if it lasts, tell the authority"),
        ) from error
    except (exceptions.RepositoryError, ValueError, RecursionError) as error:
        raise Untrusted(
            _("the feed is malformed: {what}").format(what=str(error)[:300]), kept=kept(), then=_tell()
        ) from error
    except OSError as error:
        raise Unavailable(
            _("{path}: {why}").format(path=error.filename or "", why=error.strerror or error),
            kept=kept(),
            then=_("check free space and permissions, then try again"),
        ) from error
