"""`blocker proposal import`: a whole sheet into a draft, read and judged to its end, and given back with its errors.

The sheet streams through: what is held are the rows that did not go in and the targets somebody must look at.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import click

from blocker.cli.additions import Common, ask_category, common_options, read_common
from blocker.cli.ask import ask_text, command_text, interactive, require
from blocker.cli.desk import load_guard, now, opened, register_option
from blocker.cli.numbers import read_number
from blocker.cli.plan import report_data, report_text
from blocker.proposal import Addition
from blocker.register import AddReport, Refusal
from blocker.sheet import SheetRow, read_sheet, write_errors, write_template
from blocker.workflow import ProposalState
from feeds.errors import Problem, Refused, Rejected
from feeds.language import _, spoken
from feeds.rule import Category
from feeds.terminal import Advance, answer, hint, json_option, printable, progress

STEP = 1000  # rows between two movements of the progress bar


@dataclass
class Reading:
    """The rows on their way into the register; keeps those that cannot go in, by their number in the sheet."""

    common: Common
    advance: Advance
    seen: int = 0
    unread: list[Refusal] = field(default_factory=list)
    warned: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Problem] = field(default_factory=dict)

    def additions(self, sheet: Iterable[SheetRow]) -> Iterator[Addition]:
        """What each good row asks for; what the sheet does not say comes from the options."""
        for row in sheet:
            self.seen += 1
            if self.seen % STEP == 0:
                self.advance(STEP)
            for warning in row.warnings:
                self.warned[warning.rule] += 1
                self.examples.setdefault(warning.rule, warning)
            if row.problems:
                self._keep(row, row.problems)
                continue
            common = _of_row(row, self.common)
            missing = _missing(common)
            if missing:
                self._keep(row, missing)
                continue
            for parsed in row.targets:
                yield common.addition(parsed, row.place)

    def sentences(self) -> list[str]:
        """What the sheet's own warnings amount to, a line for each rule."""
        return [
            _("{n} lines: {example} [{rule}]").format(n=n, example=printable(f"{at.place}: {at.message}"), rule=rule)
            for rule, n in sorted(self.warned.items())
            for at in (self.examples[rule],)
        ]

    def _keep(self, row: SheetRow, problems: tuple[Problem, ...]) -> None:
        shown = ", ".join(str(parsed.target) for parsed in row.targets[:3])
        self.unread.append(Refusal(row.place, shown, problems))


def _of_row(row: SheetRow, common: Common) -> Common:
    """The row's own words win over the options."""
    return replace(
        common,
        category=row.category or common.category,
        reason=row.reason or common.reason,
        action=row.action or common.action,
        limits=row.limits if row.limits.protocol else common.limits,
        expires=row.expires or common.expires,
        evidence=tuple(re.split(r"[\s,;]+", row.evidence.lower())) if row.evidence else common.evidence,
    )


def _missing(common: Common) -> tuple[Problem, ...]:
    problems = []
    if common.category is None:
        problems.append(Problem("", "entry.category", _("no category is given")))
    if not common.reason:
        problems.append(Problem("", "entry.reason", _("no reason is given")))
    return tuple(problems)


@click.command(
    "import",
    help=_(
        "Put a whole sheet (txt, csv, xlsx) into a draft; it is read and judged to its end. "
        "Exit code 6: some lines were refused, the others are in."
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--errors",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("Write the sheet back to this file, with a column that says what is wrong; correct it and import it again."),
)
@click.option("--all", "everything", is_flag=True, help=_("Every refusal, not only the first ones."))
@common_options
@register_option
@json_option
def import_(
    file: Path | None,
    errors: Path | None,
    everything: bool,
    number: str | None,
    category: str | None,
    reason: str | None,
    scope: str | None,
    action: str | None,
    data: str | None,
    limits: str | None,
    valid_from: str | None,
    expires: str | None,
    evidence: tuple[str, ...],
    register_url: str | None,
    as_json: bool,
) -> None:
    """Stream, judge, report, give the errors back."""
    require(("FILE", file), ("--proposal", number))
    moment = now()
    path = Path(ask_text(None if file is None else str(file), "FILE", _("Which file"))).expanduser()
    common = read_common(moment, category, reason, scope, action, data, limits, valid_from, expires, evidence)
    with opened(register_url) as register:
        chosen = read_number(register, number, ProposalState.DRAFT)
        sheet = iter(read_sheet(path, scope=common.scope))
        first = next(sheet, None)
        if first is None:
            raise Rejected(_("{path} holds no line with a target").format(path=path), kept=_("the draft is as it was"))
        common = _completed(common, first)
        with progress(_("Reading and judging"), None) as advance:
            reading = Reading(common, advance)
            additions = reading.additions(chain([first], sheet))
            report = register.proposals.add(chosen, additions, load_guard(register.training), moment)
    report = replace(report, refused=tuple(sorted((*reading.unread, *report.refused), key=_row_number)))
    if errors is not None and report.refused:
        write_errors(path, errors, by_row(report))
    answer(
        as_json,
        {
            "proposal": chosen,
            "rows": reading.seen,
            **report_data(report, everything),
            "sheet_warnings": dict(reading.warned),
            "errors": str(errors) if errors and report.refused else None,
        },
        _("{n} lines read.").format(n=reading.seen) + " " + report_text(report, everything=everything),
    )
    for sentence in reading.sentences():
        hint(sentence)
    if report.refused:
        if errors is not None:
            hint(_("Correct {path} and import it again; what went in stays in.").format(path=errors))
        else:
            hint(_("With --errors OUT the sheet is written back with a column that says what is wrong."))
    hint(_("Next, look at it: {command}").format(command=command_text("proposal", "show", chosen)))
    if report.refused:
        raise click.exceptions.Exit(Refused.exit_code)


def by_row(report: AddReport) -> dict[int, tuple[Problem, ...]]:
    """Every reason of every refused row, by the row's number."""
    out: dict[int, tuple[Problem, ...]] = {}
    for refusal in report.refused:
        number = _row_number(refusal)
        out[number] = out.get(number, ()) + refusal.problems
    return out


def _row_number(refusal: Refusal) -> int:
    """The row's number, from its place (`row 17`)."""
    found = re.search(r"\d+", refusal.place)
    return int(found.group()) if found else 0


def _completed(common: Common, first: SheetRow) -> Common:
    """Ask for what neither the sheet's first line nor the options say; a script must have said it."""
    needed = _of_row(first, common)
    if first.problems:
        return common
    require(("--category", needed.category), ("--reason", needed.reason))
    if needed.category is None and interactive():
        common = replace(common, category=Category(ask_category()))
    if not needed.reason and interactive():
        question = _("Reason for lines that give none")
        common = replace(common, reason=ask_text(None, "--reason", question))
    return common


@click.command(help=_("Write an empty sheet (xlsx), headed in your language, to fill in and import."))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def template(file: Path, as_json: bool) -> None:
    """A file that exists is left as it is: it may hold somebody's morning."""
    if file.exists():
        raise Rejected(
            _("{path} exists already").format(path=file),
            kept=_("it was not touched"),
            then=_("name another file"),
        )
    write_template(file, spoken())
    answer(as_json, {"template": str(file)}, _("An empty sheet is in {path}.").format(path=file))
    hint(_("Fill it in, then import it: {command}").format(command=command_text("proposal", "import", file)))
