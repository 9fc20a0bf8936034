"""Serials: reserved before any file is written, marked when all files are out; never reused, never backwards."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from blocker.register import chain
from blocker.register.chain import broken
from blocker.register.ground import RELEASE_PUBLISHED, SERIAL_RESERVED, Ground
from blocker.register.tables import PUBLICATION
from blocker.register.views import PublicationView
from feeds.document import moment_of_text, moment_text
from feeds.errors import Refused
from feeds.language import _
from feeds.manifest import ChainHead
from feeds.rule import Serial


@dataclass(frozen=True, slots=True)
class Publications:
    """The releases of a register."""

    ground: Ground

    def reserve_serial(self, now: datetime, published_serial: int = 0) -> Serial:
        """The next serial, committed before any file is written.

        `published_serial` is the feed's last (0: none yet). Refused if the register has never heard of it: it is
        behind the feed, a restored backup perhaps.
        """
        with self.ground.database.write() as connection:
            last = _last_reserved(connection)
            if last < published_serial:
                raise broken(
                    _("the register is behind the feed: it knows serial {n}, the feed has {m}").format(
                        n=last, m=published_serial
                    )
                )
            serial = Serial(last + 1)
            connection.execute(insert(PUBLICATION).values(serial=int(serial), reserved=moment_text(now)))
            chain.append(connection, SERIAL_RESERVED, "", now, {"serial": int(serial)})
            return serial

    def mark_published(self, serial: Serial, digest: str, head: ChainHead, now: datetime) -> None:
        """Note that the files of this serial are out, made from the chain up to `head`. Doing it again does nothing."""
        with self.ground.database.write() as connection:
            row = connection.execute(select(PUBLICATION).where(PUBLICATION.c.serial == int(serial))).first()
            if row is None or (row.published is not None and row.digest != digest):
                raise Refused(
                    _("serial {n} was not reserved, or was published with another digest").format(n=int(serial)),
                    kept=_("the register's record is as it was"),
                    then=_("compare the feed with the register"),
                )
            if row.published is not None:
                return
            connection.execute(
                update(PUBLICATION)
                .where(PUBLICATION.c.serial == int(serial))
                .values(published=moment_text(now), digest=digest, length=head.length, hash=head.hash)
            )
            body: dict[str, object] = {
                "serial": int(serial),
                "digest": digest,
                "length": head.length,
                "hash": head.hash,
            }
            chain.append(connection, RELEASE_PUBLISHED, "", now, body)

    def list(self, limit: int = 100) -> tuple[PublicationView, ...]:
        """Newest first."""
        query = select(PUBLICATION).order_by(PUBLICATION.c.serial.desc()).limit(limit)
        with self.ground.database.read() as connection:
            return tuple(
                PublicationView(
                    row.serial,
                    moment_of_text(row.reserved),
                    moment_of_text(row.published) if row.published else None,
                    row.digest or "",
                    ChainHead(length=row.length, hash=row.hash) if row.hash else None,
                )
                for row in connection.execute(query)
            )

    def last(self) -> PublicationView | None:
        """The newest that was published."""
        return next((one for one in self.list(MAX_UNPUBLISHED) if one.published), None)


# More than this many reserved serials in a row without a publication would need a person's look anyway.
MAX_UNPUBLISHED = 1000


def _last_reserved(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(PUBLICATION.c.serial), 0))).scalar_one())
