"""What the brake of an ISP that follows the feed will say of a change, so that officers hear it first."""

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from blocker.publishing.difference import Difference
from blocker.publishing.standing import Standing
from feeds.brake import LAPSING, WINDOW, Allowance, Excess, Step, clear, judge, measure
from feeds.canonical import decompressing, read_delta
from feeds.manifest import BulkStatement, delta_path
from feeds.rule import hour_text, hours

_CATEGORY, _EXPIRY = 6, 8  # their places among the fields of a canonical rule line


@dataclass(frozen=True, slots=True)
class Forecast:
    """`removed` and `added` are what the brake counts; `excesses` the limits they pass with no statement for it."""

    removed: int
    added: int
    excesses: tuple[Excess, ...]

    def __bool__(self) -> bool:
        return bool(self.excesses)


def forecast(
    standing: Standing,
    lines: Sequence[bytes],
    change: Difference,
    next_serial: int,
    statements: Iterable[BulkStatement],
    published: Mapping[int, datetime],
    now: datetime,
) -> Forecast:
    """The brake's judgement. `lines` are the standing release's; `published` says when each serial came out."""
    if standing.manifest is None:
        return Forecast(0, 0, ())
    removed, added = measure(change.removed, change.added, now)
    allowances = [Allowance(s.from_serial, s.to_serial, s.removed, s.added) for s in statements]
    step = Step(standing.serial, next_serial, _counts(lines, now), removed, added, now)
    history = _history(standing, step.before, published, now)
    steps = clear([*history, step], allowances)
    return Forecast(step.total_removed, step.total_added, judge(steps[-1:], steps[:-1]))


def _counts(lines: Iterable[bytes], now: datetime) -> Counter[str]:
    hour = hour_text(hours(now + LAPSING)).encode()
    found: Counter[str] = Counter()
    for line in lines:
        fields = line.split(b"\t", _EXPIRY + 1)
        if fields[_EXPIRY] > hour:
            found[fields[_CATEGORY].decode()] += 1
    return found


def _history(
    standing: Standing, before: Mapping[str, int], published: Mapping[int, datetime], now: datetime
) -> list[Step]:
    """The steps published within the brake's window, oldest first, read back from the feed's deltas."""
    steps: list[Step] = []
    after = Counter(before)
    for reference in reversed(standing.manifest.deltas if standing.manifest else ()):
        at = published.get(reference.to_serial)
        if at is None or at <= now - WINDOW:
            break
        packed = standing.target(delta_path(reference.from_serial, reference.to_serial))
        delta = read_delta(decompressing(io.BytesIO(packed)), reference.size)
        removed, added = measure(delta.removed, delta.added, now)
        after = after - Counter(added) + Counter(removed)
        step = Step(reference.from_serial, reference.to_serial, dict(after), removed, added, at)
        # What passes no brake by itself and is out all the same was accepted by name, or is still held: either way
        # an ISP does not sum it with what comes next.
        steps.append(replace(step, cleared=bool(judge([step]))))
    return steps[::-1]
