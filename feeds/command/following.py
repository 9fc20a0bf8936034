"""`blocker feed follow`: pull whenever the feed changes, for ever.

Three threads: one looks at the feed, one waits for hints, and the main one keeps systemd's watchdog quiet - only as
long as a look does not last longer than all its time limits together.
"""

import http.client
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import click
from tuf.api.exceptions import DownloadError

from feeds.command.pulling import pulled_data, pulled_text
from feeds.command.service import Listen, label
from feeds.command.state import now, state_option
from feeds.errors import Unavailable
from feeds.fetching import BOUNDS, Bounds, Fetcher
from feeds.follower import EVERY_SECONDS, WAKE_PAUSE_SECONDS, Follower, Pace, Turn, Wakes
from feeds.language import _
from feeds.store import Store
from feeds.systemd import Notifier
from feeds.terminal import json_option, printable

HINT = "hint"
HINT_BOUNDS = Bounds(gap_seconds=75.0, request_seconds=90.0, pull_seconds=90.0, grace_seconds=90.0, max_bytes=4096)
# After a server that knows no hints, or cannot be had, it is asked again this much later.
NO_HINT_SECONDS = 300.0
HINT_FAULT_SECONDS = 5.0
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
@state_option
@json_option
def follow(every_seconds: float, metrics: tuple[str, int] | None, state: Path, as_json: bool) -> None:
    """Until SIGTERM or SIGINT, then ends with 0; a pull that is under way is given up, the old release kept."""
    store = Store(state)
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
    threads = [threading.Thread(target=looker.run, daemon=True)]
    if urlsplit(url).scheme != "file":
        threads.append(threading.Thread(target=_wait_for_hints, args=(url, wake, stop), daemon=True))
    for thread in threads:
        thread.start()
    _watch(looker, threads[0], stop, ready)


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
        self._as_json = as_json
        self._last_said = ""
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
        """One line a change; a fault that lasts is said once."""
        if turn.result == "unchanged" and not self._last_said:
            return
        if turn.failure is not None:
            data, text = turn.failure.as_json(), turn.failure.what
            for label_, more in ((_("Kept"), turn.failure.kept), (_("Next"), turn.failure.then)):
                text += f" {label_}: {more}." if more else ""
        elif turn.pulled is not None:
            data, text = pulled_data(turn.pulled), pulled_text(turn.pulled)
        else:
            data, text = {}, _("The feed can be had again; nothing new.")
        if turn.failure is not None and text == self._last_said:
            return
        self._last_said = text if turn.failure is not None else ""
        if self._as_json:
            line = json.dumps({"time": now().isoformat(), "result": turn.result, **data}, ensure_ascii=False)
        else:
            line = printable(text)
        click.echo(line)
        sys.stdout.flush()


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
    if looker.fault is not None:
        raise looker.fault


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
