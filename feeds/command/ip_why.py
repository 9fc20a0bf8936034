"""`blocker ip why`: which rules speak of an address, which one decides, and what the filter does with it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from feeds.command.ip_options import exceptions_option
from feeds.command.ip_wish import exceptions_of, release_of
from feeds.command.state import state_option
from feeds.ipfilter.filter import PROTOCOLS, Filter
from feeds.ipfilter.lookup import Lookup, Match
from feeds.ipfilter.wanted import DROPPED, wanted
from feeds.language import _
from feeds.prefix import Prefix
from feeds.rule import Rule, hour_text
from feeds.terminal import answer, json_option, table

SHOWN = 20


@click.command(help=_("Show which rules speak of an address or prefix, and whether the filter drops it."))
@click.argument("address")
@state_option
@exceptions_option
@json_option
def why(address: str, state: Path, exceptions: Path | None, as_json: bool) -> None:
    targets = Prefix.parse(address)
    accepted, moment = release_of(state)
    rules = accepted.release().in_force(moment)
    free = exceptions_of(exceptions) if exceptions else ()
    lookup = Lookup(rules)
    found = [(target, lookup.match(target), lookup.within(target)) for target in targets]
    data, lines = [], []
    for target, match, inside in found:
        spoken = {rule.key: rule for rule in (*match.rules, *inside)}.values()
        verdict = _verdict(target, spoken, free)
        excepted = [str(prefix) for prefix in free if prefix.covers(target) or target.covers(prefix)]
        deciding = match.deciding()
        data.append(
            {
                "target": str(target),
                "filter": verdict,
                "decided_by": deciding.entry if deciding else None,
                "rules": [_json(rule) for rule in match.rules],
                "rules_for_parts": [_json(rule) for rule in inside],
                "exceptions": excepted,
            }
        )
        lines += [f"{target}: {_sentence(verdict)}"]
        if excepted:
            lines.append(_("excepted by you: {prefixes}").format(prefixes=", ".join(excepted[:SHOWN])))
        if match.rules or inside:
            lines.append(_rows(match, inside))
    answer(as_json, {"serial": accepted.manifest.serial, "targets": data}, "\n".join(lines))


def _verdict(target: Prefix, rules: Iterable[Rule], exceptions: Iterable[Prefix]) -> str:
    """`dropped`, `partly` or `passed`, by the very filter that these rules make."""
    made = wanted(rules, exceptions).filter
    if any(first <= target.network and target.last <= last for first, last in made.whole(target.version)):
        return "dropped"
    return "partly" if _touches(made, target) else "passed"


def _touches(made: Filter, target: Prefix) -> bool:
    boxes = [(b.first, b.last) for protocol in PROTOCOLS for b in made.boxes(protocol, target.version)]
    whole = ((first, last) for first, last in made.whole(target.version))
    return any(first <= target.last and target.network <= last for first, last in (*boxes, *whole))


def _sentence(verdict: str) -> str:
    return {
        "dropped": _("the filter drops it"),
        "partly": _("the filter drops a part of it, or some ports"),
        "passed": _("the filter lets it pass"),
    }[verdict]


def _rows(match: Match, inside: tuple[Rule, ...]) -> str:
    decides = match.deciding()
    rows = [(_("decides") if rule is decides else "", *_cells(rule)) for rule in match.rules]
    rows += [(_("a part"), *_cells(rule)) for rule in inside[:SHOWN]]
    columns = ["", _("prefix"), _("ports"), _("action"), _("entry"), _("category"), _("decision"), _("until")]
    text = table(columns, rows)
    if len(inside) > SHOWN:
        text += "\n" + _("{n} more, all with --json").format(n=len(inside) - SHOWN)
    return text


def _cells(rule: Rule) -> tuple[str, ...]:
    action = rule.action.value if rule.action in DROPPED else _("{action}, not dropped").format(action=rule.action)
    until = hour_text(rule.expires)
    return str(rule.target), str(rule.limits), action, rule.entry, rule.category.value, rule.decision, until


def _json(rule: Rule) -> dict[str, Any]:
    return {
        "prefix": str(rule.target),
        "ports": str(rule.limits),
        "action": rule.action.value,
        "entry": rule.entry,
        "category": rule.category.value,
        "decision": rule.decision,
        "expires": hour_text(rule.expires),
    }
