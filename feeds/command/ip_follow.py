"""`blocker ip follow`: apply every new release, and every lapse, as long as it runs.

What it stops with stays in the kernel: a filter that vanishes with a process would unblock at each restart. A release
that is not safe to apply is held; what lapsed or was withdrawn leaves the kernel all the same.
"""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from feeds.command.ip_options import carried_options, metrics_option, options_for
from feeds.command.ip_wish import Wish, wish_of
from feeds.command.state import now
from feeds.errors import Failure, Held
from feeds.ipfilter.carried.ways import WAYS
from feeds.ipfilter.due import Due
from feeds.ipfilter.kernel import run
from feeds.ipfilter.plan import prefix_count
from feeds.ipfilter.target import TARGETS
from feeds.language import N_, _
from feeds.rule import hours
from feeds.store import Store
from feeds.systemd import Notifier
from feeds.terminal import SpokenOption, printable

EVERY_SECONDS = 5.0


@click.command(help=_("Apply every new release and every lapse, for ever; what is in force at the end stays."))
@options_for([*TARGETS, *WAYS])
@carried_options
@click.option(
    "--every",
    "every_seconds",
    type=click.FloatRange(0.1, 3600),
    default=EVERY_SECONDS,
    show_default=True,
    cls=SpokenOption,
    help=N_("Seconds between two looks at the state directory."),
)
@metrics_option
def follow(as_json: bool, every_seconds: float, metrics_file: Path | None, **options: Any) -> None:
    """Until SIGTERM or SIGINT, then ends with 0 after the turn that is under way."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    notifier, due, voice = Notifier(os.environ), Due(), _Voice(as_json)
    pause = min(every_seconds, notifier.watchdog_seconds or every_seconds)
    ready = False
    while not stop.is_set():
        notifier.send("WATCHDOG=1")
        if due.take(_key(options["state"], options["exceptions"]), time.monotonic()):
            try:
                voice.say(_turn(metrics_file, options))
            except Failure as failure:
                due.failed(time.monotonic())
                voice.complain(failure)
            notifier.send(f"STATUS={voice.last}")
        if not ready:
            ready = True
            notifier.send("READY=1")
        stop.wait(pause)
    notifier.send("STOPPING=1")


def _key(state: Path, exceptions: Path | None) -> object:
    """What decides the filter: the accepted release, the hour, the exceptions (None if missing)."""
    try:
        changed = exceptions.stat().st_mtime_ns if exceptions else 0
    except OSError:
        changed = None
    return Store(state).token(), hours(now()), changed


def _turn(metrics_file: Path | None, options: dict[str, Any]) -> dict[str, Any] | None:
    """Compare and apply; what was done, or None. Raises Failure; Held after the lapses were carried out."""
    wish = wish_of(checked=False, **options)
    held = _unsafe(wish, options)
    whole = wish.plan()
    plan = whole.lapsing() if held else whole
    after = wish.target.apply(plan, wish.hooks, wish.heading(), run)
    done = replace(whole, held=after)
    wish.write_metrics(metrics_file, done, applied=done.empty)
    if held is not None:
        raise held
    if plan.empty:
        return None
    changes = plan.changes()
    return {
        "target": plan.target,
        "serial": plan.serial,
        "added": sum(len(change.added) for change in changes),
        "removed": sum(len(change.removed) for change in changes),
        "prefixes": {f"ipv{version}": prefix_count(after.filter, version) for version in (4, 6)},
    }


def _unsafe(wish: Wish, options: dict[str, Any]) -> Held | None:
    try:
        wish.check(options["max_addresses"], options["max_networks"])
    except Held as held:
        return held
    return None


class _Voice:
    """One line a change; a fault that lasts is said once."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._fault = ""
        self.last = ""

    def say(self, done: dict[str, Any] | None) -> None:
        """Say what was done; nothing where nothing was, unless a fault is over."""
        over, self._fault = bool(self._fault), ""
        if done is not None:
            text = _("serial {serial}: {added} added, {removed} removed; {four} IPv4 and {six} IPv6 prefixes").format(
                serial=done["serial"],
                added=done["added"],
                removed=done["removed"],
                four=done["prefixes"]["ipv4"],
                six=done["prefixes"]["ipv6"],
            )
            self._print({"result": "applied", **done}, text)
        elif over or not self.last:
            self._print({"result": "unchanged"}, _("the target holds what it shall hold"))

    def complain(self, failure: Failure) -> None:
        """Say a fault, once."""
        problems = "; ".join(str(problem) for problem in failure.problems[:5])
        text = "; ".join(part for part in (failure.what, problems) if part) + "."
        for label, more in ((_("Kept"), failure.kept), (_("Next"), failure.then)):
            text += f" {label}: {more}." if more else ""
        if text != self._fault:
            self._fault = text
            self._print({"result": "failed", **failure.as_json()}, text)

    def _print(self, data: dict[str, Any], text: str) -> None:
        self.last = printable(text)
        line = json.dumps({"time": now().isoformat(), **data}, ensure_ascii=False) if self._as_json else self.last
        click.echo(line)
