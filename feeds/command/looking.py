"""`blocker feed status`, `verify` and `render`."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import click

from feeds import durable
from feeds.client.verifying import verify as verified
from feeds.command.state import now, refused_text, state_option, status_rows
from feeds.errors import Held, Stale, Unavailable
from feeds.language import _
from feeds.render import DEFAULT_ZONE, formats, sentences
from feeds.render import render as rendered
from feeds.store import Accepted, Store
from feeds.terminal import answer, hint, json_option, moment_text, table


@click.command(help=_("What is in force, since when, until when, and what is held back."))
@click.option("--check", is_flag=True, help=_("End with code 3 if the feed has expired, 5 if a release is held."))
@state_option
@json_option
def status(check: bool, state: Path, as_json: bool) -> None:
    """Reads the disk alone."""
    store = Store(state)
    moment = store.clock(now())
    expires, held = store.expires(), store.held()
    data = {**store.status(), "expired": expires is not None and expires <= moment}
    answer(as_json, data, table(("", ""), status_rows(store, moment)))
    if held is not None:
        hint(
            _("When the authority confirms the change: blocker feed accept {n} {digest} --state {path}").format(
                n=held.serial, digest=held.digest, path=state
            )
        )
    if check and data["expired"]:
        raise click.exceptions.Exit(Stale.exit_code)
    if check and held is not None:
        raise click.exceptions.Exit(Held.exit_code)


@click.command(help=_("Check what is in force from the disk alone: signatures, digests, counts."))
@state_option
@json_option
def verify(state: Path, as_json: bool) -> None:
    """Exit code 4 where anything does not hold."""
    store = Store(state)
    store.settings()
    found = verified(store)
    manifest = found.accepted.manifest
    data = {
        "serial": manifest.serial,
        "digest": manifest.digest,
        "root_version": found.root_version,
        "signed_rules": found.signed_rules,
        "rules": found.rules,
        "refused": dict(found.accepted.refused),
        "signed_until": found.signed_until.isoformat(),
    }
    text = _("Release {n} is whole: signed under root version {root}, digest {digest}, {rules} rules in force.").format(
        n=manifest.serial, root=found.root_version, digest=manifest.digest, rules=found.rules
    )
    if found.accepted.refused:
        text += " " + _("Refused: {refused}.").format(refused=refused_text(found.accepted.refused))
    text += " " + _("The signatures are valid until {until}.").format(until=moment_text(found.signed_until))
    answer(as_json, data, text)


@click.command(help=_("Write what is in force in the form of another program."))
@click.argument("format_name", metavar="FORMAT", type=click.Choice(list(formats())))
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("The file to replace in one step; standard output without it."),
)
@click.option("--zone", default=DEFAULT_ZONE, show_default=True, help=_("Name of the RPZ zone."))
@state_option
@json_option
def render(format_name: str, to: Path | None, zone: str, state: Path, as_json: bool) -> None:
    """Only rules in force now."""
    if as_json and to is None:
        raise click.UsageError(_("--json tells about a file: give --to FILE; the format for programs is jsonl"))
    store = Store(state)
    store.settings()
    accepted = in_force(store)
    rendering = rendered(format_name, accepted, store.clock(now()), zone=zone)
    size = _to_file(to, rendering) if to is not None else _to_stdout(rendering)
    for sentence in sentences(rendering.left_out):
        hint(_("Left out: {sentence}").format(sentence=sentence))
    if to is not None:
        answer(
            as_json,
            {
                "format": format_name,
                "file": str(to),
                "bytes": size,
                "serial": accepted.manifest.serial,
                "left_out": dict(rendering.left_out),
            },
            _("{path}: release {n} as {format}, {size} bytes.").format(
                path=to, n=accepted.manifest.serial, format=format_name, size=size
            ),
        )


def in_force(store: Store) -> Accepted:
    """The release in force; raises Unavailable before the first."""
    accepted = store.accepted()
    if accepted is None:
        raise Unavailable(
            _("no release has been accepted yet"),
            then=_("run: blocker feed pull --state {path}").format(path=store.path),
        )
    return accepted


def _to_file(path: Path, pieces: Iterable[str | bytes]) -> int:
    size = 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for piece in pieces:
            data = piece.encode() if isinstance(piece, str) else piece
            size += len(data)
            yield data

    hidden = path.with_name(f"{durable.UNFINISHED}{path.name}-{os.getpid()}")
    with durable.told(kept=_("{path} is as before").format(path=path)):
        try:
            durable.write_new(hidden, counted())
            os.replace(hidden, path)
        finally:
            with suppress(OSError):
                hidden.unlink(missing_ok=True)
        durable.sync_directory(path.absolute().parent)
    return size


def _to_stdout(pieces: Iterable[str | bytes]) -> int:
    size = 0
    for piece in pieces:
        data = piece.encode() if isinstance(piece, str) else piece
        size += sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return size
