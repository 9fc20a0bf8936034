"""A zone on disk: its present content and the steps that led to it. What is there is whole, or it is not used.

    SERIAL/about.json   serial, SOA, where the messages lie, digests of the files beside it
    SERIAL/records      the records one after the other, each with its length before it
    SERIAL/messages     the answer sections of a whole transfer, packed
    steps/FROM-TO       records removed and added between two serials
    lock                flock of the one process that serves the zone

Records and messages are memory-mapped and shared by all transfers. A transfer holds on to the files it began with,
also when they are removed meanwhile.
"""

import fcntl
import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from feeds import durable
from feeds.errors import Unavailable
from feeds.language import _
from feeds.transfer.packing import Part, pack

# Changes whenever the same release would make other records.
FORM = 1
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class About:
    """A content apart from its records. `soa` is a record; `source` names what it was made of.

    `next_lapse` is the hour (since 1970) at which a rule of it lapses; None: never.
    """

    serial: int
    soa: bytes
    source: str
    next_lapse: int | None
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """From one content to the next; SOAs are those of the two."""

    from_serial: int
    to_serial: int
    from_soa: bytes
    to_soa: bytes
    removed: tuple[bytes, ...]
    added: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.removed) + len(self.added)


class Content:
    """A zone as it stands. `size` is the number of its records without the SOA."""

    def __init__(self, zone: bytes, about: About, places: list[list[int]], directory: Path) -> None:
        self.zone, self.about = zone, about
        self.serial, self.soa = about.serial, about.soa
        self.size = sum(place[2] for place in places)
        self._places = places
        self._records = _mapped(directory / "records")
        self._messages = _mapped(directory / "messages")

    def records(self) -> Iterator[bytes]:
        """All records but the SOA."""
        return _framed(self._records)

    def parts(self) -> Iterator[Part]:
        """A whole transfer's answer sections (RFC 5936 section 2.2): the SOA, the records, the SOA again."""
        (edge,) = pack(self.zone, (self.soa,))
        middle = (Part(n, self._messages[place : place + length]) for place, length, n in self._places)
        return chain((edge,), middle, (edge,))


class Draft:
    """A content that has been written and is not in its place yet, since its serial depends on what it holds."""

    def __init__(self, folder: "Folder", zone: bytes, records: Iterable[bytes]) -> None:
        self._folder, self._zone = folder, zone
        self._hidden = folder.path / f"{durable.UNFINISHED}{os.getpid()}"
        shutil.rmtree(self._hidden, ignore_errors=True)
        self._places: list[list[int]] = []
        with durable.told(kept=_("the zone stays as it was")):
            self._hidden.mkdir(parents=True)
            place = 0
            with (
                (self._hidden / "records").open("wb", _BUFFER_BYTES) as kept,
                (self._hidden / "messages").open("wb", _BUFFER_BYTES) as messages,
            ):
                for part in pack(zone, _written(records, kept)):
                    messages.write(part.data)
                    self._places.append([place, len(part.data), part.records])
                    place += len(part.data)

    def records(self) -> Iterator[bytes]:
        """What was written."""
        return _framed(_mapped(self._hidden / "records"))

    def finish(self, about: About) -> Content:
        """Put it in its place, durably; raises Unavailable at a fault of the disk."""
        files = {name: _digest(self._hidden / name) for name in ("records", "messages")}
        said = {
            "form": FORM,
            "zone": self._zone.hex(),
            "serial": about.serial,
            "soa": about.soa.hex(),
            "source": about.source,
            "next_lapse": about.next_lapse,
            "left_out": about.left_out,
            "places": self._places,
            "files": files,
        }
        place = self._folder.path / str(about.serial)
        with durable.told(kept=_("the zone stays as it was")):
            for name in files:
                durable.sync_file(self._hidden / name)
            durable.write_new(self._hidden / "about.json", [json.dumps(said).encode()])
            if place.exists():
                shutil.rmtree(place)
            self._hidden.rename(place)
            durable.sync_directory(self._folder.path)
        return Content(self._zone, about, self._places, place)

    def discard(self) -> None:
        """It is not needed."""
        shutil.rmtree(self._hidden, ignore_errors=True)


class Folder:
    """One zone's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: BinaryIO | None = None

    def hold(self) -> None:
        """Keep others out until this process ends; raises Unavailable where another one serves the zone."""
        with durable.told(kept=_("nothing is served")):
            (self.path / "steps").mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("ab")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unavailable(
                    _("another process serves the zone {name} from this directory").format(name=self.path.name),
                    kept=_("nothing is served"),
                    then=_("let one process serve it, at several addresses: --listen may be given more than once"),
                ) from None
            # What a process that was killed had begun to write.
            for unfinished in self.path.glob(f"{durable.UNFINISHED}*"):
                shutil.rmtree(unfinished, ignore_errors=True)

    def content(self, zone: bytes) -> Content | None:
        """The highest content that is whole and of this program's form; others are removed."""
        found = None
        for directory in sorted(self._contents(), key=lambda path: int(path.name), reverse=True):
            if found is None:
                found = _read(directory, zone)
            if found is None or int(directory.name) != found.serial:
                shutil.rmtree(directory, ignore_errors=True)
        return found

    def keep_only(self, serial: int) -> None:
        """Remove contents of other serials."""
        for directory in self._contents():
            if int(directory.name) != serial:
                shutil.rmtree(directory, ignore_errors=True)

    def add_step(self, step: Step) -> None:
        """Keep it, durably."""
        body = b"".join(len(record).to_bytes(2, "big") + record for record in (*step.removed, *step.added))
        head = {
            "from": step.from_serial,
            "to": step.to_serial,
            "from_soa": step.from_soa.hex(),
            "to_soa": step.to_soa.hex(),
            "removed": len(step.removed),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        name = f"{step.from_serial}-{step.to_serial}"
        with durable.told(kept=_("the zone stays as it was")):
            durable.write(self.path / "steps" / name, json.dumps(head).encode() + b"\n" + body)

    def steps_to(self, serial: int) -> list[Step]:
        """The unbroken row of steps that ends at `serial`; others are removed."""
        by_end: dict[int, Step] = {}
        for path in (self.path / "steps").iterdir():
            step = _read_step(path)
            if step is not None:
                by_end[step.to_serial] = step
        row: list[Step] = []
        while (step := by_end.pop(serial, None)) is not None:
            row.append(step)
            serial = step.from_serial
        row.reverse()
        self.keep_steps(row)
        return row

    def keep_steps(self, steps: Iterable[Step]) -> None:
        """Remove all others."""
        names = {f"{step.from_serial}-{step.to_serial}" for step in steps}
        for path in (self.path / "steps").iterdir():
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _contents(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path.name.isdigit()]


def _read(directory: Path, zone: bytes) -> Content | None:
    """None where it is damaged, or of another zone or form."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        said: dict[str, Any] = json.loads((directory / "about.json").read_bytes())
        whole = said["form"] == FORM and said["zone"] == zone.hex() and str(said["serial"]) == directory.name
        if whole and all(_digest(directory / name) == said["files"][name] for name in ("records", "messages")):
            about = About(
                said["serial"], bytes.fromhex(said["soa"]), said["source"], said["next_lapse"], said["left_out"]
            )
            return Content(zone, about, said["places"], directory)
    return None


def _read_step(path: Path) -> Step | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        line, _lf, body = path.read_bytes().partition(b"\n")
        head = json.loads(line)
        if hashlib.sha256(body).hexdigest() == head["sha256"]:
            records = tuple(_framed(body))
            cut = head["removed"]
            soas = (bytes.fromhex(head["from_soa"]), bytes.fromhex(head["to_soa"]))
            return Step(head["from"], head["to"], *soas, records[:cut], records[cut:])
    return None


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _framed(data: bytes | mmap.mmap) -> Iterator[bytes]:
    place, end = 0, len(data)
    while place < end:
        start = place + 2
        place = start + (data[place] << 8 | data[place + 1])
        yield data[start:place]


def _written(records: Iterable[bytes], file: BinaryIO) -> Iterator[bytes]:
    for record in records:
        file.write(len(record).to_bytes(2, "big") + record)
        yield record


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
