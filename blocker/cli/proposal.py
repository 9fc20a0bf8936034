"""`blocker proposal`: the unit of review. Opened under a decision, filled, looked at, signed."""

from datetime import datetime
from pathlib import Path

import click

from blocker.cli.additions import add
from blocker.cli.ask import ask, ask_text, ask_yes, command_text, interactive, read_lines, require
from blocker.cli.desk import Signing, load_guard, now, opened, register_option, signing_options
from blocker.cli.imports import import_, template
from blocker.cli.numbers import draft_option, entries_of, number_argument, read_number
from blocker.cli.plan import plan_data, plan_text, proposal_data, proposal_table, report_data, report_text
from blocker.cli.when import read_expiry
from blocker.proposal import Change, Verb
from blocker.workflow import ProposalState
from feeds.errors import Refused
from feeds.language import _
from feeds.terminal import answer, hint, json_option


@click.group(help=_("Prepare, check and sign a proposal of changes."))
def proposal() -> None:
    """The group."""


proposal.add_command(add)
proposal.add_command(import_)
proposal.add_command(template)


@proposal.command(help=_("Open a proposal under a decision."))
@click.option("--decision", metavar="NOTATION", help=_("The decision its entries rest on."))
@register_option
@json_option
def new(decision: str | None, register_url: str | None, as_json: bool) -> None:
    """A new draft."""
    require(("--decision", decision))
    with opened(register_url) as register:
        if decision is None:
            recent = register.decisions.search(limit=10)
            for one in recent:
                click.echo(f"  {one.notation}  {one.subject}", err=True)
            decision = ask_text(None, "--decision", _("Decision"), default=recent[0].notation if recent else None)
        number = register.proposals.new(decision, now())
    answer(
        as_json,
        {"proposal": number, "decision": decision},
        _("Proposal {n} is open under decision {decision}.").format(n=number, decision=decision),
    )
    hint(
        _("Next, put targets into it: {command}").format(
            command=command_text("proposal", "import", "FILE", "--proposal", number)
        )
    )
    hint(_("or single ones: {command}").format(command=command_text("proposal", "add", "NAME", "--proposal", number)))


@proposal.command("list", help=_("List proposals, newest first."))
@click.option("--state", type=click.Choice([str(s) for s in ProposalState]), help=_("Only those in this state."))
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help=_("At most so many."))
@click.option("--offset", type=click.IntRange(0), default=0, help=_("Leave out so many at the start."))
@register_option
@json_option
def list_(state: str | None, limit: int, offset: int, register_url: str | None, as_json: bool) -> None:
    """One line a proposal."""
    with opened(register_url) as register:
        found = register.proposals.list(ProposalState(state) if state else None, limit, offset)
    answer(as_json, [proposal_data(p) for p in found], proposal_table(found))


@proposal.command(help=_("Show a proposal as a plan: what comes, goes, changes and is refused, and why."))
@number_argument
@click.option("--all", "everything", is_flag=True, help=_("Every line, not only the first of each kind."))
@register_option
@json_option
def show(number: str | None, everything: bool, register_url: str | None, as_json: bool) -> None:
    """The plan, judged by the guard of today."""
    with opened(register_url) as register:
        chosen = read_number(register, number, ProposalState.DRAFT)
        plan = register.proposals.plan(chosen, now(), load_guard(register.training))
    answer(as_json, plan_data(plan, everything), "" if as_json else plan_text(plan, everything))
    if plan.proposal.state is ProposalState.DRAFT and plan.proposal.items:
        hint(_("Next, sign it: {command}").format(command=command_text("proposal", "sign", chosen)))
    elif plan.proposal.state in (ProposalState.SIGNED, ProposalState.EMERGENCY):
        hint(
            _("Next, another officer approves or rejects: {command}").format(
                command=command_text("review", "approve", chosen)
            )
        )


@proposal.command(help=_("Propose it: sign the draft as it stands. Afterwards it can no longer be changed."))
@number_argument
@click.option("--yes", is_flag=True, help=_("Sign without asking once more."))
@register_option
@signing_options
@json_option
def sign(number: str | None, yes: bool, register_url: str | None, signing: Signing, as_json: bool) -> None:
    """The proposer's signature."""
    require(("PROPOSAL", number), *signing.needed())
    with opened(register_url) as register:
        chosen = read_number(register, number, ProposalState.DRAFT)
        if interactive() and not yes:
            plan = register.proposals.plan(chosen, now(), load_guard(register.training))
            click.echo(plan_text(plan), err=True)
            if not ask_yes(_("Sign this proposal?")):
                raise Refused(_("not signed"), kept=_("the draft is as it was"))
        me = signing.open()
        sha256 = register.proposals.sign(chosen, me.officer, me.key, now())
    answer(
        as_json,
        {"proposal": chosen, "sha256": sha256, "officer": me.officer},
        _("Proposal {n} is signed by {officer} (SHA-256 {sha256}).").format(
            n=chosen, officer=me.officer, sha256=sha256
        ),
    )
    hint(_("Next, another officer looks at it: {command}").format(command=command_text("review", "show", chosen)))


@proposal.command(help=_("Take targets (or changes, as ENTRY numbers) out of a draft."))
@click.argument("items", nargs=-1)
@draft_option
@register_option
@json_option
def drop(items: tuple[str, ...], number: str | None, register_url: str | None, as_json: bool) -> None:
    """Fewer items."""
    require(("ITEMS", items), ("--proposal", number))
    wanted = items or tuple(ask_text(None, "ITEMS", _("Which targets, separated by blanks")).split())
    with opened(register_url) as register:
        chosen = read_number(register, number, ProposalState.DRAFT)
        gone = register.proposals.drop(chosen, wanted, now())
    answer(as_json, {"proposal": chosen, "dropped": gone}, _("{n} items are out of the draft.").format(n=gone))


@proposal.command(help=_("Give up a draft."))
@number_argument
@click.option("--yes", is_flag=True, help=_("Without asking once more."))
@register_option
@json_option
def discard(number: str | None, yes: bool, register_url: str | None, as_json: bool) -> None:
    """The draft ends; nothing was proposed."""
    require(("PROPOSAL", number))
    with opened(register_url) as register:
        chosen = read_number(register, number, ProposalState.DRAFT)
        if interactive() and not yes and not ask_yes(_("Give up proposal {n}?").format(n=chosen)):
            raise Refused(_("not given up"), kept=_("the draft is as it was"))
        register.proposals.discard(chosen, now())
    answer(as_json, {"proposal": chosen, "state": "discarded"}, _("Proposal {n} is given up.").format(n=chosen))


def _change_command(verb: Verb, help_text: str) -> click.Command:
    """`extend`, `suspend`, `resume`, `withdraw`: they differ by the verb, and extend takes an expiry."""

    def run(
        entries: tuple[str, ...],
        number: str | None,
        reason: str | None,
        register_url: str | None,
        as_json: bool,
        expires: str | None = None,
        from_file: Path | None = None,
    ) -> None:
        require(("ENTRIES", entries or from_file), ("--proposal", number), ("--reason", reason))
        moment = now()
        until: datetime | None = None
        with opened(register_url) as register:
            chosen = read_number(register, number, ProposalState.DRAFT)
            named = list(entries)
            if from_file is not None:
                named += read_lines(from_file)
            if not named:
                named = ask_text(None, "ENTRIES", _("Which entries (numbers, names or addresses)")).split()
            why = ask_text(reason, "--reason", _("Reason"))
            if verb is Verb.EXTEND and (expires is not None or interactive()):
                text = ask_text(
                    expires,
                    "--expires",
                    _("New expiry (24/11/2026 or 30d; Enter: the usual time from now)"),
                    default="",
                )
                until = ask(text, "--expires", "", lambda t: read_expiry(t, moment)) if text else None
            numbers = entries_of(register, named, moment)
            changes = [Change(verb, n, why, until, place) for n, place in numbers]
            report = register.proposals.change(chosen, changes, load_guard(register.training), moment)
        answer(as_json, {"proposal": chosen, **report_data(report)}, report_text(report))
        hint(_("Next, look at it: {command}").format(command=command_text("proposal", "show", chosen)))
        if report.refused:
            raise click.exceptions.Exit(Refused.exit_code)

    made = json_option(register_option(run))
    if verb is Verb.EXTEND:
        made = click.option("--expires", metavar="WHEN", help=_("The new end: 24/11/2026, 2026-11-24 or 30d."))(made)
    made = click.option("--reason", metavar="TEXT", help=_("Why; it stays in the entry's history."))(made)
    made = click.option(
        "--file",
        "from_file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help=_("A file with entries, one a line."),
    )(made)
    made = draft_option(made)
    made = click.argument("entries", nargs=-1)(made)
    return click.command(str(verb), help=help_text)(made)


proposal.add_command(_change_command(Verb.EXTEND, _("Let entries last longer (numbers, names or addresses).")))
proposal.add_command(_change_command(Verb.SUSPEND, _("Stop enforcing entries for a time; they can be resumed.")))
proposal.add_command(_change_command(Verb.RESUME, _("Enforce suspended entries again.")))
proposal.add_command(_change_command(Verb.WITHDRAW, _("End entries for good, at the next publication.")))
