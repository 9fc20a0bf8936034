"""`blocker dns`: enforce a feed in a DNS resolver, and ask one."""

import click

from feeds.language import _
from resolver.command.compiling import compile_image
from resolver.command.query import query
from resolver.command.serve import serve
from resolver.command.zone_status import zones


@click.group(help=_("Enforce the feed in a DNS resolver."))
def dns() -> None: ...


dns.add_command(serve)
dns.add_command(query)
dns.add_command(compile_image)
dns.add_command(zones)
