"""`blocker zone`: the feed as an RPZ zone, for the DNS servers that an ISP already runs."""

from importlib import import_module

import click

from feeds.language import N_, _

_COMMANDS = {
    "serve": ("zone_serve", N_("Serve the zones of a settings file to their secondaries, for ever.")),
    "status": ("zone_look", N_("Which serial each secondary has, and since when.")),
    "config": ("zone_config", N_("Print the stanza for the configuration of a DNS server.")),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        found = getattr(import_module(f"feeds.command.{_COMMANDS[cmd_name][0]}"), cmd_name)
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, _(summary)) for name, (_module, summary) in _COMMANDS.items()])


@click.group(cls=_Commands, help=_("Serve the feed as an RPZ zone to other DNS servers."))
def zone() -> None:
    """The group."""
