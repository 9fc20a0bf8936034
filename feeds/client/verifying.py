"""Check what is in force from the disk alone: the root chain from the anchor, every signature, every digest."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from feeds.errors import Unavailable, Untrusted
from feeds.language import _
from feeds.manifest import MANIFEST_PATH
from feeds.repository import MAX_ROOT_ROTATIONS
from feeds.store import Accepted, Store


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found whole. `signed_until` is when the signatures over the manifest expire."""

    accepted: Accepted
    root_version: int
    signed_rules: int
    rules: int
    signed_until: datetime


def verify(store: Store) -> Verified:
    """Check the release in force; raises Untrusted with what is wrong, Unavailable where there is none."""
    accepted = store.accepted()
    if accepted is None:
        raise Unavailable(_("no release has been accepted yet"), then=_("run: blocker feed pull"))
    if accepted.damage:
        raise Untrusted(
            accepted.damage,
            kept=_("release {n}, the one before it, is in force").format(n=accepted.manifest.serial),
            then=_("run `blocker feed pull` to fetch it again, and check this machine's disk"),
        )
    try:
        root, targets = _signatures(store, accepted.directory)
        targets.targets[MANIFEST_PATH].verify_length_and_hashes((accepted.directory / "manifest.json").read_bytes())
    except (RepositoryError, KeyError, OSError, ValueError) as error:
        raise Untrusted(
            _("release {n}: the signatures do not hold: {why}").format(n=accepted.manifest.serial, why=error),
            kept=_("nothing was changed"),
            then=_("run `blocker feed pull`; if it lasts, set the directory up again with the authority's root file"),
        ) from error
    signed, kept = accepted.signed(), accepted.release()
    for release in (signed, kept):
        if (release.authority, release.serial) != (accepted.manifest.authority, accepted.manifest.serial):
            raise Untrusted(_("the release is another one than its manifest says"))
    if len(signed.rules) - len(kept.rules) != sum(accepted.refused.values()):
        raise Untrusted(_("the rules refused do not account for what is missing"))
    return Verified(accepted, root.version, len(signed.rules), len(kept.rules), targets.expires)


def _signatures(store: Store, directory: Path) -> tuple[Root, Targets]:
    """The root under which the release was accepted, reached from the anchor, and the targets it signed."""
    wanted = Metadata[Root].from_bytes((directory / "root.json").read_bytes()).signed.version
    made = Metadata[Root].from_bytes(store.root())
    root = made.signed
    root.verify_delegate(Root.type, made.signed_bytes, made.signatures)
    for version in range(root.version + 1, min(wanted, root.version + MAX_ROOT_ROTATIONS) + 1):
        made = Metadata[Root].from_bytes((store.tuf / "root_history" / f"{version}.root.json").read_bytes())
        root.verify_delegate(Root.type, made.signed_bytes, made.signatures)
        made.signed.verify_delegate(Root.type, made.signed_bytes, made.signatures)
        root = made.signed
    listed = Metadata[Targets].from_bytes((directory / "targets.json").read_bytes())
    root.verify_delegate(Targets.type, listed.signed_bytes, listed.signatures)
    return root, listed.signed
