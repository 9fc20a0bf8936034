"""The state directory as zone contents: what has to be shown now, and what each secondary has fetched."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from feeds import durable
from feeds.errors import Failure
from feeds.language import _
from feeds.message.building import name_text
from feeds.name import DomainName
from feeds.render import rpz
from feeds.rule import hours
from feeds.store import Accepted, Store
from feeds.transfer.content import Picked, catalog_records, kinds_shown, soa_record, zone_records
from feeds.transfer.kept import About, Draft, Folder
from feeds.transfer.line import Line, Prepared
from feeds.transfer.primary import Answer
from feeds.transfer.settings import Zone

FILE = "zone.json"
FOLDER = "zones"


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a zone's content was made of (`About.source`), and until which hour it stays as it is (None: for ever)."""

    source: str
    next_lapse: int | None


@dataclass
class Watch:
    """Looks whether another release was accepted or a rule has lapsed; `look` may run in a thread of its own."""

    store: Store
    zones: tuple[Zone, ...]
    catalog: DomainName | None = None
    lines: dict[bytes, Line] = field(init=False)
    _token: tuple[int, int] | None = None
    _accepted: Accepted | None = None
    _shown: dict[bytes, _Shown] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [zone.name for zone in self.zones] + ([self.catalog] if self.catalog else [])
        folder = self.store.path / FOLDER
        self.lines = {name.wire: Line(Folder(folder / name.text), name.wire) for name in names}

    def open(self) -> None:
        """Begin with what the process before this one showed; raises Unavailable where it still runs."""
        for wire, line in self.lines.items():
            with durable.told(kept=_("nothing is served")):
                line.open()
            # What the catalog lists is in the settings, and its name may have been a zone's.
            if line.present is not None and line.present.about.source and line is not self._catalog_line():
                about = line.present.about
                self._shown[wire] = _Shown(about.source, about.next_lapse)

    def look(self, now: datetime) -> list[tuple[Line, Prepared]]:
        """The lines that change, with their next content. Raises the Failures of the store and of the disk.

        A zone that cannot be written holds no other back: its Failure is raised by the look that finds no other change.
        """
        token, hour = self.store.token(), hours(self.store.clock(now))
        if token != self._token or self._accepted is None:
            self._accepted = self.store.accepted()
            self._token = token
        if self._accepted is None:
            return []
        changed: list[tuple[Line, Prepared]] = []
        fault: Failure | None = None
        for wire, line in self.lines.items():
            try:
                with durable.told(kept=_("the zone stays as it was")):
                    prepared = self._next(wire, self._accepted, hour, now)
            except Failure as error:
                fault = fault or error
            else:
                if prepared is not None:
                    changed.append((line, prepared))
        if fault is not None and not changed:
            raise fault
        return changed

    def _next(self, wire: bytes, accepted: Accepted, hour: int, now: datetime) -> Prepared | None:
        """The next content of that zone, None where it stays."""
        line, shown = self.lines[wire], self._shown.get(wire)
        zone = next((zone for zone in self.zones if zone.name.wire == wire), None)
        if zone is None:
            prepared = None
            if shown is None:
                prepared = prepare_catalog(line, [one.name for one in self.zones], int(now.timestamp()))
                self._shown[wire] = _Shown("", None)
            return prepared
        source = f"{accepted.directory.name} {zone.flavour}"
        if shown and shown.source == source and (shown.next_lapse is None or hour < shown.next_lapse):
            return None
        prepared, self._shown[wire] = prepare(line, zone, accepted, hour, source)
        return prepared

    def _catalog_line(self) -> Line | None:
        return self.lines[self.catalog.wire] if self.catalog else None


def prepare(line: Line, zone: Zone, accepted: Accepted, hour: int, source: str) -> tuple[Prepared | None, _Shown]:
    """The zone of that release at that hour. The rules stream from one file into others, whatever their number.

    A zone's serial is 1000 x the last release that changed it + the hours at which rules of it have lapsed since.
    Where the content changed although that did not rise (this machine's floor has other data, or the settings were
    changed), the serial of the release stands in for it.
    """
    manifest = accepted.manifest
    picked = Picked(accepted.rules(), hour, zone.categories, zone.names_only)
    left_out: dict[str, int] = {}
    draft = Draft(line.folder, line.zone, zone_records(picked, manifest, zone.name, zone.names_only, left_out))
    base = manifest.last_change(kinds_shown(zone.categories, zone.names_only))
    serial, stand_in = (rpz.zone_serial(release, len(picked.lapsed)) for release in (base, manifest.serial))
    mailbox = rpz.rname(manifest.contact.email)

    def describe(given: int) -> About:
        return About(given, soa_record(mailbox, given), source, picked.next_lapse, {**picked.left_out, **left_out})

    return line.prepare(draft, serial, stand_in, describe), _Shown(source, picked.next_lapse)


def prepare_catalog(line: Line, zones: Iterable[DomainName], stamp: int) -> Prepared | None:
    """The catalog of the zones. It changes with the settings alone, so the second of that change is its serial."""
    draft = Draft(line.folder, line.zone, catalog_records(zones))
    serial = line.present.serial if line.present else stamp

    def describe(given: int) -> About:
        return About(given, soa_record("invalid.", given), "", None, {})

    return line.prepare(draft, serial, stamp, describe)


@dataclass
class Fetched:
    """What each secondary asked for and got, by its configured name; kept beside the releases for `zone status`."""

    store: Store
    shown: dict[str, dict[str, object]] = field(default_factory=dict)
    secondaries: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)

    def resume(self, zones: Iterable[bytes], secondaries: Iterable[str]) -> None:
        """Go on with what an earlier process wrote down of these; a damaged account is forgotten."""
        kept = self.store.remembered(FILE)
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            known = set(map(name_text, zones))
            for zone in known & kept["zones"].keys():
                shown = kept["zones"][zone]
                since = datetime.fromisoformat(shown["since"]).isoformat()
                self.shown[zone] = {"serial": int(shown["serial"]), "since": since}
            for name in set(secondaries) & kept["secondaries"].keys():
                found = kept["secondaries"][name]
                self.secondaries[name] = {zone: _seen(found[zone]) for zone in known & found.keys()}

    def show(self, line: Line, now: datetime) -> None:
        """This zone has a new content."""
        assert line.present is not None  # noqa: S101 - it has just been taken
        self.shown[name_text(line.present.zone)] = {"serial": line.present.serial, "since": now.isoformat()}

    def note(self, answer: Answer, now: datetime) -> None:
        """That answer has been sent whole."""
        if not answer.secondary:
            return
        seen = self.secondaries.setdefault(answer.secondary, {}).setdefault(name_text(answer.zone), {})
        if answer.what == "soa":
            seen["soa"] = now.isoformat()
        else:
            seen |= {"transfer": now.isoformat(), "form": answer.what, "serial": answer.serial}

    def keep(self) -> None:
        """Write it down."""
        self.store.remember(FILE, {"zones": self.shown, "secondaries": self.secondaries})


def _seen(kept: Mapping[str, object]) -> dict[str, object]:
    """What is known of a secondary and a zone; raises ValueError or TypeError where it is malformed."""
    seen: dict[str, object] = {}
    for word in ("soa", "transfer"):
        if word in kept:
            seen[word] = datetime.fromisoformat(str(kept[word])).isoformat()
    if "serial" in kept:
        seen |= {"form": str(kept["form"]), "serial": int(str(kept["serial"]))}
    return seen
