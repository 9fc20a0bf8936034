"""One zone over time: what it is now, and the steps by which a secondary comes there (RFC 1995)."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from feeds.transfer.content import differences
from feeds.transfer.kept import About, Content, Draft, Folder, Step
from feeds.transfer.packing import Part, pack

STEPS = 64
MAX_STEP_RECORDS = 200_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A content that lies on disk, and the steps that will lead to it."""

    content: Content
    steps: tuple[Step, ...]


@dataclass
class Line:
    """A zone. Preparing, which reads and writes files, may run in another thread; taking and sending belong to one."""

    folder: Folder
    zone: bytes
    present: Content | None = None
    _steps: tuple[Step, ...] = field(default=())

    def open(self) -> None:
        """Begin where the process before this one ended; raises Unavailable where another one still serves."""
        self.folder.hold()
        self.present = self.folder.content(self.zone)
        self._steps = tuple(self.folder.steps_to(self.present.serial)) if self.present else ()

    def prepare(self, draft: Draft, serial: int, stand_in: int, describe: Callable[[int], About]) -> Prepared | None:
        """Put the draft in its place. None: its serial is not higher (RFC 1982), and it holds nothing new.

        Where it holds something new all the same, the stand-in is its serial, or the next one. `describe` is given
        the serial. Raises Unavailable at a fault of the disk; the present content stays.
        """
        old = self.present
        changes = differences(old.records(), draft.records(), MAX_STEP_RECORDS) if old else None
        if old is not None and not _higher(serial, old.serial):
            if changes == ([], []):
                draft.discard()
                return None
            serial = stand_in if _higher(stand_in, old.serial) else (old.serial + 1) % 2**32
        about = describe(serial)
        steps: deque[Step] = deque(self._steps if changes is not None else ())
        if old is not None and changes is not None:
            removed, added = map(tuple, changes)
            steps.append(Step(old.serial, about.serial, old.soa, about.soa, removed, added))
            while len(steps) > STEPS or sum(map(len, steps)) > MAX_STEP_RECORDS:
                steps.popleft()
            if steps:
                self.folder.add_step(steps[-1])
        content = draft.finish(about)
        self.folder.keep_only(content.serial)
        self.folder.keep_steps(steps)
        return Prepared(content, tuple(steps))

    def take(self, prepared: Prepared) -> None:
        """Make it the present content; transfers under way end with what they began with."""
        self.present, self._steps = prepared.content, prepared.steps

    def whole(self) -> Iterator[Part]:
        """The zone in AXFR form, as it is at the moment of this call."""
        assert self.present is not None  # noqa: S101 - asked of a line that has a present content only
        return self.present.parts()

    def since(self, serial: int) -> Iterator[Part]:
        """The way from `serial` to now in IXFR form; the whole zone where the way is not known, or longer.

        Whoever is as new as we are, or newer, gets the SOA alone (RFC 1995 section 2).
        """
        present = self.present
        assert present is not None  # noqa: S101 - as above
        if not _higher(present.serial, serial):
            return pack(present.zone, (present.soa,))
        first = next((n for n, one in enumerate(self._steps) if one.from_serial == serial), None)
        way = tuple(islice(self._steps, first, None)) if first is not None else ()
        if not way or sum(map(len, way)) > present.size:
            return self.whole()
        middle = chain.from_iterable(chain((s.from_soa,), s.removed, (s.to_soa,), s.added) for s in way)
        return pack(present.zone, chain((present.soa,), middle, (present.soa,)))


def _higher(serial: int, other: int) -> bool:
    """As RFC 1982 counts."""
    return 0 < (serial - other) % 2**32 < 2**31
