"""A click group whose commands load when they are called, so that one does not pay for what another imports."""

from collections.abc import Mapping
from importlib import import_module

import click

from feeds.language import _


class LazyGroup(click.Group):
    """`members`: command name -> (module of feeds.command that holds a command of that name, its one-line summary)."""

    def __init__(self, *, members: Mapping[str, tuple[str, str]], **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self._members = members

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._members:
            return None
        found = getattr(import_module(f"feeds.command.{self._members[cmd_name][0]}"), cmd_name)
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, _(summary)) for name, (_module, summary) in self._members.items()])
