"""`blocker feed`: set up, pull, follow, look at, verify, render and serve a signed feed.

Commands load when they are called, so that `pull` does not pay for the web server.
"""

import click

from feeds.command.lazy import LazyGroup
from feeds.command.why import why_in_state
from feeds.language import N_, _

__all__ = ["feed", "why_in_state"]

_COMMANDS = {
    "init": ("pulling", N_("Set up a state directory that follows a feed.")),
    "pull": ("pulling", N_("Fetch, verify and accept the feed's release, once.")),
    "accept": ("pulling", N_("Let one held release pass the brake, by its serial and digest.")),
    "follow": ("following", N_("Pull whenever the feed changes, for ever.")),
    "status": ("looking", N_("What is in force, since when, until when, and what is held back.")),
    "verify": ("looking", N_("Check what is in force from the disk alone.")),
    "render": ("looking", N_("Write what is in force in the form of another program.")),
    "serve": ("serving", N_("Serve a feed's files over HTTP, for small set-ups.")),
}


@click.group(cls=LazyGroup, members=_COMMANDS, help=_("Pull, verify, follow, serve and render a signed feed."))
def feed() -> None:
    """The group."""
