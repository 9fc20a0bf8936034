"""Plain list: one target a line, a name with all names below it, or a prefix. For firewalls and proxies.

Readers of such lists take a name for itself and what lies below, so an exact rule would block more than was decided
and stays out, and so does a target with an exception inside.
"""

from collections.abc import Iterator

from feeds.language import N_
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.render.form import DROPPING, REFUSING, Format, Rendering, View, by_name, count, prefix_rules
from feeds.rule import Rule


def _targets(view: View, left_out: dict[str, int]) -> Iterator[str]:
    """The targets that a plain list can say; the rest is counted when the iterator has ended."""
    excepted = {
        parent
        for named in by_name(view.rules)
        if any(rule is not None and rule.action not in REFUSING for rule in (named.exact, named.subtree))
        for parent in DomainName(named.name).parents()
    }
    for named in by_name(view.rules):
        exact, subtree = named.exact, named.subtree
        if exact is not None and subtree is None:
            count(left_out, "exact" if exact.action in REFUSING else "passing")
        elif subtree is not None and subtree.action not in REFUSING:
            count(left_out, "passing")
        elif named.name in excepted or (exact is not None and exact.action not in REFUSING):
            count(left_out, "exception")
        else:
            yield named.name
    yield from _prefixes(tuple(prefix_rules(view.rules)), left_out)


def _prefixes(rules: tuple[Rule, ...], left_out: dict[str, int]) -> Iterator[str]:
    passing = [rule.target for rule in rules if rule.action not in DROPPING]
    for rule in rules:
        target = rule.target
        if rule.limits.protocol:
            count(left_out, "limits")
        elif rule.action not in DROPPING:
            count(left_out, "dns-only" if rule.action in REFUSING else "passing")
        elif isinstance(target, Prefix) and any(isinstance(p, Prefix) and target.covers(p) for p in passing):
            count(left_out, "exception")
        else:
            yield str(target)


def _write(view: View) -> Rendering:
    left_out = view.left_out()
    for _target in _targets(view, left_out):
        pass

    def lines() -> Iterator[str]:
        for line in view.heading("plain", left_out):
            yield "# " + line
        yield from _targets(view, {})

    return Rendering(lines(), left_out)


FORMAT = Format("plain", N_("plain list of names and prefixes"), "blocker.txt", "text/plain", _write)
