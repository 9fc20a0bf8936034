"""A new feed: its root metadata, its trust anchor, and an empty first edition that any TUF client accepts."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from tuf.api.metadata import Root

from blocker.publishing.edition import Edition, put
from blocker.publishing.layout import ANCHOR, CONTACT_PATH, METADATA, Disk, metadata_path
from blocker.publishing.sign import ROOT_KEYS, ROOT_THRESHOLD, FeedKeys, KeySigner, public_key, root_of, signed
from feeds.errors import Rejected
from feeds.language import _
from feeds.manifest import Contact
from feeds.officers import Signer


def create_feed(
    disk: Disk,
    online: FeedKeys,
    root_public: Collection[str],
    root_signers: Iterable[Signer],
    officer_keys: Iterable[str],
    contact: Contact,
    now: datetime,
) -> bytes:
    """Make a feed in an empty directory; returns the trust anchor, which also stands in `root.json`.

    Public keys are 64 hexadecimal digits: `root_public` of the three root keys, `officer_keys` of the first officers.
    `root_signers` are at least two of the root keys with their private halves. Raises Rejected where a feed exists
    already: two roots of one feed would split its readers.
    """
    now = now.astimezone(UTC)
    check_empty(disk)
    signers = {signer.public_hex: KeySigner(signer) for signer in root_signers}
    if len(set(root_public)) != ROOT_KEYS or len(signers.keys() & set(root_public)) < ROOT_THRESHOLD:
        raise Rejected(
            _("a feed needs {n} different root keys and the signatures of {m} of them").format(
                n=ROOT_KEYS, m=ROOT_THRESHOLD
            ),
            rule="feed.root",
        )
    root = root_of(map(public_key, root_public), online, 1, now)
    data = signed(root, (signer for key, signer in signers.items() if key in root_public))
    disk.write(metadata_path(disk.root, Root.type, 1), data)
    put(disk, Edition.first(officer_keys).with_file(CONTACT_PATH, contact.to_bytes()), online, now)
    # The anchor comes last: whoever finds it finds a feed behind it.
    disk.write(disk.root / ANCHOR, data)
    return data


def check_empty(disk: Disk) -> None:
    """Raise Rejected if the directory holds a feed whose making was finished."""
    if (disk.root / ANCHOR).exists() or (disk.root / METADATA / "timestamp.json").exists():
        raise Rejected(
            _("there is already a feed in {path}").format(path=disk.root),
            rule="feed.exists",
            kept=_("the feed that was there"),
            then=_("choose an empty directory"),
        )
