"""`blocker feed follow`: pull whenever the feed changes, for ever, and keep a file for a program that reads one.

One thread looks at the feed, one waits for hints, one keeps the file - its rules lapse even while a look lasts - and
the main one keeps systemd's watchdog quiet, only as long as a look does not last longer than all its time limits.
"""

import http.client
import os
import random
import shlex
import signal
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import click
from tuf.api.exceptions import DownloadError

from feeds.command.pulling import pulled_data, pulled_text
from feeds.command.rendering_file import RenderedFile, run_command
from feeds.command.service import Listen, label
from feeds.command.state import now, state_option
from feeds.command.voice import Voice
from feeds.errors import Failure, Unavailable
from feeds.fetching import BOUNDS, Bounds, Fetcher
from feeds.follower import EVERY_SECONDS, WAKE_PAUSE_SECONDS, Follower, Pace, Turn, Wakes
from feeds.language import _
from feeds.render import formats
from feeds.store import Store
from feeds.systemd import Notifier
from feeds.terminal import json_option

HINT = "hint"
HINT_BOUNDS = Bounds(gap_seconds=75.0, request_seconds=90.0, pull_seconds=90.0, grace_seconds=90.0, max_bytes=4096)
# After a server that knows no hints, or cannot be had, it is asked again this much later.
NO_HINT_SECONDS = 300.0
HINT_FAULT_SECONDS = 5.0
# How often it is looked whether another release was accepted or a rule has lapsed; both cost one lstat.
FILE_SECONDS = 1.0
HUNG_SECONDS = BOUNDS.pull_seconds + 300.0


@click.command(help=_("Pull whenever the feed changes, for ever."))
@click.option(
    "--every",
    "every_seconds",
    type=click.FloatRange(1, 86_400),
    default=EVERY_SECONDS,
    show_default=True,
    help=_("Seconds between two looks at the feed, give or take a fifth; a hint wakes earlier."),
)
@click.option("--metrics", type=Listen(), help=_("Show metrics for Prometheus at this ADDRESS:PORT."))
@click.option("--render", "form", type=click.Choice(list(formats())), help=_("Keep a file in this form."))
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help=_("The file that --render keeps."))
@click.option("--run", "command", metavar="COMMAND", help=_("Run this, without a shell, when the file has changed."))
@state_option
@json_option
def follow(
    every_seconds: float,
    metrics: tuple[str, int] | None,
    form: str | None,
    to: Path | None,
    command: str | None,
    state: Path,
    as_json: bool,
) -> None:
    """Until SIGTERM or SIGINT, then ends with 0; a pull that is under way is given up, the old release kept."""
    store = Store(state)
    rendered = _rendered(state, form, to, command)
    url = store.url
    if metrics is not None:
        _show_metrics(store, *metrics)
    stop, wake, ready = threading.Event(), threading.Event(), threading.Event()

    def end(_number: int, _frame: object) -> None:
        stop.set()
        wake.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    looker = _Looker(Follower(store, Fetcher(), now), Pace(every_seconds, random.random), wake, stop, ready, as_json)
    workers: list[_Looker | _Keeper] = [looker]
    if rendered is not None:
        workers.append(_Keeper(rendered, stop, as_json))
    threads = [threading.Thread(target=worker.run, daemon=True) for worker in workers]
    if urlsplit(url).scheme != "file":
        threads.append(threading.Thread(target=_wait_for_hints, args=(url, wake, stop), daemon=True))
    for thread in threads:
        thread.start()
    _watch(looker, threads[0], stop, ready)
    for worker in workers:
        if worker.fault is not None:
            raise worker.fault


class _Looker:
    """The thread that looks at the feed."""

    def __init__(
        self,
        follower: Follower,
        pace: Pace,
        wake: threading.Event,
        stop: threading.Event,
        ready: threading.Event,
        as_json: bool,
    ) -> None:
        self._follower = follower
        self._pace = pace
        self._wake, self._stop, self._ready = wake, stop, ready
        self._voice = Voice(as_json)
        self.began: float | None = None
        self.fault: Exception | None = None

    def run(self) -> None:
        """Look, wait, look; a fault of the program ends the whole process."""
        try:
            self._run()
        except Exception as error:
            self.fault = error
            self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            self.began = time.monotonic()
            turn = self._follower.turn()
            self.began = None
            self._ready.set()
            if not self._stop.is_set():
                self._say(turn)
            self._wake.wait(self._pace.pause())
            # Several hints for one change wake once.
            self._stop.wait(WAKE_PAUSE_SECONDS if self._wake.is_set() else 0)

    def _say(self, turn: Turn) -> None:
        if turn.failure is not None:
            self._voice.complain(turn.result, turn.failure)
        elif turn.result == "unchanged" and not self._voice.complained:
            return
        elif turn.pulled is not None:
            self._voice.say(turn.result, pulled_data(turn.pulled), pulled_text(turn.pulled))
        else:
            self._voice.say(turn.result, {}, _("The feed can be had again; nothing new."))


class _Keeper:
    """The thread that keeps the file."""

    def __init__(self, rendered: RenderedFile, stop: threading.Event, as_json: bool) -> None:
        self._rendered = rendered
        self._stop = stop
        self._voice = Voice(as_json)
        self.fault: Exception | None = None

    def run(self) -> None:
        """Look, wait, look; a fault of the program ends the whole process."""
        try:
            while not self._stop.is_set():
                self._look()
                self._stop.wait(FILE_SECONDS)
        except Exception as error:
            self.fault = error
            self._stop.set()

    def _look(self) -> None:
        rendered = self._rendered
        try:
            done = rendered.look(now(), time.monotonic())
        except Failure as failure:
            self._voice.complain("failed", failure)
            return
        if done is not None:
            data = {"file": str(rendered.path), "format": rendered.form, "serial": done.serial, "bytes": done.size}
            text = _("{path}: release {n} as {format}, {size} bytes.").format(
                path=rendered.path, n=done.serial, format=rendered.form, size=done.size
            )
            self._voice.say("rendered", data, text)


def _rendered(state: Path, form: str | None, to: Path | None, command: str | None) -> RenderedFile | None:
    """What the three options ask for; raises UsageError where one of them is missing."""
    if form is None and to is None and command is None:
        return None
    if form is None or to is None or command is None:
        raise click.UsageError(_("--render, --to and --run belong together"))
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise click.UsageError(
            _("--run: «{command}» is no command; is a quotation mark missing?").format(command=command)
        )
    return RenderedFile(Store(state), form, to, lambda: run_command(words))


def _watch(looker: _Looker, thread: threading.Thread, stop: threading.Event, ready: threading.Event) -> None:
    """Tell systemd how we are until the end."""
    notifier = Notifier(os.environ)
    pause = min(notifier.watchdog_seconds or 3600.0, 3600.0)
    said = False
    while not stop.is_set():
        if not said and ready.is_set():
            said = True
            notifier.send("READY=1")
        began = looker.began
        if thread.is_alive() and (began is None or time.monotonic() - began < HUNG_SECONDS):
            notifier.send("WATCHDOG=1")
        stop.wait(min(pause, 0.2) if not said else pause)
    notifier.send("STOPPING=1")
    # A pull that is under way may be given up at any point; two seconds let a short one end.
    thread.join(2.0)


def _wait_for_hints(url: str, wake: threading.Event, stop: threading.Event) -> None:
    """Ask for the next hint, again and again; what comes only wakes, and not too often."""
    fetcher, wakes, etag = Fetcher(HINT_BOUNDS), Wakes(), ""
    while not stop.is_set():
        pause = 0.0
        fetcher.begin()
        try:
            found = fetcher.poll(url + HINT, etag, HINT_BOUNDS.max_bytes)
            if found.body is not None:
                etag = found.etag
                pause = WAKE_PAUSE_SECONDS
                if not etag:
                    pause = NO_HINT_SECONDS
                elif wakes.take(time.monotonic()):
                    wake.set()
        except DownloadError as error:
            # A path that is not there: files behind an ordinary web server.
            pause = NO_HINT_SECONDS if getattr(error, "status_code", 0) in (403, 404, 405) else HINT_FAULT_SECONDS
        except (OSError, http.client.HTTPException, ValueError):
            pause = HINT_FAULT_SECONDS
        stop.wait(pause)


def _show_metrics(store: Store, host: str, port: int) -> None:
    """Serve them from a thread."""
    from prometheus_client import CollectorRegistry, start_http_server

    from feeds.metrics import FeedCollector

    registry = CollectorRegistry()
    registry.register(FeedCollector(store))
    try:
        start_http_server(port, host, registry)
    except OSError as error:
        raise Unavailable(
            _("cannot listen on {address}: {why}").format(address=label(host, port), why=error.strerror or error),
            kept=_("nothing was started"),
            then=_("choose another address with --metrics, or stop what listens there"),
        ) from None
