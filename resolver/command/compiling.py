"""`blocker dns compile`."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

import click

from feeds import durable
from feeds.language import _
from feeds.store import DEFAULT_PATH
from feeds.terminal import answer, json_option, table
from resolver.image import new_memory
from resolver.loading import FEED, Origin

_FILE = click.Path(path_type=Path)


@click.command(
    name="compile",
    help=_(
        "Compile a release or a plain list for the resolver beforehand, so that `blocker dns serve` starts at once. "
        "The image stands in the state directory, or beside the list as LIST.image; one that is not fresh is not used."
    ),
)
@click.option("--state", type=_FILE, help=_("The feed's state directory; default {path}.").format(path=DEFAULT_PATH))
@click.option("--list", "plain", type=_FILE, help=_("A plain list (or .gz) instead of a feed, for trials."))
@json_option
def compile_image(state: Path | None, plain: Path | None, as_json: bool) -> None:
    if state is not None and plain is not None:
        raise click.UsageError(_("either --state or --list, not both"))
    origin = Origin(None if plain else state or DEFAULT_PATH, plain, program=version("blocker"))
    path, memory = origin.image_path, new_memory()
    # Nothing made here is garbage before the end, and looking for it among a million names takes seconds.
    gc.disable()
    compiled = origin.load({FEED: memory})
    made = bool(compiled.kept) or not path.exists()
    size = os.fstat(memory).st_size
    if made:
        with durable.told():
            durable.write(path, os.pread(memory, size, 0))
    loaded = compiled.loaded
    told = {
        "image": str(path),
        "compiled": made,
        "serial": loaded.serial,
        "rules": loaded.rules,
        "refused": loaded.refused,
        "bytes": size,
    }
    rows = [
        (_("Rules"), f"{loaded.rules}"),
        (_("Refused"), f"{loaded.refused}"),
        (_("Size"), _("{n} bytes").format(n=size)),
        (_("State"), _("compiled") if made else _("it was fresh already")),
    ]
    answer(as_json, told, table((_("Image"), str(path)), rows))
