"""What is enforced, loaded: the feed or a plain list, the operator's exceptions, foreign zones; each into an image."""

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from feeds.canary import canary_rule
from feeds.errors import Problem, Rejected, Unavailable, Untrusted
from feeds.language import _
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import Action, NameTarget, Scope, Target
from feeds.store import Store
from resolver.frames import Loaded
from resolver.image import KEPT_NAME, About, fetch, freshness
from resolver.image.form import SUM_BYTES
from resolver.making import built, digest, made_before, unreadable
from resolver.policy import Ground, Source, numbered, read_plain_list
from resolver.zones.loading import Made, load_zone
from resolver.zones.settings import Address, ForeignZone

MAX_LIST_BYTES = 1 << 30
LIST_SUFFIX = ".image"
EXCEPTIONS = "exceptions"
FEED = "feed"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rules come from: a state directory or a plain list, the operator's own exceptions, foreign zones.

    `program` is its version: what another one compiled is not used. `zone_state` is where zones are kept,
    `zone_notify` where their primaries may say that they have changed.
    """

    state: Path | None = None
    plain: Path | None = None
    exceptions: Path | None = None
    program: str = ""
    zones: tuple[ForeignZone, ...] = ()
    zone_state: Path | None = None
    zone_notify: Address | None = None

    @property
    def image_path(self) -> Path:
        """Where an image of the feed or the list is looked for."""
        if self.plain is not None:
            return self.plain.with_name(self.plain.name + LIST_SUFFIX)
        return (self.state or Path()) / KEPT_NAME

    @property
    def parts(self) -> tuple[str, ...]:
        """What an image is made of each, in the order in which they are asked."""
        own = (EXCEPTIONS,) if self.exceptions is not None else ()
        feed = (FEED,) if self.state is not None or self.plain is not None else ()
        return (*own, *feed, *(zone.part for zone in self.zones if zone.enforced))

    def load(self, memories: Mapping[str, int], held: Mapping[str, int] | None = None) -> "Compiled":
        """Fetch or compile each part into its empty memory; raises a Failure.

        A part that is the same as in `held`, the sealed images of the last load, is taken from there.
        """
        held = held or {}
        layers: list[tuple[str, bool]] = []
        kept: list[tuple[Path, str]] = []
        loaded = Loaded(0, 0, 0)
        if self.exceptions is not None:
            source = Source("", 0)
            found = ((target, 0) for target in _exceptions(self.exceptions))
            grounds = [Ground(source, Action.PASSTHRU, counted=False)]
            built(memories[EXCEPTIONS], found, grounds, source, 0, bytes(SUM_BYTES))
            layers.append((EXCEPTIONS, True))
        if self.plain is not None or self.state is not None:
            feed = self._feed(memories[FEED], held.get(FEED))
            loaded = feed.loaded
            layers.append((FEED, feed.is_new))
            kept += [(feed.keep_as, FEED)] if feed.keep_as is not None else []
        told = []
        for zone in self.zones:
            made = load_zone(zone, self.zone_state, self.program, memories.get(zone.part, -1), held.get(zone.part))
            told.append(made.loaded)
            if made.source is not Made.NOWHERE:
                layers.append((zone.part, made.source is Made.NEW))
            kept += [(made.keep_as, zone.part)] if made.keep_as is not None else []
        return Compiled(tuple(layers), replace(loaded, zones=tuple(told)), tuple(kept))

    def _feed(self, memory: int, held: int | None) -> "_Feed":
        if self.plain is not None:
            return _list(self.plain, self.image_path, self.program, memory, held)
        state = self.state or Path()
        try:
            return _accepted(Store(state), self.image_path, self.program, memory, held)
        except OSError as error:
            raise unreadable(state, error) from None


@dataclass(frozen=True, slots=True)
class Compiled:
    """`layers`: parts in their order, and whether each is new or the one of the last load. `kept`: what is worth
    keeping as which file."""

    layers: tuple[tuple[str, bool], ...]
    loaded: Loaded
    kept: tuple[tuple[Path, str], ...]


class _Feed(NamedTuple):
    """What became of the feed or the list; `is_new`: its image is in the empty memory, not in that of the last load."""

    loaded: Loaded
    is_new: bool
    keep_as: Path | None


def _accepted(store: Store, kept: Path, program: str, memory: int, held: int | None) -> _Feed:
    accepted = store.accepted() if (store.path / "releases").is_dir() else None
    if accepted is None:
        raise Unavailable(
            _("{path} holds no release yet").format(path=store.path),
            then=_(
                "run `blocker feed pull`; or let `blocker dns serve --open` answer, enforcing nothing, until one comes"
            ),
        )
    manifest = accepted.manifest
    made_from = freshness(program, "release", accepted.directory.name)

    def make() -> About:
        source = Source(
            authority=manifest.authority,
            serial=manifest.serial,
            contact=manifest.contact.email,
            contacts={d.notation: d.contact for d in manifest.decisions if d.contact},
        )
        refused = sum(accepted.refused.values())
        refused += sum(canary_rule(canary, manifest.authority) is None for canary in manifest.canaries)
        grounds: list[Ground] = []
        found = numbered(accepted.rules(), manifest.canaries, source, grounds)
        return built(memory, found, grounds, source, refused, made_from)

    image = _image(held, kept, made_from, memory, make)
    rules, damage = accepted.counts["rules"], accepted.damage or image.damage
    loaded = Loaded(manifest.serial, rules, image.about.refused, manifest.authority, damage)
    return _Feed(loaded, image.is_new, kept if image.was_made else None)


def _list(path: Path, kept: Path, program: str, memory: int, held: int | None) -> _Feed:
    """A plain list. Its image is kept beside it only where one is there already: `blocker dns compile` puts it."""
    made_from = freshness(program, "list", digest(path))

    def make() -> About:
        read = read_plain_list(_lines(path))
        if not read.targets:
            raise Rejected(
                _("{path} holds nothing that could be blocked").format(path=path),
                rule="list.empty",
                problems=read.refused[:20],
                then=_("give a list with one name, address or prefix a line"),
            )
        source = Source(authority=path.name, serial=0, foreign=True, zone="rpz")
        grounds = [Ground(source, Action.NXDOMAIN)]
        found = ((target, 0) for target in read.targets)
        return built(memory, found, grounds, source, len(read.refused), made_from)

    image = _image(held, kept, made_from, memory, make)
    loaded = Loaded(0, image.about.rules, image.about.refused, path.name, image.damage)
    return _Feed(loaded, image.is_new, kept if image.was_made and kept.exists() else None)


class _Image(NamedTuple):
    """`is_new`: it is in the empty memory; `was_made`: and not as it was kept. `damage`: of what was kept."""

    about: About
    is_new: bool
    was_made: bool
    damage: str


def _image(held: int | None, kept: Path, made_from: bytes, memory: int, make: Callable[[], About]) -> _Image:
    """That of the last load, else the kept one, else one that is made now."""
    about = made_before(held, made_from)
    if about is not None:
        return _Image(about, False, False, "")
    damage = ""
    try:
        about = fetch(kept, made_from, memory)
    except Untrusted as error:
        damage = f"{kept}: {error.what}"
    return _Image(make() if about is None else about, True, about is None, damage)


def _exceptions(path: Path) -> tuple[Target, ...]:
    """Names (with all below them; `=name` for that one alone), addresses and prefixes that are never blocked.

    The floor does not apply: letting pass what nobody may block does no harm.
    """
    targets: list[Target] = []
    problems: list[Problem] = []
    for number, line in enumerate(_lines(path), 1):
        text = line.partition("#")[0].strip()
        try:
            if ":" in text or text.rpartition(".")[2].rpartition("/")[2].isdigit():
                targets += Prefix.parse(text)
            elif text:
                scope = Scope.EXACT if text.startswith("=") else Scope.SUBTREE
                targets.append(NameTarget(DomainName.parse(text.removeprefix("=")).name, scope))
        except Rejected as error:
            problems.append(Problem(_("line {n}").format(n=number), error.rule, error.what))
    if problems:
        raise Rejected(
            _("{path} has lines that are no exception").format(path=path),
            rule="exceptions.form",
            problems=problems[:20],
            then=_("correct them: one name, address or prefix a line"),
        )
    return tuple(targets)


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file, `.gz` or not, at most a gigabyte of it."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            left = MAX_LIST_BYTES
            for line in file:
                left -= len(line)
                if left < 0:
                    raise Rejected(_("{path} is larger than {n} bytes").format(path=path, n=MAX_LIST_BYTES))
                yield line.decode("utf-8", "replace")
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from None
