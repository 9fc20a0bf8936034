"""The state directory as zone contents: what has to be shown now, and what each secondary has fetched."""

from dataclasses import dataclass, field
from datetime import datetime

from feeds.manifest import Manifest
from feeds.message.building import encode_name, name_text
from feeds.release import Release
from feeds.render.form import View
from feeds.rule import hours
from feeds.store import Store
from feeds.transfer.content import content_of
from feeds.transfer.line import Line, Prepared
from feeds.transfer.primary import Answer
from feeds.transfer.settings import Zone

FILE = "zone.json"


@dataclass(frozen=True, slots=True)
class _InForce:
    manifest: Manifest
    rules: Release

    def release(self) -> Release:
        return self.rules


@dataclass
class Watch:
    """Looks whether another release was accepted or another hour began; `look` may run in a thread of its own."""

    store: Store
    zones: tuple[Zone, ...]
    lines: dict[bytes, Line] = field(init=False)
    _token: tuple[int, int] | None = None
    _hour: int = 0
    _in_force: _InForce | None = None

    def __post_init__(self) -> None:
        self.lines = {encode_name(zone.name.text): Line() for zone in self.zones}

    def look(self, now: datetime) -> list[tuple[Line, Prepared]]:
        """The lines that change, with their next content. Raises the Failures of the store."""
        token, moment = self.store.token(), self.store.clock(now)
        if token == self._token and hours(moment) == self._hour:
            return []
        if token != self._token or self._in_force is None:
            accepted = self.store.accepted()
            if accepted is None:
                return []
            self._in_force = _InForce(accepted.manifest, accepted.release())
        changed = []
        for zone in self.zones:
            line = self.lines[encode_name(zone.name.text)]
            view = View.of(self._in_force, moment, zone.name.text)
            prepared = line.prepare(content_of(view, zone.flavour == "names"))
            if prepared is not None:
                changed.append((line, prepared))
        self._token, self._hour = token, hours(moment)
        return changed


@dataclass
class Fetched:
    """What each secondary asked for and got, by its configured name; kept beside the releases for `zone status`."""

    store: Store
    shown: dict[str, dict[str, object]] = field(default_factory=dict)
    secondaries: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)

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
