"""`blocker dns query`."""

import click

from feeds.language import _


@click.command(help=_("Ask a resolver for a name and say what it did with it, and why."))
def query() -> None: ...
