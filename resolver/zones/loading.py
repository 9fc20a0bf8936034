"""A foreign zone's image: as it was last time, as it is kept, or made from its records."""

import gzip
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import BinaryIO, cast

from feeds.errors import Failure, Rejected, Unavailable, Untrusted
from feeds.language import _
from feeds.message.words import Record
from resolver.frames import ZoneLoaded
from resolver.image import About, Image, fetch, freshness, new_memory
from resolver.making import built, digest, made_before, unreadable
from resolver.policy import Ground, Source
from resolver.zones.copies import read_copy
from resolver.zones.master import read_master
from resolver.zones.meaning import Meaning, override_of
from resolver.zones.settings import ForeignZone


class Made(Enum):
    """Where the image is: in the empty memory, in that of the last load, or nowhere."""

    NEW = "new"
    HELD = "held"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class MadeZone:
    """What became of a zone. `keep_as`: the image is new and worth keeping as this file."""

    source: Made
    loaded: ZoneLoaded
    keep_as: Path | None = None


def load_zone(zone: ForeignZone, folder: Path | None, program: str, memory: int, held: int | None) -> MadeZone:
    """Never in the way of the feed: where the zone cannot be read, what there was of it stays, and it is said.

    Raises a Failure only where a file that the operator named cannot be used and nothing was there before.
    """
    made = _loaded(zone, folder, program, memory, held)
    checked, problem = zone.checked(folder), made.loaded.problem or zone.problem(folder)
    return replace(made, loaded=replace(made.loaded, problem=problem, checked=str(checked or "")))


def _loaded(zone: ForeignZone, folder: Path | None, program: str, memory: int, held: int | None) -> MadeZone:
    source, kept = zone.source(folder), zone.kept(folder)
    try:
        if source is None or (zone.path is None and not source.exists()):
            raise Unavailable(zone.problem(folder) or _("it has not been transferred yet"))
        made_from = freshness(program, "zone", f"{zone.name} {zone.policy} {digest(source)}")
        at = source.stat().st_mtime
        if not zone.enforced:
            return MadeZone(Made.NOWHERE, _told(zone, _compiled(zone, source, made_from, new_memory()), at))
        about = made_before(held, made_from)
        if about is not None:
            return MadeZone(Made.HELD, _told(zone, about, at))
        about = _fetched(kept, made_from, memory)
        if about is not None:
            return MadeZone(Made.NEW, _told(zone, about, at))
        return MadeZone(Made.NEW, _told(zone, _compiled(zone, source, made_from, memory), at), kept)
    except OSError as error:
        failure: Failure = unreadable(source or Path(), error)
    except Failure as error:
        failure = error
    return _fallen_back(zone, kept, memory, held, failure)


def _fallen_back(zone: ForeignZone, kept: Path | None, memory: int, held: int | None, failure: Failure) -> MadeZone:
    problem = "; ".join([failure.what, *(str(problem) for problem in failure.problems[:5])])
    if held is not None:
        return MadeZone(Made.HELD, _told(zone, Image.of_descriptor(held).about, problem=problem))
    if zone.enforced:
        os.ftruncate(memory, 0)
        about = _fetched(kept, None, memory)
        if about is not None:
            return MadeZone(Made.NEW, _told(zone, about, problem=problem))
    if zone.path is not None:
        raise failure
    return MadeZone(Made.NOWHERE, _told(zone, None, problem=problem))


def _fetched(kept: Path | None, made_from: bytes | None, memory: int) -> About | None:
    try:
        return fetch(kept, made_from, memory) if kept is not None else None
    except Untrusted:
        # It is made again, or there is none: what is wrong with the zone is the news, not this.
        return None


def _compiled(zone: ForeignZone, source: Path, made_from: bytes, memory: int) -> About:
    skipped: Counter[str] = Counter()
    meaning = Meaning(zone.wire, override_of(zone.policy) if zone.enforced else None, skipped)
    with _opened(source) as file:
        for record in _records(zone, file, skipped):
            meaning.add(record)
    if meaning.soa is None:
        raise Rejected(
            _("{path} has no SOA record of the zone {zone}").format(path=source, zone=zone.name),
            rule="zone.soa",
            kept=_("the zone stays as it was"),
            then=_("give the zone the name that its SOA record has: --zone NAME={path}").format(path=source),
        )
    made = Source(zone.name, int.from_bytes(meaning.soa.rdata[-20:-16]), foreign=True, zone=zone.name)
    grounds: list[Ground] = []
    return built(memory, meaning.rules(made, grounds), grounds, made, skipped.total(), made_from, skipped)


def _records(zone: ForeignZone, file: BinaryIO, skipped: Counter[str]) -> Iterator[Record]:
    return read_master(file, zone.wire, skipped) if zone.path is not None else read_copy(file)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file, `.gz` or not; raises Unavailable where it cannot be read to its end."""
    try:
        with cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from None


def _told(zone: ForeignZone, about: About | None, changed_at: float = 0.0, problem: str = "") -> ZoneLoaded:
    if about is None:
        return ZoneLoaded(zone.name, 0, 0, {}, zone.policy, changed_at, problem)
    return ZoneLoaded(zone.name, about.source.serial, about.rules, about.skipped, zone.policy, changed_at, problem)
