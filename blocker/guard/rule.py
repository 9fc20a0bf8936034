"""What a rule of the guard is, and what it may ask about the target it judges."""

from collections.abc import Callable
from dataclasses import dataclass

from blocker.guard.index import Index, NameHits, RangeHit
from blocker.guard.verdict import Finding, Severity
from feeds.floor import SPECIAL_USE_NAMES, crossed
from feeds.language import _
from feeds.prefix import Prefix
from feeds.rule import NameTarget, Scope, Target

NOWHERE = NameHits(0, 0, 0)


class Subject:
    """One target with what the index knows of it; looked up once, read by all rules."""

    __slots__ = (
        "above",
        "ancestors",
        "below",
        "covered",
        "floor",
        "index",
        "listed",
        "name",
        "own",
        "path_dropped",
        "prefix",
        "ranges",
        "same",
        "subtree",
        "target",
        "training",
    )

    def __init__(
        self,
        target: Target,
        open_index: Callable[[], Index],
        *,
        training: bool,
        path_dropped: bool,
        listed: Callable[[Target], str | None] | None,
    ) -> None:
        self.target, self.training, self.path_dropped, self.listed = target, training, path_dropped, listed
        self.floor = crossed(target, training)
        self.name: str | None = None
        self.prefix: Prefix | None = None
        self.subtree = False
        self.ancestors: tuple[str, ...] = ()
        self.above: dict[str, NameHits] = {}
        self.own = self.same = self.below = self.covered = 0
        self.ranges: dict[str, RangeHit] = {}
        self.index: Index | None = None
        if isinstance(target, NameTarget):
            self._look_up_name(target, open_index)
        else:
            self._look_up_prefix(target, training, open_index)

    def _look_up_name(self, target: NameTarget, open_index: Callable[[], Index]) -> None:
        name = self.name = target.name.text
        self.subtree = target.scope is Scope.SUBTREE
        # The index holds no reserved name, so a training register needs none.
        if name.rpartition(".")[2] in SPECIAL_USE_NAMES:
            return
        self.ancestors = tuple(_ancestors(name))
        index = self.index = open_index()
        hits = self.above = index.names((name, *self.ancestors))
        if hits:
            own = hits.pop(name, NOWHERE)
            self.own, self.same, self.below = own.own, own.same, own.below
            for found in hits.values():
                self.covered |= found.own & index.covering

    def _look_up_prefix(self, prefix: Prefix, training: bool, open_index: Callable[[], Index]) -> None:
        self.prefix = prefix
        if not training:
            index = self.index = open_index()
            self.ranges = index.ranges(prefix)


Check = Callable[[Subject], str | None]


@dataclass(frozen=True, slots=True)
class GuardRule:
    """One rule. `check` gives the evidence, or None if the rule has nothing to say.

    `sentence` is for the catalogue (`N_`), translated where it is shown. `max_hours` limits how long the target may
    be listed even when confirmed.
    """

    id: str
    severity: Severity
    sentence: str
    check: Check
    max_hours: int | None = None

    def judge(self, subject: Subject) -> Finding | None:
        evidence = self.check(subject)
        if evidence is None:
            return None
        return Finding(self.id, self.severity, _(self.sentence), evidence)


def listed_name(subject: Subject, mask: int) -> str | None:
    """Evidence that the lists of `mask` hold the target, a name above it that covers it, or a name below it.

    A name below counts only if the target takes its subtree along.
    """
    index = subject.index
    if index is None:
        return None
    if hit := subject.own & mask:
        return f"{index.listed(hit)}: {subject.name}"
    if hit := subject.covered & mask:
        for ancestor in subject.ancestors:
            found = subject.above.get(ancestor, NOWHERE).own & hit & index.covering
            if found:
                return _("{list}: {item}, which is above it").format(list=index.listed(found), item=ancestor)
    return listed_below(subject, mask)


def listed_below(subject: Subject, mask: int) -> str | None:
    """Evidence that the target's subtree holds a name of the lists of `mask`."""
    index = subject.index
    hit = (subject.below | subject.same) & mask if subject.subtree else 0
    if index is None or subject.name is None or not hit:
        return None
    listed = index.listed(hit)
    item, count = index.example(subject.name, listed.number)
    if not count:
        item, count = _("a www. or m. name of this very name"), 1
    text = _("{list}: {item}, which is below it").format(list=listed, item=item)
    return text if count == 1 else text + " " + _("(and {n} more)").format(n=count - 1)


def listed_range(subject: Subject, rule: str) -> str | None:
    """Evidence that the lists of prefixes of this rule meet the target."""
    hit = subject.ranges.get(rule)
    return f"{hit.listed}: {hit.item}" if hit else None


def _ancestors(name: str) -> list[str]:
    found = []
    _label, _dot, parent = name.partition(".")
    while "." in parent:
        found.append(parent)
        parent = parent.partition(".")[2]
    return found
