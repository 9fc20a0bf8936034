"""Is a correctly signed change plausible? Pure.

Held is what removes more than 5 % or adds more than 20 % of the rules, overall or in one category, in one step or
summed over 24 hours - and more than 50 rules, so that the first rules of a category, which are infinitely many per
cent, need nobody's leave. Real lists shrank by 22 to 68 % on single days, so the ways past it are named in the reason.

What counts as removed: a rule in force that is gone or, at the same target, now says something else or ends sooner;
renaming its entry or decision does not count. A rule that has lapsed, or does within the hour (clocks differ), was
to go anyway: a whole import lapses in one hour, and holding that back would keep nothing in force.

The time of a delta is not signed. Deltas pulled together are taken as spread evenly over the time since this ISP last
saw the feed unchanged: all within a day when it follows the feed, a step a day when it was away for as many days.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from feeds.language import _
from feeds.rule import CATEGORY_WORDS, Rule, hours

MAX_REMOVED_SHARE = 0.05
MAX_ADDED_SHARE = 0.20
SMALL = 50
WINDOW = timedelta(hours=24)
LAPSING = timedelta(hours=1)

Counts = Mapping[str, int]  # by category


@dataclass(frozen=True, slots=True)
class Step:
    """A change from one serial to another, counted by category. `cleared`: somebody entitled let it pass."""

    from_serial: int
    to_serial: int
    before: Counts
    removed: Counts
    added: Counts
    at: datetime
    cleared: bool = False

    @property
    def total_removed(self) -> int:
        return sum(self.removed.values())

    @property
    def total_added(self) -> int:
        return sum(self.added.values())

    def after(self) -> Counts:
        """The counts that the next step starts from."""
        return Counter(self.before) - Counter(self.removed) + Counter(self.added)


@dataclass(frozen=True, slots=True)
class Allowance:
    """A bulk statement that two certified officers signed: so many rules may go and come between these serials."""

    from_serial: int
    to_serial: int
    removed: int
    added: int


@dataclass(frozen=True, slots=True)
class Excess:
    """One limit passed. `category` is empty for all rules; `summed` over 24 hours, or in one step."""

    from_serial: int
    to_serial: int
    removal: bool
    category: str
    count: int
    before: int
    summed: bool

    def __str__(self) -> str:
        share = f"{100 * self.count / self.before:.1f} %" if self.before else _("there were none")
        where = _("of all rules")
        if self.category:
            word = next((w for c, w in CATEGORY_WORDS.items() if c == self.category), self.category)
            where = _("of category {category}").format(category=_(word))
        if self.removal:
            what = _("{n} of {before} rules removed ({share}) {where}")
        else:
            what = _("{n} rules added to {before} ({share}) {where}")
        span = (
            _("within 24 hours, releases {a} to {b}") if self.summed else _("in one step, from release {a} to {b}")
        ).format(a=self.from_serial, b=self.to_serial)
        return f"{what.format(n=self.count, before=self.before, share=share, where=where)} {span}"


def count(rules: Iterable[Rule], now: datetime) -> Counts:
    """Rules in force by category."""
    hour = hours(now + LAPSING)
    return Counter(str(rule.category) for rule in rules if rule.expires > hour)


def measure(removed: Iterable[Rule], added: Iterable[Rule], now: datetime) -> tuple[Counts, Counts]:
    """What a delta takes away and brings, by category (see above for what counts)."""
    hour = hours(now + LAPSING)
    come = {rule.key: rule for rule in added}
    gone_counts: Counter[str] = Counter()
    come_counts: Counter[str] = Counter(str(rule.category) for rule in come.values() if rule.expires > hour)
    for rule in removed:
        heir = come.get(rule.key)
        if heir is not None and _says_as_much(heir, rule) and rule.expires > hour:
            come_counts[str(heir.category)] -= 1
        elif rule.expires > hour:
            gone_counts[str(rule.category)] += 1
    return +gone_counts, +come_counts


def spread(steps: Sequence[Step], since: datetime, now: datetime) -> tuple[Step, ...]:
    """The steps with their times spread evenly from `since` (excluded) to `now`."""
    pause = max(now - since, timedelta(0)) / max(len(steps), 1)
    return tuple(replace(step, at=now - pause * (len(steps) - 1 - place)) for place, step in enumerate(steps))


def clear(steps: Iterable[Step], allowances: Sequence[Allowance]) -> tuple[Step, ...]:
    """Mark the steps that bulk statements let pass: each up to its counts, and not one rule more."""
    return tuple(replace(step, cleared=step.cleared or _allowed(step, allowances)) for step in steps)


def judge(steps: Sequence[Step], history: Sequence[Step] = ()) -> tuple[Excess, ...]:
    """Every limit that `steps` pass, each by itself and, with the accepted ones in `history`, over 24 hours."""
    found = [excess for step in steps if not step.cleared for excess in _excesses([step], summed=False)]
    seen = {(e.removal, e.category) for e in found}
    for place, step in enumerate(steps):
        if step.cleared:
            continue
        window = [s for s in (*history, *steps[: place + 1]) if not s.cleared and step.at - WINDOW < s.at <= step.at]
        if len(window) > 1:
            for excess in _excesses(window, summed=True):
                if (excess.removal, excess.category) not in seen:
                    seen.add((excess.removal, excess.category))
                    found.append(excess)
    return tuple(found)


def recent(history: Iterable[Step], now: datetime) -> tuple[Step, ...]:
    """The steps of `history` that can still be summed."""
    return tuple(step for step in history if now - WINDOW < step.at)


def _says_as_much(heir: Rule, rule: Rule) -> bool:
    return (
        heir.action is rule.action
        and heir.data == rule.data
        and heir.category is rule.category
        and heir.expires >= rule.expires
    )


def _allowed(step: Step, allowances: Sequence[Allowance]) -> bool:
    inside: list[Allowance] = []
    for a in sorted(allowances, key=lambda a: (a.from_serial, -a.to_serial)):
        reached = inside[-1].to_serial if inside else step.from_serial
        if reached <= a.from_serial < a.to_serial <= step.to_serial:
            inside.append(a)
    if not inside:
        return False
    more_removed = step.total_removed - sum(a.removed for a in inside)
    more_added = step.total_added - sum(a.added for a in inside)
    if more_removed <= 0 and more_added <= 0:
        return True
    covered = sum(a.to_serial - a.from_serial for a in inside)
    if covered == step.to_serial - step.from_serial:
        return False
    # A jump over several serials, their deltas no longer at hand: what the statements do not cover must be plausible.
    rest = replace(step, removed={"": max(more_removed, 0)}, added={"": max(more_added, 0)})
    return not list(_excesses([rest], summed=False))


def _excesses(window: Sequence[Step], summed: bool) -> Iterator[Excess]:
    """Limits passed by the sum of the steps, against what there was before the first."""
    before = Counter(window[0].before)
    for removal in (True, False):
        sums: Counter[str] = Counter()
        for step in window:
            sums.update(step.removed if removal else step.added)
        share = MAX_REMOVED_SHARE if removal else MAX_ADDED_SHARE
        whole = ("", sums.total(), before.total())
        for category, n, base in [whole, *((c, n, before[c]) for c, n in sums.items() if c)]:
            # Where one category is all there is, its limit says nothing new.
            if n > SMALL and n > share * base and (not category or (n, base) != whole[1:]):
                yield Excess(window[0].from_serial, window[-1].to_serial, removal, category, n, base, summed)


def pass_until(steps: Iterable[Step], serial: int) -> Iterator[Step]:
    """The steps with all up to `serial` marked as let pass."""
    for step in steps:
        yield replace(step, cleared=step.cleared or step.to_serial <= serial)
