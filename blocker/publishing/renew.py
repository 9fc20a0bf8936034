"""The next root metadata: a fresh expiry and, if wished, other online keys; the three root keys stay.

A TUF client walks the root versions first and reads the timestamp after that (TUF section 5.3). So where the online
keys change, the edition that stands is first signed by the old keys and the new ones; only then does the new root
appear. Readers under either root verify that edition, until the next publication signs by the new keys alone.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization import DeserializationError

from blocker.publishing.edition import Edition, check_keys, put
from blocker.publishing.layout import Disk, locked, metadata_path
from blocker.publishing.sign import (
    ONLINE_ROLES,
    ROOT_KEYS,
    ROOT_LIFE,
    ROOT_THRESHOLD,
    FeedKeys,
    KeySigner,
    signed,
)
from blocker.publishing.standing import newest_root, read_standing
from feeds import durable
from feeds.errors import Problem, Refused, Rejected, Untrusted
from feeds.language import _
from feeds.officers import Signer

# A command that was cut off after its last write and is given again finds its work done.
JUST_RENEWED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Two directories: of the online keys that sign now, and of those that shall (made there if it is empty)."""

    old: Path
    new: Path


@dataclass(frozen=True, slots=True)
class Renewal:
    """The root that stands now. `changed`: it was written just now; `exchanged`: it names other online keys."""

    version: int
    expires: datetime
    changed: bool
    exchanged: bool


def renew_root(
    disk: Disk, anchor: bytes, signers: Iterable[Signer], now: datetime, exchange: Exchange | None = None
) -> Renewal:
    """Write the next root metadata, signed by at least two of the three root keys, for one year from `now`.

    `anchor` is a root file that is trusted; the feed's root must follow from it. An expired root is renewed like any
    other. Raises Refused without two of this feed's root keys, Untrusted where the root does not follow from the
    anchor or a file of the feed is damaged, Rejected for online keys that do not fit, Failure at a fault of the disk.
    """
    now = now.astimezone(UTC)
    root_signers = {signer.public_key.keyid: signer for signer in map(KeySigner, signers)}
    check_number(len(root_signers))
    with locked(disk.root):
        standing = read_standing(disk.root)
        current = _follow(disk.root, anchor)
        _check_signers(current, root_signers)
        new = _prepare(disk, exchange, standing.root) if exchange else None
        if new is not None and _names(current.signed, new):
            new = None
        recent = current.signed.expires - now > ROOT_LIFE - JUST_RENEWED
        if new is None and current.signed.version > 1 and recent:
            return Renewal(current.signed.version, current.signed.expires, changed=False, exchanged=False)
        root = _next(current.signed, new, now)
        data = signed(root, root_signers.values())
        _check_accepted(current.signed, data)
        if exchange is not None and new is not None:
            old = FeedKeys.read(exchange.old)
            check_keys(standing.root, old)
            put(disk, Edition.same(standing), old, now, also=[new])
        disk.write(metadata_path(disk.root, Root.type, root.version), data)
        return Renewal(root.version, root.expires, changed=True, exchanged=new is not None)


def check_number(count: int) -> None:
    """Raise Refused for fewer root keys than must sign."""
    if count < ROOT_THRESHOLD:
        raise Refused(
            _("the root needs the signatures of {m} different root keys, and {n} is given").format(
                m=ROOT_THRESHOLD, n=count
            ),
            kept=_("the feed's root is as it was; nothing was signed"),
            then=_("bring a second holder of a root key, and give --root-key once for each"),
        )


def _follow(directory: Path, anchor: bytes) -> Metadata[Root]:
    """The feed's newest root, reached from the anchor as a reader reaches it; raises Untrusted."""
    newest = newest_root(directory).version
    place = _("the trust anchor")
    try:
        made = Metadata[Root].from_bytes(anchor)
        made.signed.verify_delegate(Root.type, made.signed_bytes, made.signatures)
        for version in range(made.signed.version, newest + 1):
            path = metadata_path(directory, Root.type, version)
            place = str(path)
            step = Metadata[Root].from_bytes(path.read_bytes())
            if version == made.signed.version:
                # The anchor itself as the feed has it: what is signed next must build on what was trusted.
                if step.signed_bytes != made.signed_bytes:
                    raise RepositoryError(_("it is another root than the trust anchor"))
                continue
            if step.signed.version != version:
                raise RepositoryError(_("it holds something else"))
            for judge in (made.signed, step.signed):
                judge.verify_delegate(Root.type, step.signed_bytes, step.signatures)
            made = step
        if made.signed.version != newest:
            raise RepositoryError(_("the feed's root is older than this"))
        role = made.signed.roles[Root.type]
        if (role.threshold, len(role.keyids)) != (ROOT_THRESHOLD, ROOT_KEYS):
            raise RepositoryError(_("it does not ask for two of three root keys"))
    except (OSError, RepositoryError, DeserializationError, ValueError, AttributeError) as error:
        raise Untrusted(
            _("the feed's root does not follow from the trust anchor: {path}: {why}").format(path=place, why=error),
            kept=_("nothing was changed"),
            then=_("restore the feed's directory from a backup, or give a trusted copy of root.json with --root"),
        ) from None
    return made


def _check_signers(current: Metadata[Root], signers: dict[str, KeySigner]) -> None:
    """Each must be one of the feed's root keys, by its bytes: a forged root could give another key the same id.

    Two genuine keys among three, of which two signed the root that stands: one genuine holder at least has signed it,
    so nobody signs onwards what was forged on this host, not even where the anchor was forged with it.
    """
    root = current.signed
    named = [root.keys[keyid] for keyid in root.roles[Root.type].keyids]
    foreign = [signer for signer in signers.values() if signer.public_key not in named]
    if foreign:
        raise Refused(
            _("a root key that this feed's root does not name cannot sign it"),
            kept=_("the feed's root is as it was; nothing was signed"),
            then=_("give the feed's own root keys; other root keys need the officers' genesis certified anew"),
            problems=[
                Problem(str(s.public_key.keyval["public"]), "root.foreign", _("no root key of this feed"))
                for s in foreign
            ],
        )


def _prepare(disk: Disk, exchange: Exchange, root: Root) -> FeedKeys:
    """The new online keys; made, all three or none, where their directory is missing or empty and the old ones fit."""
    directory = exchange.new.absolute()
    if directory.resolve().is_relative_to(disk.root.resolve()):
        raise Rejected(
            _("{path} lies inside the feed, which the web server hands to everybody").format(path=directory),
            rule="keys.public",
            kept=_("nothing was changed"),
            then=_("choose a directory outside the feed"),
        )
    with durable.told(kept=_("nothing was changed"), then=_("check the path and its permissions")):
        if directory.exists() and any(directory.iterdir()):
            return FeedKeys.read(directory)
        check_keys(root, FeedKeys.read(exchange.old))
        hidden = directory.with_name(durable.UNFINISHED + directory.name)
        for left in hidden.glob("*.pem"):
            left.unlink()
        made = FeedKeys.create(hidden)
        hidden.replace(directory)
        durable.sync_directory(directory.parent)
    return made


def _signer_of(keys: FeedKeys) -> dict[str, KeySigner]:
    return dict(zip(ONLINE_ROLES, (keys.targets, keys.snapshot, keys.timestamp), strict=True))


def _names(root: Root, keys: FeedKeys) -> bool:
    """Are these the online keys of that root?"""
    return all(root.roles[role].keyids == [signer.public_key.keyid] for role, signer in _signer_of(keys).items())


def _next(current: Root, new: FeedKeys | None, now: datetime) -> Root:
    root = deepcopy(current)
    root.version += 1
    root.expires = now.replace(microsecond=0) + ROOT_LIFE
    for role, signer in _signer_of(new).items() if new else ():
        for keyid in list(root.roles[role].keyids):
            root.revoke_key(keyid, role)
        root.add_key(signer.public_key, role)
    return root


def _check_accepted(current: Root, data: bytes) -> None:
    """Readers must find it signed under the root they hold and under itself."""
    made = Metadata[Root].from_bytes(data)
    for judge in (current, made.signed):
        judge.verify_delegate(Root.type, made.signed_bytes, made.signatures)
