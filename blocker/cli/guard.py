"""`blocker guard`: ask the overblocking guard, see where its data come from, build its index."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from blocker.guard import RULES, Finding, Guard, Severity, max_hours
from blocker.guard.index import open_index
from blocker.sheet import ParsedTarget, parse_targets, read_sheet
from feeds.errors import Problem, Refused, Rejected
from feeds.language import N_, _, plural
from feeds.rule import Scope
from feeds.terminal import answer, day_text, hint, json_option, table

SEVERITY_WORDS = {Severity.NEVER: N_("never"), Severity.CONFIRM: N_("confirm"), Severity.WARN: N_("warn")}

cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Directory of the guard's index; default: the user's cache directory."),
)


@click.group(help=_("Ask the overblocking guard about names and addresses."))
def guard() -> None:
    pass


@guard.command(
    help=_("Judge TARGETs (names, links, addresses, prefixes, ranges), or with --from every line of a list.")
)
@click.argument("targets", nargs=-1, metavar="TARGET...")
@click.option(
    "--from",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("A list or sheet (txt, txt.gz, csv, xlsx); what is found is counted by rule."),
)
@click.option("--exact", is_flag=True, help=_("Judge the names alone, without the names below them."))
@click.option("--training", is_flag=True, help=_("Judge as a training register does."))
@cache_option
@json_option
def check(
    targets: tuple[str, ...], path: Path | None, exact: bool, training: bool, cache: Path | None, as_json: bool
) -> None:
    if bool(targets) == bool(path):
        raise click.UsageError(_("name either targets or a list with --from"))
    judge = Guard.load(training, cache)
    scope = Scope.EXACT if exact else None
    found = _check_list(judge, path, scope, as_json) if path else _check_each(judge, targets, scope, as_json)
    if found[Severity.NEVER]:
        raise Refused(
            plural("{n} target may never be listed", "{n} targets may never be listed", found[Severity.NEVER]).format(
                n=found[Severity.NEVER]
            ),
            then=_("leave it out, or name the criminal's own host below it"),
        )


@guard.command(help=_("Show every list the guard judges by: for which rule, from where, how old."))
@cache_option
@json_option
def sources(cache: Path | None, as_json: bool) -> None:
    judge, now = Guard.load(False, cache), datetime.now(UTC)
    lists, age = judge.sources(), judge.data_age(now)
    data = [
        {
            "rule": x.rule,
            "list": x.key,
            "origin": x.origin,
            "title": x.title,
            "version": x.version,
            "date": x.day.isoformat() if x.day else None,
            "age_days": (now.date() - x.day).days if x.day else None,
            "items": x.items,
        }
        for x in lists
    ]
    rows_ = [
        (x.rule, x.key, x.origin, day_text(x.day) if x.day else x.version, _days(x.day, now), x.items) for x in lists
    ]
    columns = [_("rule"), _("list"), _("origin"), _("date or version"), _("age, days"), _("items")]
    text = table(columns, rows_)
    if age is not None:
        text += "\n" + _("The packages' lists were last gathered {n} days ago.").format(n=age.days)
    answer(as_json, {"age_days": age.days if age is not None else None, "lists": data}, text)


@guard.command(help=_("Build the guard's index now instead of at first use."))
@click.option("--rebuild", is_flag=True, help=_("Build it even if it is there."))
@cache_option
@json_option
def index(rebuild: bool, cache: Path | None, as_json: bool) -> None:
    opened = open_index(cache, rebuild)
    size = opened.path.stat().st_size
    data = {"path": str(opened.path), "bytes": size, "lists": len(opened.lists)}
    answer(
        as_json,
        data,
        _("{path}: {n} lists, {size} MB").format(path=opened.path, n=len(opened.lists), size=size // 1_000_000),
    )


@guard.command(name="rules", help=_("Show every rule of the guard."))
@json_option
def show_rules(as_json: bool) -> None:
    data = [{"rule": r.id, "severity": r.severity, "sentence": _(r.sentence), "max_hours": r.max_hours} for r in RULES]
    rows_ = [(r.id, _(SEVERITY_WORDS[r.severity]), _(r.sentence)) for r in RULES]
    answer(as_json, data, table([_("rule"), _("severity"), _("sentence")], rows_))


def _days(day: date | None, now: datetime) -> str:
    return str((now.date() - day).days) if day else ""


def _check_each(judge: Guard, typed: Iterable[str], scope: Scope | None, as_json: bool) -> Counter[Severity]:
    parsed: list[ParsedTarget] = []
    problems: list[Problem] = []
    for text in typed:
        try:
            parsed += parse_targets(text, scope)
        except Rejected as error:
            problems.append(Problem("", error.rule, error.what))
    if problems:
        raise Rejected(
            _("not every target could be read"),
            problems=problems,
            kept=_("nothing was judged"),
            then=_("correct them and try again"),
        )
    judged = [(str(one.target), judge.judge(one.target, path_dropped=one.path_dropped)) for one in parsed]
    shown = []
    for target, findings in judged:
        for f in findings:
            shown.append((target, _(SEVERITY_WORDS[f.severity]), f.rule, f.sentence, f.evidence))
        if not findings:
            shown.append((target, "-", "-", _("nothing known against listing it"), ""))
    columns = [_("target"), _("severity"), _("rule"), _("sentence"), _("evidence")]
    answer(as_json, [_as_json(target, findings) for target, findings in judged], table(columns, shown))
    return _gravest(findings for _target, findings in judged)


def _check_list(judge: Guard, path: Path, scope: Scope | None, as_json: bool) -> Counter[Severity]:
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    gravest: Counter[Severity] = Counter()
    judged = clean = 0
    problems: list[Problem] = []
    for row in read_sheet(path, scope):
        problems += row.problems
        for one in row.targets:
            judged += 1
            findings = judge.judge(one.target, path_dropped=one.path_dropped)
            clean += not findings
            gravest.update(_gravest([findings]))
            for f in findings:
                counts[f.rule] += 1
                examples.setdefault(f.rule, f"{one.target}: {f.evidence}")
    severity = {rule.id: rule.severity for rule in RULES}
    told = [rule.id for rule in RULES if counts[rule.id]]
    shown = [(rule, _(SEVERITY_WORDS[severity[rule]]), counts[rule], examples[rule]) for rule in told]
    data = {
        "targets": judged,
        "clean": clean,
        "targets_by_gravest": {s.value: gravest[s] for s in Severity},
        "rules": [{"rule": r, "severity": severity[r].value, "count": counts[r], "example": examples[r]} for r in told],
        "problems": [{"place": p.place, "rule": p.rule, "message": p.message} for p in problems],
    }
    text = table([_("rule"), _("severity"), _("targets"), _("for example")], shown)
    text += "\n" + _("{n} targets judged: {never} never, {confirm} to confirm, {warn} warned of, {clean} clean").format(
        n=judged,
        never=gravest[Severity.NEVER],
        confirm=gravest[Severity.CONFIRM],
        warn=gravest[Severity.WARN],
        clean=clean,
    )
    answer(as_json, data, text)
    for problem in problems[:20]:
        hint(str(problem))
    if len(problems) > 20:
        hint(_("... and {n} more lines that could not be read").format(n=len(problems) - 20))
    return gravest


def _gravest(judged: Iterable[tuple[Finding, ...]]) -> Counter[Severity]:
    # Findings come gravest first.
    return Counter(findings[0].severity for findings in judged if findings)


def _as_json(target: str, findings: tuple[Finding, ...]) -> dict[str, Any]:
    return {
        "target": target,
        "severity": findings[0].severity if findings else None,
        "max_hours": max_hours(findings),
        "findings": [
            {"rule": f.rule, "severity": f.severity, "sentence": f.sentence, "evidence": f.evidence} for f in findings
        ],
    }
