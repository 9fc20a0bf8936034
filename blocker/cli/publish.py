"""`blocker publish`: the approved register, out to the ISPs as a signed feed."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from blocker.cli.ask import command_text
from blocker.cli.desk import load_guard, now, opened, register_option
from feeds.errors import Problem, Refused, Rejected
from feeds.language import _, plural
from feeds.terminal import answer, hint, json_option, moment_text, table

if TYPE_CHECKING:
    from blocker.publishing.bulk import Bulk
    from blocker.publishing.plan import Plan
    from blocker.publishing.publish import Outcome
    from blocker.publishing.standing import Standing
    from blocker.register import Register
    from feeds.manifest import Contact
    from feeds.rule import Rule

SHOWN = 20  # rules of each kind in a dry run; --json has them all
EVENTS_PAGE = 1000
OUTGOING = frozenset({"proposal.approved", "proposal.break_glass"})
CONTACT_FIELDS = ("email", "name", "url", "phone")
Command = TypeVar("Command", bound=Callable[..., Any])


def repository_option(command: Command) -> Command:
    """--repository, which `register init` calls --feed."""
    return click.option(
        "--repository",
        "--feed",
        "repository",
        envvar="BLOCKER_FEED",
        type=click.Path(path_type=Path, file_okay=False),
        help=_("The feed's directory, which the web server serves [BLOCKER_FEED]."),
    )(command)


def here(repository: Path | None) -> Path:
    """The feed's directory, or a usage error."""
    if repository is None:
        raise click.UsageError(_("missing: {options}").format(options="--repository"))
    return repository.expanduser()


@click.group(invoke_without_command=True, help=_("Publish the approved register as a signed feed."))
@register_option
@repository_option
@click.option(
    "--keys",
    "--feed-keys",
    "keys_directory",
    envvar="BLOCKER_FEED_KEYS",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Directory with the feed's three keys [BLOCKER_FEED_KEYS]."),
)
@click.option("--due", is_flag=True, help=_("For a timer: only remove what has expired and renew signatures."))
@click.option("--dry-run", is_flag=True, help=_("Show what would be published and what the ISPs' brake would say."))
@click.option(
    "--bulk",
    "bulk_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("A bulk statement signed by two officers, which lets a large change pass the ISPs' brake."),
)
@click.option(
    "--accept-hold", is_flag=True, help=_("Publish although ISPs will hold it until each accepts it by name.")
)
@click.option(
    "--break-glass",
    multiple=True,
    metavar="SHA256",
    help=_("Let out this proposal although no second officer has confirmed it (repeat it)."),
)
@click.option(
    "--contact", multiple=True, metavar="FIELD=VALUE", help=_("Change how to object: email, name, url, phone.")
)
@json_option
@click.pass_context
def publish(
    ctx: click.Context,
    register_url: str | None,
    repository: Path | None,
    keys_directory: Path | None,
    due: bool,
    dry_run: bool,
    bulk_file: Path | None,
    accept_hold: bool,
    break_glass: tuple[str, ...],
    contact: tuple[str, ...],
    as_json: bool,
) -> None:
    """Publish, unless a command of the group follows."""
    if ctx.invoked_subcommand is not None:
        return
    from blocker.publishing.source import check_digits

    feed, moment = here(repository), now()
    named = [check_digits(text) for text in break_glass]
    bulk = read_bulk(bulk_file) if bulk_file else None
    if due and (dry_run or bulk or accept_hold or named or contact):
        raise click.UsageError(_("--due stands alone: it removes and renews, and nothing else"))
    if dry_run:
        _show_plan(look(register_url, feed, moment, bulk, named, contact), as_json)
        return
    if keys_directory is None:
        raise click.UsageError(_("missing: {options}").format(options="--keys"))
    outcome = (
        _publish_due(register_url, feed, keys_directory, moment)
        if due
        else _publish(register_url, feed, keys_directory, moment, bulk, named, contact, accept_hold)
    )
    _show_outcome(outcome, as_json)
    if outcome.problems:
        raise Refused(
            _("{n} items of the register were left out").format(n=len(outcome.problems)),
            problems=outcome.problems,
            kept=_("everything else is published as serial {n}").format(n=outcome.serial),
            then=_("withdraw or confirm them; until then each publication says so again"),
        )


def _publish_due(register_url: str | None, feed: Path, keys_directory: Path, moment: datetime) -> "Outcome":
    from blocker.publishing.layout import Disk
    from blocker.publishing.publish import publish_due
    from blocker.publishing.sign import FeedKeys

    with opened(register_url) as register:
        outcome = publish_due(register.publications, Disk(feed), FeedKeys.read(keys_directory.expanduser()), moment)
        waiting = _waiting(register, outcome)
    if waiting:
        hint(
            plural(
                "{n} approved proposal waits for a full publication: {command}",
                "{n} approved proposals wait for a full publication: {command}",
                waiting,
            ).format(n=waiting, command=command_text("publish"))
        )
    return outcome


def _waiting(register: "Register", outcome: "Outcome") -> int:
    """Proposals approved since the release that stands was made."""
    after = outcome.manifest.chain.length if outcome.manifest else 0
    found = 0
    while page := register.events(after, EVENTS_PAGE):
        found += sum(event.kind in OUTGOING for event in page)
        after = page[-1].seq
    return found


def _publish(
    register_url: str | None,
    feed: Path,
    keys_directory: Path,
    moment: datetime,
    bulk: "Bulk | None",
    named: list[str],
    contact: tuple[str, ...],
    accept_hold: bool,
) -> "Outcome":
    from blocker.publishing.layout import Disk
    from blocker.publishing.publish import publish as run
    from blocker.publishing.release_of import floor_judge
    from blocker.publishing.sign import FeedKeys
    from blocker.publishing.source import source_of
    from blocker.publishing.standing import read_standing

    keys = FeedKeys.read(keys_directory.expanduser())
    changed = changed_contact(read_standing(feed), contact)
    with opened(register_url) as register:
        source = source_of(register, moment, load_guard(register.training), named, changed)
        return run(
            register.publications,
            source,
            Disk(feed),
            keys,
            moment,
            floor_judge(register.training),
            bulk=bulk,
            accept_hold=accept_hold,
        )


def look(
    register_url: str | None,
    feed: Path,
    moment: datetime,
    bulk: "Bulk | None" = None,
    named: list[str] | None = None,
    contact: tuple[str, ...] = (),
) -> "Plan":
    """What publishing would do now."""
    from blocker.publishing.plan import make_plan
    from blocker.publishing.release_of import floor_judge
    from blocker.publishing.source import source_of
    from blocker.publishing.standing import read_standing

    standing = read_standing(feed)
    with opened(register_url) as register:
        guard = load_guard(register.training)
        content = source_of(register, moment, guard, named or [], changed_contact(standing, contact))(standing)
        return make_plan(register.publications, content, standing, moment, floor_judge(register.training), bulk)


def changed_contact(standing: "Standing", given: tuple[str, ...]) -> "Contact | None":
    """The contact with the given fields changed; None where none are given."""
    from blocker.publishing.source import contact_of
    from feeds.manifest import Contact

    if not given:
        return None
    fields = dict(part.split("=", 1) for part in given if "=" in part)
    if len(fields) != len(given) or not set(fields) <= set(CONTACT_FIELDS):
        raise click.BadParameter(
            _("write it as FIELD=VALUE, where FIELD is one of: {fields}").format(fields=", ".join(CONTACT_FIELDS)),
            param_hint="--contact",
        )
    try:
        before = contact_of(standing).model_dump()
    except Rejected:
        before = {}
    try:
        return Contact.model_validate({**before, **fields})
    except ValueError:
        raise click.BadParameter(_("an e-mail address is needed"), param_hint="--contact") from None


def read_bulk(path: Path) -> "Bulk":
    """The file of a bulk statement; raises Rejected or Untrusted."""
    from blocker.publishing.bulk import MAX_BULK_FILE_BYTES, Bulk

    try:
        with path.expanduser().open("rb") as file:
            return Bulk.of_bytes(file.read(MAX_BULK_FILE_BYTES + 1))
    except OSError as error:
        raise Rejected(
            _("the bulk statement {path} cannot be read: {why}").format(path=path, why=error.strerror),
            then=_("make one with «blocker publish bulk prepare»"),
        ) from None


def _show_outcome(outcome: "Outcome", as_json: bool) -> None:
    manifest = outcome.manifest
    data = {
        "serial": outcome.serial,
        "new_release": outcome.new_release,
        "removed": outcome.removed,
        "added": outcome.added,
        "described": outcome.described,
        "resigned": outcome.resigned,
        "rules": manifest.counts["rules"] if manifest else 0,
        "digest": manifest.digest if manifest else "",
        "notes": list(outcome.notes),
        "problems": [_problem(p) for p in outcome.problems],
    }
    if outcome.new_release and manifest is not None:
        text = _("Published serial {n}: {rules} rules, {added} added, {removed} removed; digest {digest}").format(
            n=outcome.serial,
            rules=manifest.counts["rules"],
            added=outcome.added,
            removed=outcome.removed,
            digest=manifest.digest,
        )
    elif outcome.described:
        text = _("No rule changed: serial {n} stands, what goes with it was published anew.").format(n=outcome.serial)
    elif manifest is None:
        text = _("Nothing has been published yet; signatures renewed.")
    else:
        text = _("Nothing changed: serial {n} stands, signatures renewed.").format(n=outcome.serial)
    answer(as_json, data, text)
    for note in outcome.notes:
        hint(note)


def _show_plan(plan: "Plan", as_json: bool) -> None:
    from blocker.publishing.plan import held

    change = plan.change
    data = {
        "serial": plan.standing.serial,
        "next_serial": plan.next_serial if plan.new_release else plan.standing.serial,
        "rules": len(plan.chosen.rules),
        "added": [_rule(rule) for rule in change.added],
        "removed": [_rule(rule) for rule in change.removed],
        "expiring": plan.expiring,
        "covered": plan.chosen.covered,
        "held": bool(plan.new_release and plan.forecast),
        "brake": [str(excess) for excess in plan.forecast.excesses],
        "bulk": list(plan.statements),
        "problems": [_problem(p) for p in plan.problems],
    }
    rows = [
        (_("Published now"), plan.standing.serial or _("nothing yet")),
        (_("Next serial"), plan.next_serial if plan.new_release else _("none, nothing changed")),
        (_("Rules"), len(plan.chosen.rules)),
        (_("Enforced by a listed parent"), plan.chosen.covered),
        (_("Added"), len(change.added)),
        (_("Removed"), len(change.removed)),
        (_("of these expired"), plan.expiring),
        (_("Left out"), len(plan.problems)),
        (_("ISPs' brake"), _("would hold it") if data["held"] else _("lets it pass")),
    ]
    parts = [table((_("Dry run, nothing is written"), ""), rows)]
    for mark, rules in (("+", change.added), ("-", change.removed)):
        parts += [f"{mark} {_line(rule)}" for rule in rules[:SHOWN]]
        if len(rules) > SHOWN:
            parts.append(_("{mark} ... and {n} more (--json shows all)").format(mark=mark, n=len(rules) - SHOWN))
    parts += [f"! {problem}" for problem in plan.problems]
    answer(as_json, data, "\n".join(parts))
    if data["held"]:
        why = held(plan)
        for problem in why.problems:
            hint(f"  {problem.message}")
        hint(why.then)


def _rule(rule: "Rule") -> dict[str, object]:
    from feeds.rule import hour_text

    return {
        "target": str(rule.target),
        "action": str(rule.action),
        "entry": rule.entry,
        "category": str(rule.category),
        "decision": rule.decision,
        "expires": hour_text(rule.expires),
    }


def _line(rule: "Rule") -> str:
    from feeds.rule import moment_of

    until = moment_text(moment_of(rule.expires))
    return _("{target} {action} ({entry}, {decision}, until {until})").format(
        target=rule.target, action=rule.action, entry=rule.entry, decision=rule.decision, until=until
    )


def _problem(problem: Problem) -> dict[str, str]:
    return {"place": problem.place, "rule": problem.rule, "message": problem.message}


# The group's own commands register themselves; they need the names above.
from blocker.cli.publish_bulk import bulk  # noqa: E402

publish.add_command(bulk)
