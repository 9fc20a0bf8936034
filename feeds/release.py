"""A release: the complete set of rules of one authority at a serial; immutable."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from feeds.errors import Problem, Rejected
from feeds.language import _
from feeds.rule import NameTarget, Rule, Serial, check_authority, hours


@dataclass(frozen=True, slots=True)
class Release:
    """`rules` stand in strictly rising order of `Rule.key`, all of them entries of `authority`."""

    authority: str
    serial: Serial
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        check_authority(self.authority)
        start = self.authority + ":"
        last: tuple[object, ...] = ()
        for place, rule in enumerate(self.rules, 1):
            key = rule.key
            if not last < key:
                what = _("two rules for one target") if key == last else _("rules out of order")
                problem = Problem(_("rule {n}").format(n=place), "release.order", f"{what}: {rule.target}")
                raise Rejected(_("this is not a release: {what}").format(what=what), problems=[problem])
            last = key
            if not rule.entry.startswith(start):
                raise Rejected(
                    _("rule {n} is of another authority: {entry}").format(n=place, entry=rule.entry),
                    rule="release.authority",
                )

    @classmethod
    def of(cls, authority: str, serial: int, rules: Iterable[Rule]) -> "Release":
        """A release of rules in any order; raises Rejected where two claim the same target."""
        return cls(authority, Serial(serial), tuple(sorted(rules, key=lambda rule: rule.key)))

    def counts(self) -> dict[str, int]:
        """Rules by kind and category: `names`, `prefixes`, `category:gambling` ..., and `rules` in all."""
        kinds = Counter("names" if isinstance(rule.target, NameTarget) else "prefixes" for rule in self.rules)
        categories = Counter(f"category:{rule.category}" for rule in self.rules)
        return {"rules": len(self.rules), "names": kinds["names"], "prefixes": kinds["prefixes"], **categories}

    def in_force(self, now: datetime) -> list[Rule]:
        """The rules that have not lapsed at `now`."""
        hour = hours(now)
        return [rule for rule in self.rules if rule.expires > hour]
