"""`blocker feed serve`: the feed's files over HTTP with the change hint."""

import os
from pathlib import Path
from typing import Any

import click

from feeds.command.service import Listen, label
from feeds.errors import Unavailable
from feeds.language import _
from feeds.systemd import Notifier
from feeds.terminal import answer, json_option


@click.command(help=_("Serve the files of the feed in DIRECTORY over HTTP, with the hint that wakes followers."))
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--listen",
    type=Listen(),
    multiple=True,
    default=["127.0.0.1:8080"],
    show_default=True,
    help=_("Where to listen; may be given more than once."),
)
@json_option
def serve(directory: Path, listen: tuple[tuple[str, int], ...], as_json: bool) -> None:
    """Until SIGTERM or SIGINT."""
    from twisted.internet import reactor as chosen
    from twisted.internet.error import CannotListenError

    from feeds.server import serve as serve_on

    reactor: Any = chosen
    notifier = Notifier(os.environ)
    ports = []
    for host, port in listen:
        try:
            ports.append((host, serve_on(directory, host, port, reactor)))
        except (CannotListenError, OSError) as error:
            why = getattr(error, "socketError", error)
            raise Unavailable(
                _("cannot listen on {address}: {why}").format(
                    address=label(host, port), why=getattr(why, "strerror", None) or why
                ),
                kept=_("nothing is served"),
                then=_("choose another address with --listen, or stop what listens there"),
            ) from None
    urls = [f"http://{label(host, port)}/" for host, port in ports]

    def announce() -> None:
        answer(
            as_json,
            {"directory": str(directory), "urls": urls},
            _("Serving {directory} at {urls}").format(directory=directory, urls=" ".join(urls)),
        )
        notifier.send("READY=1")

    # Not before: until the reactor runs, SIGTERM would end the process without a word to anybody.
    reactor.callWhenRunning(announce)
    if notifier.watchdog_seconds:
        from twisted.internet.task import LoopingCall

        LoopingCall(notifier.send, "WATCHDOG=1").start(notifier.watchdog_seconds)
    reactor.addSystemEventTrigger("before", "shutdown", notifier.send, "STOPPING=1")
    reactor.run()
