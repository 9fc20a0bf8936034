"""`blocker why`: one question to everything on this machine that can answer it, the register and the ISP's state.

Each answerer is an entry point of `blocker.why`: `answer(text, options) -> dict or None`, None where it has nothing to
say on this machine. `title` and `text` of its dict are for people; the whole is printed as JSON. This module imports no
answerer, so it serves an ISP without the authority's code.
"""

from importlib.metadata import entry_points

import click

from feeds.errors import Failure, Unavailable
from feeds.language import _
from feeds.terminal import answer, complain, json_option


@click.command(help=_("Why is this name or address blocked, on which decision, until when?"))
@click.argument("name")
@click.option(
    "--register", envvar="BLOCKER_REGISTER", metavar="FILE|URL", help=_("The register to ask, if there is one.")
)
@click.option(
    "--state", envvar="BLOCKER_STATE", metavar="DIRECTORY", help=_("The ISP's state directory to ask, if there is one.")
)
@json_option
def why(name: str, register: str | None, state: str | None, as_json: bool) -> None:
    """Ask everybody; one that fails does not silence the others."""
    options = {"register": register, "state": state}
    found: dict[str, object] = {}
    texts: list[str] = []
    failures: list[Failure] = []
    for point in sorted(entry_points(group="blocker.why"), key=lambda p: p.name):
        try:
            said = point.load()(name, options)
        except Failure as error:
            failures.append(error)
            found[point.name] = error.as_json()
            continue
        except ImportError:
            continue
        if said is not None:
            found[point.name] = {k: v for k, v in said.items() if k not in ("title", "text")}
            texts.append(f"{said.get('title', point.name)}: {said.get('text', '')}")
    if not found:
        raise Unavailable(
            _("there is neither a register nor an ISP's state on this machine"),
            then=_("name one with --register or --state"),
        )
    if texts or as_json:
        answer(as_json, {"asked": name, **found}, "\n".join(texts))
    for failure in failures:
        complain(failure, as_json=False)
    if failures:
        raise click.exceptions.Exit(failures[0].exit_code)
