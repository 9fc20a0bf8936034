"""The console command `blocker`: a group whose commands load when they are called.

The commands are entry points (`blocker.commands` in setup.cfg), so an ISP's `blocker feed` or `blocker dns` never
imports the authority's code, and `blocker --help` imports no command at all. Settings, strongest first: flag,
environment (`BLOCKER_FEED_PULL_STATE=...`), configuration file, default; click knows each value's origin.
"""

import io
import os
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from feeds.errors import Failure, Rejected
from feeds.language import N_, _, speak
from feeds.terminal import SpokenOption, complain

CONFIG_PATH = Path("/etc/blocker/blocker.toml")

SUMMARIES = {
    "register": N_("Set up a register and look after it."),
    "officer": N_("The officers who may propose and approve."),
    "decision": N_("Record and show the decisions that entries rest on."),
    "proposal": N_("Prepare, check and sign a proposal of changes."),
    "review": N_("Look at another officer's proposal; approve or reject it."),
    "entry": N_("Look up entries of the register and their history."),
    "guard": N_("Ask the overblocking guard about names and addresses."),
    "publish": N_("Publish the approved register as a signed feed."),
    "why": N_("Why is this name or address blocked, on which decision, until when?"),
    "feed": N_("Pull, verify, follow, serve and render a signed feed."),
    "ip": N_("Plan and apply packet filters from the feed."),
    "zone": N_("Serve the feed as an RPZ zone to other DNS servers."),
    "dns": N_("Enforce the feed in a DNS resolver."),
    "doctor": N_("Say what this machine can do for a resolver."),
}
_ORDER = list(SUMMARIES)


class Commands(click.Group):
    """Finds commands among the entry points of `blocker.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = {point.name for point in entry_points(group="blocker.commands")}
        return sorted(names, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for point in entry_points(group="blocker.commands", name=cmd_name):
            loaded = point.load()
            return loaded if isinstance(loaded, click.Command) else None
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, _(SUMMARIES.get(name, ""))) for name in self.list_commands(ctx)]
        with formatter.section(_("Commands")):
            formatter.write_dl(rows)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_(self.help) if self.help else "")


def _read_config(path: Path | None) -> dict[str, Any]:
    chosen = path or CONFIG_PATH
    if path is None and not chosen.exists():
        return {}
    try:
        with chosen.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise Rejected(
            _("the configuration {path} cannot be read: {why}").format(path=chosen, why=error.strerror),
            then=_("check the path and its permissions"),
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Rejected(
            _("the configuration {path} is not TOML: {why}").format(path=chosen, why=error),
            then=_("correct that line and try again"),
        ) from None


@click.command(
    cls=Commands,
    context_settings={"auto_envvar_prefix": "BLOCKER", "help_option_names": ["-h", "--help"]},
    help=N_("A signed register of domains and addresses used for crime, and its enforcement at ISPs."),
)
@click.option(
    "--config",
    cls=SpokenOption,
    type=click.Path(path_type=Path),
    help=N_("TOML file; default /etc/blocker/blocker.toml."),
)
@click.option(
    "--lang",
    cls=SpokenOption,
    type=click.Choice(["en", "vi"]),
    help=N_("Language of all sentences; default from LANG."),
)
@click.version_option(
    package_name="blocker",
    message="%(prog)s %(version)s",
    cls=SpokenOption,
    help=N_("Show the version and exit."),
)
@click.pass_context
def blocker(ctx: click.Context, config: Path | None, lang: str | None) -> None:
    """The root of all commands; reads the configuration file."""
    ctx.default_map = _read_config(config)


def main() -> None:
    """Run the command line; never shows a traceback unless BLOCKER_DEBUG is set."""
    args = sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # The language must be known before help texts are built, so it is read ahead of click.
    ahead = next((args[i + 1] for i, a in enumerate(args[:-1]) if a == "--lang"), None) or next(
        (a.removeprefix("--lang=") for a in args if a.startswith("--lang=")), os.environ.get("BLOCKER_LANG")
    )
    speak(ahead)
    try:
        code = blocker.main(args=args, prog_name="blocker", standalone_mode=False)
        code = code if isinstance(code, int) else 0
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(_("Interrupted."), err=True)
        code = 130
    except Failure as error:
        complain(error, "--json" in args)
        code = error.exit_code
    except BrokenPipeError:
        # The reader of our pipe has gone; nothing is left to say, and Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    except Exception as error:
        if os.environ.get("BLOCKER_DEBUG"):
            raise
        fault = Failure(
            _("this is a fault of the program: {kind}: {text}").format(kind=type(error).__name__, text=error),
            kept=_("whatever was not finished was not begun; stored data are as before"),
            then=_("run it again with BLOCKER_DEBUG=1 and send the output to the maintainers"),
        )
        complain(fault, "--json" in args)
        code = 1
    sys.exit(code)
