"""One zone over time: what it is now, and the steps by which a secondary comes there (RFC 1995).

The steps are kept since the process began; a secondary that is further behind gets the whole zone. A zone's packed
answer sections lie in an unnamed file, memory-mapped and shared by all transfers; a transfer holds on to the file it
began with, so what is published meanwhile does not touch it.
"""

import mmap
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from feeds.transfer.content import Content
from feeds.transfer.packing import Part, pack

STEPS = 64
MAX_STEP_RECORDS = 200_000


class Packed:
    """The answer sections of a whole transfer."""

    def __init__(self, content: Content) -> None:
        self._places: list[tuple[int, int, int]] = []
        place = 0
        with tempfile.TemporaryFile() as file:
            for part in pack(content.zone, chain((content.soa,), content.records, (content.soa,))):
                file.write(part.data)
                self._places.append((place, len(part.data), part.records))
                place += len(part.data)
            file.flush()
            self._bytes = mmap.mmap(file.fileno(), place, access=mmap.ACCESS_READ)

    def parts(self) -> Iterator[Part]:
        for place, length, count in self._places:
            yield Part(count, self._bytes[place : place + length])


@dataclass(frozen=True, slots=True)
class Step:
    """From one content to the next; SOAs are those of the two."""

    from_serial: int
    from_soa: bytes
    to_soa: bytes
    removed: tuple[bytes, ...]
    added: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.removed) + len(self.added)


def step(old: Content, new: Content) -> Step:
    """What to take away from `old` and to add to make `new`."""
    before, after = frozenset(old.records), frozenset(new.records)
    return Step(
        old.serial,
        old.soa,
        new.soa,
        tuple(record for record in old.records if record not in after),
        tuple(record for record in new.records if record not in before),
    )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A content made ready, which takes seconds for a million names, so that `Line.take` takes none."""

    content: Content
    packed: Packed
    step: Step | None


@dataclass
class Line:
    """A zone. Preparing may run in another thread; taking and sending belong to one."""

    present: Content | None = None
    _packed: Packed | None = None
    _steps: deque[Step] = field(default_factory=deque)

    def prepare(self, content: Content) -> Prepared | None:
        """None if its serial is not higher (RFC 1982) than that of the present content."""
        old = self.present
        if old is not None and not 0 < (content.serial - old.serial) % 2**32 < 2**31:
            return None
        return Prepared(content, Packed(content), step(old, content) if old else None)

    def take(self, prepared: Prepared) -> None:
        """Make it the present content; transfers under way end with what they began with."""
        if prepared.step is not None:
            self._steps.append(prepared.step)
            while len(self._steps) > STEPS or sum(map(len, self._steps)) > MAX_STEP_RECORDS:
                self._steps.popleft()
        self.present, self._packed = prepared.content, prepared.packed

    def whole(self) -> Iterator[Part]:
        """The zone in AXFR form, as it is at the moment of this call."""
        assert self._packed is not None  # noqa: S101 - asked of a line that has a present content only
        return self._packed.parts()

    def since(self, serial: int) -> Iterator[Part]:
        """The way from `serial` to now in IXFR form; the whole zone where the way is not known."""
        present = self.present
        assert present is not None  # noqa: S101 - as above
        if serial == present.serial:
            return pack(present.zone, (present.soa,))
        steps = list(self._steps)
        first = next((n for n, one in enumerate(steps) if one.from_serial == serial), None)
        if first is None:
            return self.whole()
        way = islice(steps, first, None)
        middle = chain.from_iterable(chain((s.from_soa,), s.removed, (s.to_soa,), s.added) for s in way)
        return pack(present.zone, chain((present.soa,), middle, (present.soa,)))
