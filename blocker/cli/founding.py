"""Setting up: root keys, officers' keys, the register and its feed, in an order that leaves no half-made thing unseen.

Root keys certify the officers and sign the feed's root metadata once; afterwards they belong offline, in three hands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from blocker import keys
from blocker.publishing.create import create_feed
from blocker.publishing.layout import ANCHOR, Disk
from blocker.publishing.sign import ROOT_THRESHOLD, FeedKeys
from blocker.register import Register
from feeds.errors import Problem, Rejected
from feeds.language import _
from feeds.manifest import Contact
from feeds.officers import Genesis, Kind, Officer, SignedGenesis, sign


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything will stand."""

    register: Path | None
    url: str
    root_keys: Path
    feed: Path
    feed_keys: Path

    @property
    def anchor(self) -> Path:
        """The trust anchor to hand to the ISPs."""
        return self.feed / ANCHOR

    def check_free(self) -> None:
        """Raises Rejected, with everything that is already there, before anything is made."""
        taken: list[tuple[Path, str]] = []
        if self.register is not None and self.register.exists():
            taken.append((self.register, _("there is already a register")))
        if self.root_keys.exists() and any(self.root_keys.glob("*.pem")):
            taken.append((self.root_keys, _("there are already root keys")))
        if (self.feed / ANCHOR).exists():
            taken.append((self.feed, _("there is already a feed")))
        if self.feed_keys.exists() and any(self.feed_keys.glob("*.pem")):
            taken.append((self.feed_keys, _("there are already keys of a feed")))
        if taken:
            raise Rejected(
                _("a register cannot be set up here"),
                kept=_("everything that was there"),
                then=_("choose another directory"),
                problems=[Problem(str(path), "init.taken", what) for path, what in taken],
            )


@dataclass(frozen=True, slots=True)
class Authority:
    """Who keeps the register. `names` are the officers' own, by id."""

    id: str
    name: str
    training: bool
    contact: Contact
    officers: tuple[Officer, ...]
    names: Mapping[str, str]


def found(authority: Authority, places: Places, roots: Sequence[keys.Key], now: datetime) -> Register:
    """Certify the officers, make the register and its empty feed; returns the register, open."""
    public = [key.public_hex for key in roots]
    signing = roots[:ROOT_THRESHOLD]
    document = Genesis(authority.id, authority.training, now, authority.officers).to_bytes()
    genesis = SignedGenesis(document, tuple((key.public_hex, sign(Kind.GENESIS, document, key)) for key in signing))
    if places.register is not None:
        places.register.parent.mkdir(parents=True, exist_ok=True)
    register = Register.create(
        places.url, genesis, public, ROOT_THRESHOLD, now, authority_name=authority.name, names=authority.names
    )
    try:
        create_feed(
            Disk(places.feed),
            FeedKeys.create(places.feed_keys),
            public,
            signing,
            [officer.key for officer in authority.officers],
            authority.contact,
            now,
        )
    except BaseException:
        register.close()
        raise
    return register
