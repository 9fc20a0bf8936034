"""`blocker zone`: the feed as an RPZ zone, for the DNS servers that an ISP already runs."""

import click

from feeds.command.lazy import LazyGroup
from feeds.language import N_, _

_COMMANDS = {
    "serve": ("zone_serve", N_("Serve the zones of a settings file to their secondaries, for ever.")),
    "status": ("zone_look", N_("Which serial each secondary has, and since when.")),
    "config": ("zone_config", N_("Print the stanza for the configuration of a DNS server.")),
}


@click.group(cls=LazyGroup, members=_COMMANDS, help=_("Serve the feed as an RPZ zone to other DNS servers."))
def zone() -> None:
    """The group."""
