"""`blocker proposal add`: a few targets, typed; and what one adds about targets in general."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from blocker.cli.ask import ask, ask_choice, ask_text, command_text, interactive, require, tidy
from blocker.cli.desk import load_guard, now, opened, register_option
from blocker.cli.numbers import draft_option, read_number
from blocker.cli.plan import report_data, report_text, target_text
from blocker.cli.when import read_expiry, read_start
from blocker.proposal import Addition
from blocker.sheet import ParsedTarget, parse_targets
from blocker.workflow import ProposalState
from feeds.errors import Problem, Refused, Rejected
from feeds.language import _
from feeds.rule import CATEGORY_WORDS, NO_LIMITS, Action, Category, Limits, Scope
from feeds.terminal import answer, hint, json_option, printable


@dataclass(frozen=True, slots=True)
class Common:
    """What holds for every target of a batch; a sheet's own columns win over it."""

    category: Category | None
    reason: str
    scope: Scope | None
    action: Action
    data: str
    limits: Limits
    valid_from: datetime | None
    expires: datetime | None
    evidence: tuple[str, ...]

    def addition(self, parsed: ParsedTarget, place: str) -> Addition:
        """The new entry for one target; `category` must be known by now."""
        if self.category is None:
            raise Rejected(_("no category is given"), rule="entry.category")
        return Addition(
            target=parsed.target,
            category=self.category,
            reason=self.reason,
            action=self.action,
            data=self.data,
            limits=self.limits,
            valid_from=self.valid_from,
            expires=self.expires,
            evidence=self.evidence,
            path_dropped=parsed.path_dropped,
            place=place,
        )


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that describe entries."""
    for option in (
        click.option(
            "--evidence", multiple=True, metavar="SHA256", help=_("SHA-256 of a piece of evidence (repeat it).")
        ),
        click.option("--from", "valid_from", metavar="WHEN", help=_("When it begins; default: when it is approved.")),
        click.option(
            "--expires",
            metavar="WHEN",
            help=_("When it ends: 24/11/2026, 2026-11-24 or 30d; default 180 days, addresses 30."),
        ),
        click.option("--limits", metavar="TEXT", help=_("Addresses only: protocol and ports, as in tcp/80,443.")),
        click.option("--data", metavar="TEXT", help=_("For action local: the notice page's addresses or its name.")),
        click.option(
            "--action", type=click.Choice([str(a) for a in Action]), help=_("What a resolver does; default nxdomain.")
        ),
        click.option(
            "--scope",
            type=click.Choice([str(s) for s in Scope]),
            help=_("subtree: the name and all below it (default); exact: it alone."),
        ),
        click.option("--reason", metavar="TEXT", help=_("Why, in one sentence; it is shown to the public.")),
        click.option(
            "--category",
            type=click.Choice([str(c) for c in Category]),
            help=_("The crime; there is no other category."),
        ),
    ):
        command = option(command)
    return draft_option(command)


def read_common(
    moment: datetime,
    category: str | None,
    reason: str | None,
    scope: str | None,
    action: str | None,
    data: str | None,
    limits: str | None,
    valid_from: str | None,
    expires: str | None,
    evidence: tuple[str, ...],
) -> Common:
    """The options, checked."""
    return Common(
        category=Category(category) if category else None,
        reason=tidy(reason or ""),
        scope=Scope(scope) if scope else None,
        action=Action(action) if action else Action.NXDOMAIN,
        data=tidy(data or ""),
        limits=ask(limits, "--limits", "", Limits.parse) if limits else NO_LIMITS,
        valid_from=ask(valid_from, "--from", "", lambda t: read_start(t, moment)) if valid_from else None,
        expires=ask(expires, "--expires", "", lambda t: read_expiry(t, moment)) if expires else None,
        evidence=tuple(e.strip().lower() for e in evidence),
    )


def ask_category() -> str:
    """One of the closed list, explained."""
    return ask_choice(None, "--category", _("Category of the crime"), {str(c): _(CATEGORY_WORDS[c]) for c in Category})


@click.command(help=_("Put names, addresses, prefixes or ranges into a draft."))
@click.argument("targets", nargs=-1)
@common_options
@register_option
@json_option
def add(
    targets: tuple[str, ...],
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
    """Ask, judge, take what passes."""
    require(("TARGETS", targets), ("--proposal", number), ("--category", category), ("--reason", reason))
    asking = interactive() and category is None
    moment = now()
    with opened(register_url) as register:
        chosen = read_number(register, number, ProposalState.DRAFT)
        texts = targets or _ask_targets()
        category = category or ask_category()
        reason = ask_text(reason, "--reason", _("Reason"), explain=_("one sentence; it is shown to the public"))
        if asking and expires is None:
            expires = _ask_expiry(moment)
        common = read_common(moment, category, reason, scope, action, data, limits, valid_from, expires, evidence)
        additions, problems, notes = read_all(texts, common)
        for note in notes:
            click.echo(printable(note), err=True)
        if problems:
            raise Rejected(
                _("{n} of the targets cannot be read").format(n=len(problems)),
                kept=_("the draft is as it was"),
                then=_("correct them and try again"),
                problems=problems,
            )
        report = register.proposals.add(chosen, additions, load_guard(register.training), moment)
    answer(as_json, {"proposal": chosen, **report_data(report, everything=True)}, report_text(report, everything=True))
    hint(_("Next, look at it: {command}").format(command=command_text("proposal", "show", chosen)))
    if report.refused:
        raise click.exceptions.Exit(Refused.exit_code)


def read_all(texts: tuple[str, ...], common: Common) -> tuple[list[Addition], list[Problem], list[str]]:
    """Entries to add, what could not be read, and what to tell about the rest."""
    additions, problems, notes = [], [], []
    for text in texts:
        try:
            for parsed in parse_targets(text, common.scope):
                additions.append(common.addition(parsed, str(parsed.target)))
                notes += [f"{target_text(parsed.target)}: {note}" for note in parsed.notes]
        except Rejected as error:
            problems.append(Problem(text, error.rule, error.what))
    return additions, problems, notes


def _ask_targets() -> tuple[str, ...]:
    """One a line, until an empty line; a paste from a spreadsheet column is just that."""
    click.echo(_("Names, addresses or links, one a line; an empty line ends the list."), err=True)
    texts: list[str] = []
    while True:
        text = tidy(click.prompt(f"  {len(texts) + 1}", default="", show_default=False, err=True))
        if text:
            texts.append(text)
        elif texts:
            return tuple(texts)


def _ask_expiry(moment: datetime) -> str | None:
    def read(text: str) -> str:
        if text:
            read_expiry(text, moment)
        return text

    question = _("Expiry (24/11/2026 or 30d; Enter: 180 days, addresses 30)")
    return ask(None, "--expires", question, read, default="") or None
