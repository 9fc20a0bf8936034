"""What a long-running command says: one line a change, a fault that lasts once."""

import json
import sys
from collections.abc import Mapping

import click

from feeds.command.state import now
from feeds.errors import Failure
from feeds.language import _
from feeds.terminal import printable


class Voice:
    """Lines on standard output, for people or as JSON; one voice for each thing that can fail by itself."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._fault = ""

    @property
    def complained(self) -> bool:
        """Was the last thing said a fault?"""
        return bool(self._fault)

    def say(self, result: str, data: Mapping[str, object], text: str) -> None:
        """Something was done; `result` is the word for programs."""
        self._fault = ""
        self._print(result, data, text)

    def complain(self, result: str, failure: Failure) -> None:
        """Something failed; nothing where that was the last thing said."""
        text = f"{failure.what}." if failure.kept or failure.then else failure.what
        for label, more in ((_("Kept"), failure.kept), (_("Next"), failure.then)):
            text += f" {label}: {more}." if more else ""
        if text != self._fault:
            self._fault = text
            self._print(result, failure.as_json(), text)

    def _print(self, result: str, data: Mapping[str, object], text: str) -> None:
        if self._as_json:
            line = json.dumps({"time": now().isoformat(), "result": result, **data}, ensure_ascii=False)
        else:
            line = printable(text)
        click.echo(line)
        sys.stdout.flush()
