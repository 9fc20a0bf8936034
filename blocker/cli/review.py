"""`blocker review`: the second pair of eyes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from blocker.cli.ask import ask_text, ask_yes, command_text, interactive, read_lines, require, tidy
from blocker.cli.desk import Signing, load_guard, now, opened, register_option, signing_options
from blocker.cli.numbers import number_argument, read_number
from blocker.cli.plan import plan_data, plan_text, proposal_data, proposal_table, reasons_of, reasons_text, target_text
from blocker.register import Judged
from blocker.workflow import ProposalState, check_four_eyes
from feeds.errors import Problem, Refused, Rejected
from feeds.language import _
from feeds.terminal import answer, hint, json_option, printable

WAITING = (ProposalState.SIGNED, ProposalState.EMERGENCY)


@click.group(help=_("Look at another officer's proposal; approve or reject it."))
def review() -> None:
    """The group."""


@review.command("list", help=_("List the proposals that wait for another officer."))
@register_option
@json_option
def list_(register_url: str | None, as_json: bool) -> None:
    """Emergencies first."""
    with opened(register_url) as register:
        found = [p for state in reversed(WAITING) for p in register.proposals.list(state, 1000)]
        changes = register.officers.pending()
    answer(as_json, [proposal_data(p) for p in found], proposal_table(found))
    if found:
        hint(_("Next, look at one: {command}").format(command=command_text("review", "show", found[0].number)))
    if changes:
        hint(_("Changes of officers wait, too: {command}").format(command=command_text("officer", "list")))


@review.command(help=_("Show a proposal as its reviewer must see it: the plan, and what to confirm."))
@number_argument
@click.option("--all", "everything", is_flag=True, help=_("Every line, not only the first of each kind."))
@register_option
@json_option
def show(number: str | None, everything: bool, register_url: str | None, as_json: bool) -> None:
    """The plan, judged by the guard of today."""
    with opened(register_url) as register:
        chosen = read_number(register, number, *WAITING)
        plan = register.proposals.plan(chosen, now(), load_guard(register.training))
        reasons = reasons_of(register.proposals.document(chosen)) if plan.proposal.sha256 else []
    answer(
        as_json,
        {**plan_data(plan, everything), "reasons": [{"reason": r, "targets": n} for r, n in reasons]},
        "" if as_json else plan_text(plan, everything) + "\n" + reasons_text(reasons, everything),
    )
    if plan.proposal.state in WAITING:
        hint(_("Next, approve it: {command}").format(command=command_text("review", "approve", chosen)))
        hint(_("or reject it: {command}").format(command=command_text("review", "reject", chosen)))


@review.command(help=_("Approve a proposal of another officer: your signature lets it be published."))
@number_argument
@click.option(
    "--confirm",
    "confirmed",
    multiple=True,
    metavar="TARGET=REASON",
    help=_("Confirm this very target, with your written reason (repeat it)."),
)
@click.option(
    "--confirm-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("A file with lines TARGET=REASON."),
)
@click.option("--yes", is_flag=True, help=_("Approve without asking once more."))
@register_option
@signing_options
@json_option
def approve(
    number: str | None,
    confirmed: tuple[str, ...],
    confirm_file: Path | None,
    yes: bool,
    register_url: str | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Look, confirm what must be confirmed, sign."""
    require(("PROPOSAL", number), *signing.needed())
    given = _confirmations(confirmed, confirm_file)
    with opened(register_url) as register:
        chosen = read_number(register, number, *WAITING)
        guard = load_guard(register.training)
        plan = register.proposals.plan(chosen, now(), guard)
        if signing.officer:
            # Before anybody writes reasons for nothing.
            check_four_eyes(plan.proposal.proposer, signing.officer)
        if interactive():
            click.echo(plan_text(plan), err=True)
            click.echo(reasons_text(reasons_of(register.proposals.document(chosen))), err=True)
        # The key comes first, so that no written reason is lost to a mistyped passphrase.
        me = signing.open() if interactive() else None
        reasons = _confirm_each(plan.confirm, given, chosen)
        if interactive() and not yes and not ask_yes(_("Approve proposal {n}?").format(n=chosen)):
            raise Refused(_("not approved"), kept=_("the proposal still waits for a review"))
        me = me or signing.open()
        register.proposals.approve(chosen, me.officer, me.key, guard, reasons, now())
        view = register.proposals.get(chosen)
    answer(
        as_json,
        {**proposal_data(view), "confirmed": reasons},
        _("Proposal {n} is approved by {officer}.").format(n=chosen, officer=me.officer),
    )
    hint(_("Next, publish it: {command}").format(command=command_text("publish")))


@review.command(help=_("Reject a proposal, with a reason."))
@number_argument
@click.option("--reason", metavar="TEXT", help=_("Why; the proposer reads it."))
@register_option
@signing_options
@json_option
def reject(number: str | None, reason: str | None, register_url: str | None, signing: Signing, as_json: bool) -> None:
    """The proposal ends here."""
    require(("PROPOSAL", number), ("--reason", reason), *signing.needed())
    with opened(register_url) as register:
        chosen = read_number(register, number, *WAITING)
        why = ask_text(reason, "--reason", _("Reason"), explain=_("the proposer reads it"))
        me = signing.open()
        register.proposals.reject(chosen, me.officer, me.key, why, now())
        view = register.proposals.get(chosen)
    answer(as_json, proposal_data(view), _("Proposal {n} is rejected.").format(n=chosen))
    hint(_("Next, the proposer opens a new one: {command}").format(command=command_text("proposal", "new")))


@review.command(
    "break-glass",
    help=_(
        "In an emergency, let a signed proposal through alone. It lapses after 72 hours unless another confirms it."
    ),
)
@number_argument
@click.option("--reason", metavar="TEXT", help=_("What the emergency is; everybody will see it."))
@click.option("--yes", is_flag=True, help=_("Without asking once more."))
@register_option
@signing_options
@json_option
def break_glass(
    number: str | None, reason: str | None, yes: bool, register_url: str | None, signing: Signing, as_json: bool
) -> None:
    """Loud, and short-lived."""
    require(("PROPOSAL", number), ("--reason", reason), *signing.needed())
    with opened(register_url) as register:
        chosen = read_number(register, number, ProposalState.SIGNED)
        why = ask_text(reason, "--reason", _("What is the emergency?"))
        click.echo(
            _("BREAK-GLASS: this passes the four-eyes rule for at most 72 hours, and everybody will see it."), err=True
        )
        if interactive() and not yes and not ask_yes(_("Let proposal {n} through alone?").format(n=chosen)):
            raise Refused(_("not let through"), kept=_("the proposal still waits for a review"))
        me = signing.open()
        register.proposals.break_glass(chosen, me.officer, me.key, load_guard(register.training), why, now())
        view = register.proposals.get(chosen)
    answer(
        as_json,
        proposal_data(view),
        _("Proposal {n} passes as an emergency of {officer} and lapses within 72 hours.").format(
            n=chosen, officer=me.officer
        ),
    )
    command = command_text("publish", "--break-glass", view.sha256[:12])
    hint(_("Next, the operator admits it when publishing: {command}").format(command=command))
    hint(
        _("and another officer confirms it within 72 hours: {command}").format(
            command=command_text("review", "approve", chosen)
        )
    )


def _confirmations(given: Sequence[str], file: Path | None) -> dict[str, str]:
    """`TARGET=REASON`; a target limited to the name itself is written with a `=` in front, as everywhere."""
    lines = [(text, "--confirm") for text in given]
    if file is not None:
        lines += [(line, "--confirm-file") for line in read_lines(file)]
    out: dict[str, str] = {}
    for text, option in lines:
        start = 1 if text.startswith("=") else 0
        cut = text.find("=", start)
        target, reason = text[:cut].strip(), tidy(text[cut + 1 :])
        if cut <= start or not reason:
            raise click.BadParameter(
                _("«{text}»: write it as TARGET=REASON").format(text=printable(text[:80])), param_hint=option
            )
        out[target] = reason
    return out


def _confirm_each(confirm: Sequence[Judged], given: Mapping[str, str], proposal: int) -> dict[str, str]:
    """A written reason for every target that needs one; asked for on a terminal, else all must be given."""
    wanted = {str(judged.target): judged for judged in confirm}
    stray = [target for target in given if target not in wanted]
    if stray:
        raise Rejected(
            _("these targets need no confirmation: {list}").format(list=", ".join(stray[:5])),
            then=_("see what must be confirmed: {command}").format(command=command_text("review", "show", proposal)),
        )
    missing = [target for target in wanted if target not in given]
    if missing and not interactive():
        raise Refused(
            _("{n} targets must be confirmed, each with a written reason").format(n=len(missing)),
            kept=_("the proposal still waits for a review"),
            then=_("give --confirm TARGET=REASON for each, or --confirm-file; or reject the proposal"),
            problems=[
                Problem(target, finding.rule, finding.sentence)
                for target in missing
                for finding in wanted[target].findings
            ],
        )
    reasons = dict(given)
    last = ""
    for place, target in enumerate(missing, 1):
        judged = wanted[target]
        click.echo(f"\n[{place}/{len(missing)}] {printable(target_text(judged.target))}", err=True)
        for finding in judged.findings:
            click.echo(printable(f"  - {finding.sentence} ({finding.evidence}) [{finding.rule}]"), err=True)
        if not ask_yes(_("Must it be blocked all the same?")):
            raise Refused(
                _("{target} is not confirmed, so the proposal is not approved").format(target=target),
                kept=_("the proposal still waits for a review"),
                then=_("reject it, so that a new one can leave this target out: {command}").format(
                    command=command_text("review", "reject", proposal)
                ),
            )
        question = _("Reason") + (_(" (= for the same as before)") if last else "")
        typed = ask_text(None, "--confirm", question)
        last = last if typed == "=" and last else typed
        reasons[target] = last
    return reasons
