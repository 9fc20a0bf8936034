"""`blocker publish bulk`: two officers say that a large change is meant."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from blocker.cli.ask import ask_text, ask_yes, command_text, interactive, require
from blocker.cli.desk import Signing, now, register_option, signing_options
from feeds.errors import Rejected
from feeds.language import _
from feeds.terminal import answer, hint, json_option, moment_text, table

if TYPE_CHECKING:
    from blocker.publishing.bulk import Bulk

file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group(help=_("Bulk statements: two officers let a large change pass the ISPs' brake."))
def bulk() -> None:
    """The group."""


@bulk.command(help=_("Write the statement for what would be published now; two officers then sign it."))
@click.option("--reason", metavar="TEXT", help=_("Why so much changes at once; ISPs read it."))
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help=_("The file that travels between the officers.")
)
@register_option
@click.option(
    "--repository",
    "--feed",
    "repository",
    envvar="BLOCKER_FEED",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("The feed's directory [BLOCKER_FEED]."),
)
@json_option
def prepare(
    reason: str | None, output: Path | None, register_url: str | None, repository: Path | None, as_json: bool
) -> None:
    """Count what the brake counts, and write it down."""
    from blocker.cli.publish import here, look
    from blocker.publishing.bulk import prepare_bulk
    from feeds import durable
    from feeds.manifest import BulkStatement

    feed = here(repository)
    require(("--reason", reason), ("--output", output))
    why = ask_text(reason, "--reason", _("Why does so much change at once?"))
    path = Path(ask_text(None if output is None else str(output), "--output", _("File to write"))).expanduser()
    moment = now()
    plan = look(register_url, feed, moment)
    if plan.standing.manifest is None or not plan.new_release:
        raise Rejected(
            _("nothing would be published now that a bulk statement could speak of"),
            kept=_("nothing was written"),
            then=_("the first release needs none; see «blocker publish --dry-run»"),
        )
    statement = BulkStatement(
        authority=plan.content.authority,
        from_serial=plan.standing.serial,
        to_serial=plan.next_serial,
        removed=plan.forecast.removed,
        added=plan.forecast.added,
        reason=why,
        made=moment,
    )
    made = prepare_bulk(plan.standing, statement, moment)
    with durable.told(kept=_("nothing was written"), then=_("choose another file")):
        durable.write(path, made.to_bytes())
    answer(as_json, {**_data(made), "file": str(path)}, _text(made))
    if not plan.forecast:
        hint(_("The brake would let this change pass without a statement, too."))
    hint(_("Next, two officers sign it: {command}").format(command=command_text("publish", "bulk", "sign", path)))


@bulk.command(help=_("Sign a statement as one of the two officers."))
@file_argument
@signing_options
@click.option("--yes", is_flag=True, help=_("Do not ask again."))
@json_option
def sign(file: Path, signing: Signing, yes: bool, as_json: bool) -> None:
    """Show it, then sign it in place."""
    from blocker.cli.publish import read_bulk
    from blocker.publishing.bulk import sign_bulk
    from feeds import durable

    found = read_bulk(file)
    require(*signing.needed())
    if interactive() and not yes:
        hint(_text(found))
        if not ask_yes(_("Sign this?")):
            raise click.Abort
    acting = signing.open()
    made = sign_bulk(found, acting.key)
    with durable.told(kept=_("the file as it was"), then=_("check free space and permissions, then try again")):
        durable.write(file.expanduser(), made.to_bytes())
    answer(as_json, {**_data(made), "file": str(file)}, _text(made))
    if len(made.metadata.signatures) > 1:
        hint(_("Next, publish with it: {command}").format(command=command_text("publish", "--bulk", file)))
    else:
        hint(
            _("Next, another officer signs it: {command}").format(command=command_text("publish", "bulk", "sign", file))
        )


@bulk.command(help=_("Show what a statement says and how many have signed it."))
@file_argument
@json_option
def show(file: Path, as_json: bool) -> None:
    """Read it."""
    from blocker.cli.publish import read_bulk

    found = read_bulk(file)
    answer(as_json, _data(found), _text(found))


def _data(made: "Bulk") -> dict[str, object]:
    return {
        "statement": made.statement.model_dump(mode="json"),
        "also_listed": sorted(set(made.statements) - {made.path}),
        "signatures": len(made.metadata.signatures),
        "expires": made.metadata.signed.expires,
    }


def _text(made: "Bulk") -> str:
    said = made.statement
    rows = [
        (_("Authority"), said.authority),
        (_("From serial, to serial"), f"{said.from_serial} - {said.to_serial}"),
        (_("Rules that may go"), said.removed),
        (_("Rules that may come"), said.added),
        (_("Reason"), said.reason),
        (_("Prepared"), moment_text(said.made)),
        (_("Expires"), moment_text(made.metadata.signed.expires)),
        (_("Signatures"), len(made.metadata.signatures)),
    ]
    rows += [(_("Listed again"), path) for path in sorted(set(made.statements) - {made.path})]
    return table((_("Bulk statement"), ""), rows)
