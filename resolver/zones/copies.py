"""The copy of a zone that a transfer left in the state directory: whole and checked, or not there.

"RPZCOPY1", then each record as in a message (owner, type, class, TTL, size, RDATA; no pointers), then the SOA's
serial (u32) and the SHA-256 of all before it
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final

from feeds import durable
from feeds.errors import Untrusted
from feeds.language import _
from feeds.message.words import Record
from resolver.zones.master import MAX_RECORDS, MAX_ZONE_BYTES

MAGIC: Final = b"RPZCOPY1"
SUM_BYTES: Final = 32
CHUNK_BYTES: Final = 1 << 20
_fixed = Struct("!HHIH")
_serial = Struct("!I")


class Writing:
    """A new copy beside the old one, which it replaces when it is finished; raises OSError, Untrusted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hidden = path.with_name(durable.UNFINISHED + path.name)
        self._file: BinaryIO = self._hidden.open("wb")
        self._sum = sha256()
        self._left, self._records_left = MAX_ZONE_BYTES, MAX_RECORDS
        self._put(MAGIC)

    def add(self, record: Record) -> None:
        """One more record; more than MAX_ZONE_BYTES or MAX_RECORDS are no zone but an attack, or a fault."""
        self._records_left -= 1
        if self._records_left < 0:
            raise _refused(_("it has more than {n} records").format(n=MAX_RECORDS))
        self._put(packed(record))

    def finish(self, serial: int) -> None:
        """From now on it is the copy, power cut or not."""
        self._put(_serial.pack(serial))
        self._file.write(self._sum.digest())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._hidden, self._path)
        durable.sync_directory(self._path.parent)

    def discard(self) -> None:
        """As if it had never been begun; nothing after `finish`."""
        self._file.close()
        with suppress(OSError):
            self._hidden.unlink(missing_ok=True)

    def _put(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise _refused(_("it has more than {n} bytes").format(n=MAX_ZONE_BYTES))
        self._sum.update(data)
        self._file.write(data)


def packed(record: Record) -> bytes:
    """A record as it stands in a message."""
    return record.owner + _fixed.pack(record.rtype, record.rclass, record.ttl, len(record.rdata)) + record.rdata


def serial_of(path: Path) -> int | None:
    """The serial of a copy, checked to its end; None where there is none or it is damaged."""
    try:
        with path.open("rb") as file:
            return _checked(file)
    except (OSError, Untrusted):
        return None


def read_copy(file: BinaryIO) -> Iterator[Record]:
    """The records of a copy; raises Untrusted before the first where it is damaged."""
    _checked(file)
    end = file.seek(0, os.SEEK_END) - _serial.size - SUM_BYTES
    file.seek(len(MAGIC))
    held, at, left = b"", 0, end - len(MAGIC)
    while left > 0 or at < len(held):
        if len(held) - at < 1 << 17 and left > 0:
            more = file.read(min(CHUNK_BYTES, left))
            left -= len(more)
            held, at = held[at:] + more, 0
        start = at
        while held[at]:
            at += held[at] + 1
        at += 1
        rtype, rclass, ttl, size = _fixed.unpack_from(held, at)
        rdata = at + _fixed.size
        yield Record(held[start:at], rtype, rclass, ttl, held[rdata : rdata + size])
        at = rdata + size


def _checked(file: BinaryIO) -> int:
    """The serial; raises Untrusted where the sum does not fit."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    left = size - SUM_BYTES
    made, tail = sha256(), b""
    while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
        left -= len(chunk)
        made.update(chunk)
        tail = (tail + chunk)[-_serial.size :]
    if size < len(MAGIC) + _serial.size + SUM_BYTES or file.read(SUM_BYTES) != made.digest():
        raise _refused(_("the copy that was kept is damaged"))
    return int(_serial.unpack(tail)[0])


def _refused(why: str) -> Untrusted:
    return Untrusted(why, kept=_("the zone stays as it was"), then=_("see what its primary sends"))
