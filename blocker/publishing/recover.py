"""The register and the repository compared at each start, so that no serial is ever used twice.

repository above all that the register reserved    the database was restored from an old backup: refuse
repository above what the register calls published    a crash came between timestamp.json and the note: note it now
same serial, other digest                          the two belong to different histories: refuse
repository below                                   the directory was restored: go on with a new serial
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from blocker.publishing.standing import Standing
from feeds.errors import Refused
from feeds.language import _
from feeds.manifest import ChainHead
from feeds.rule import Serial


class Publication(Protocol):
    """A reserved serial; `digest` is empty until it was published."""

    @property
    def serial(self) -> int: ...
    @property
    def digest(self) -> str: ...
    @property
    def published(self) -> datetime | None: ...


class Ledger(Protocol):
    """The register's account of serials (`blocker.register.Publications`)."""

    def reserve_serial(self, now: datetime, published_serial: int = 0) -> Serial:
        """The next serial, committed."""

    def mark_published(self, serial: Serial, digest: str, chain: ChainHead, now: datetime, /) -> None:
        """Note that it is out; doing so twice changes nothing."""

    def list(self, limit: int = 100) -> Sequence[Publication]:
        """Newest first, those only reserved included."""

    def last(self) -> Publication | None:
        """The newest that was published."""


def newest_reserved(ledger: Ledger) -> int:
    """The highest serial ever reserved; 0 if none."""
    newest = ledger.list(1)
    return newest[0].serial if newest else 0


def recover(ledger: Ledger, standing: Standing, now: datetime) -> list[str]:
    """Finish what a crash left; sentences about what was done. Raises Refused where going on would be wrong."""
    manifest = standing.manifest
    last = ledger.last()
    published = last.serial if last else 0
    if standing.serial > newest_reserved(ledger):
        raise Refused(
            _("the register knows serials up to {a}, but the feed already carries {b}").format(
                a=newest_reserved(ledger), b=standing.serial
            ),
            kept=_("feed and register are as they were"),
            then=_(
                "the database seems to be restored from a backup older than the last publication: restore a newer one"
            ),
        )
    if manifest is None or standing.serial < published:
        if standing.serial < published:
            return [
                _("the feed carries {b} although {a} was published: its directory seems to be restored").format(
                    a=published, b=standing.serial
                )
            ]
        return []
    if last is not None and standing.serial == published:
        if last.digest != manifest.digest:
            raise Refused(
                _("the register published serial {n} with another digest than the feed carries").format(n=published),
                kept=_("feed and register are as they were"),
                then=_("database and feed directory do not belong together: check --register and --repository"),
            )
        return []
    ledger.mark_published(Serial(standing.serial), manifest.digest, manifest.chain, now)
    return [_("serial {n} was out already; the register now says so").format(n=standing.serial)]
