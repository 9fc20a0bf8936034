"""What every command shares: tables and sentences for people, JSON for programs, progress on stderr.

stdout carries the answer and nothing else; stderr carries progress, hints and errors.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any, Protocol

import click

from feeds.errors import Failure
from feeds.language import N_, _, spoken


class SpokenOption(click.Option):
    """An option whose help is translated when it is shown, for modules imported before the language is known."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        marked = self.help
        self.help = _(marked) if marked else marked
        try:
            return super().get_help_record(ctx)
        finally:
            self.help = marked


json_option = click.option("--json", "as_json", is_flag=True, cls=SpokenOption, help=N_("Print JSON instead of text."))


def answer(as_json: bool, data: object, text: str | None = None) -> None:
    """Print the answer: `data` as JSON, or `text` for people."""
    click.echo(json.dumps(data, ensure_ascii=False, indent=2, default=str) if as_json else (text or ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """A table as text, as wide as the terminal (unbounded in a pipe), Vietnamese width counted rightly."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, show_header=any(columns)
    )
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(str(cell))) for cell in row))
    wide = None if sys.stdout.isatty() else 250
    console = Console(width=wide, no_color="NO_COLOR" in os.environ, highlight=False)
    with console.capture() as captured:
        console.print(made)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def printable(text: str) -> str:
    """The text with control characters shown as escapes, so that no stored name can write on the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def hint(sentence: str) -> None:
    """Say on stderr what comes next."""
    click.echo(sentence, err=True)


def complain(error: Failure, as_json: bool) -> None:
    """Print an error: what happened, each problem with its place, what was kept, what to try."""
    if as_json:
        click.echo(json.dumps(error.as_json(), ensure_ascii=False), err=True)
        return
    click.echo(_("Error: {what}").format(what=printable(error.what)), err=True)
    for problem in error.problems:
        click.echo("  - " + printable(str(problem)), err=True)
    if error.kept:
        click.echo(_("Kept: {kept}").format(kept=printable(error.kept)), err=True)
    if error.then:
        click.echo(_("Next: {then}").format(then=printable(error.then)), err=True)


def day_text(moment: datetime | date) -> str:
    """A date as the person's language writes it: `24/11/2026` in Vietnamese, `2026-11-24` otherwise."""
    return moment.strftime("%d/%m/%Y" if spoken() == "vi" else "%Y-%m-%d")


def moment_text(moment: datetime) -> str:
    """A moment in UTC with its zone said, the date as `day_text`."""
    utc = moment.astimezone(UTC)
    return f"{day_text(utc)} {utc:%H:%M} UTC"


class Advance(Protocol):
    """Says that so many more units of work are done."""

    def __call__(self, units: int = 1) -> None: ...


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Advance]:
    """A progress bar on stderr where that is a terminal; silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda units=1: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda units=1: bar.advance(task, units)
