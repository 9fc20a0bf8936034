"""Which release is in force, in which lanes, and what is said of it."""

from collections.abc import Callable, Collection
from time import time

from feeds.language import _
from feeds.systemd import Notifier
from resolver.frames import Hour, LoadFailure
from resolver.metrics import Counters, Figures, ResolverCollector, Standing, exposition
from resolver.processes.channel import OPEN, packed
from resolver.processes.children import Child
from resolver.processes.loads import Gathering, Load
from resolver.processes.settings import Settings


class Enforcement:
    """Takes what the control process sends and hands it on. `load`: what was in force before, if anything was."""

    def __init__(self, settings: Settings, load: Load | None, notifier: Notifier, log: Callable[..., None]) -> None:
        self._settings = settings
        self._notifier = notifier
        self._log = log
        self.load = load
        self.counters = Counters()
        self.standing = Standing(trial=settings.origin.plain is not None, open=load is None)
        self._unsaid = [load] if load is not None else []
        self._gathering = Gathering(load.number if load is not None else 0)
        self._same_again = load is not None
        self._hour: bytes | None = None

    def greet(self, lane: Child) -> None:
        """A lane was started: it gets what is in force before it answers, or may answer without."""
        if self.load is not None:
            lane.hand(self.load)
        elif self._settings.open:
            lane.say(packed(OPEN))
        if self._hour is not None:
            lane.say(self._hour)

    def take(
        self, data: bytes, descriptor: int | None, lanes: Collection[Child], standby: Child | None
    ) -> LoadFailure | None:
        """A frame of the control process, whose descriptor is now ours; a failure is the caller's to judge, too."""
        try:
            event = self._gathering.take(data, descriptor)
        except Exception as error:
            # Not even a control process gone mad reaches a lane.
            event = LoadFailure(f"{type(error).__name__}: {error}", _("the release in force stays"), "", 1)
        if isinstance(event, Load):
            self._replace(event, (*lanes, *([standby] if standby is not None else [])))
        elif isinstance(event, Hour):
            self._hour = data
            for lane in lanes:
                lane.say(data)
        elif event is not None:
            self.counters.swap_failures += 1
            kept = event.kept or ("" if self.load is None else _("the release in force stays"))
            self._log("load_failed", what=event.what, kept=kept, then=event.then)
            return event
        return None

    def control_lost(self) -> None:
        """What it had begun to send is no release; the next one begins with what is in force."""
        self.standing.control = False
        self._gathering.drop()
        self._same_again = self.load is not None

    def refused(self, lane: Child, number: int, why: str) -> None:
        """That lane cannot use what it was sent."""
        self.counters.swap_failures += 1
        self._log("load_failed", what=why, kept=_("what it enforced before"), lane=number, process=lane.pid)

    def settle(self, lanes: Collection[Child]) -> None:
        """Say what is enforced once every lane enforces it."""
        while self._unsaid and lanes and all(lane.enforces >= self._unsaid[0].number for lane in lanes):
            self._say(self._unsaid.pop(0))

    def page(self, figures: Figures) -> bytes:
        """What Prometheus sees."""
        figures.counters.add(self.counters)
        settings = self._settings
        return exposition(
            ResolverCollector(figures, self.standing, settings.config.upstreams, settings.version, settings.lane)
        )

    def leave(self) -> None:
        """In a child: close what is the parent's."""
        self._gathering.drop()
        if self.load is not None:
            self.load.close()

    def _replace(self, load: Load, children: Collection[Child]) -> None:
        old, same_again, self._same_again = self.load, self._same_again, False
        if old is not None and same_again and load.equals(old):
            load.close()
            return
        self.load = load
        self._unsaid.append(load)
        for child in children:
            child.hand(load)
        if old is not None:
            old.close()

    def _say(self, load: Load) -> None:
        loaded, standing = load.loaded, self.standing
        standing.serial, standing.rules, standing.refused = loaded.serial, loaded.rules, loaded.refused
        standing.open, standing.swapped_at, standing.zones = False, time(), loaded.zones
        self.counters.swaps += 1
        self._log(
            "enforcing", serial=loaded.serial, rules=loaded.rules, refused=loaded.refused, source=loaded.authority
        )
        if loaded.damage:
            self._log("release_damaged", why=loaded.damage, kept=f"serial {loaded.serial}")
        for zone in loaded.zones:
            self._log("zone", **zone.as_log())
        if standing.trial:
            self._log("trial_list", warning="a plain list is enforced; no decision stands behind its entries")
        self._notifier.send("READY=1", f"STATUS=enforcing serial {loaded.serial}, {loaded.rules} rules")
