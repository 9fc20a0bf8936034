"""Questions to an officer at a terminal, and what a script must say instead.

A command first calls `require` with all it needs: in a script (stdin is no terminal) everything missing is named at
once, exit code 2, and nothing is ever asked. On a terminal each missing value is asked for on stderr, explained, and
asked again until it is right; stdout keeps to the answer.
"""

import os
import re
import stat
import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from feeds.errors import Rejected
from feeds.language import _
from feeds.terminal import printable

Value = TypeVar("Value")
MAX_SECRET_BYTES = 4096
MAX_LINES_BYTES = 64 << 20


def interactive() -> bool:
    """May this process ask? Only when a person sits at its stdin."""
    return sys.stdin.isatty()


def tidy(text: str) -> str:
    """What was typed or pasted from a spreadsheet, in NFC, on one line, without what cannot be seen."""
    shown = "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf")
    return re.sub(r"\s+", " ", "".join(" " if c.isspace() else c for c in shown)).strip()


def require(*needed: tuple[str, object]) -> None:
    """Raise a usage error that names every missing option, unless somebody can be asked."""
    if interactive():
        return
    missing = [option for option, value in needed if value is None or value == "" or value == ()]
    if missing:
        raise click.UsageError(
            _("missing: {options} (nothing is asked for, since the input is not a terminal)").format(
                options=", ".join(missing)
            )
        )


def ask(
    value: str | None,
    option: str,
    question: str,
    read: Callable[[str], Value],
    *,
    default: str | None = None,
    explain: str = "",
) -> Value:
    """The value as `read` understands it; asked for where it is missing, again where `read` raises Rejected.

    `default` is taken when the person just presses Enter; `""` makes the answer optional.
    """
    if value is not None:
        try:
            return read(tidy(value))
        except Rejected as error:
            raise click.BadParameter(error.what, param_hint=option) from None
    require((option, None))
    if explain:
        click.echo("  " + explain, err=True)
    while True:
        typed = tidy(click.prompt(question, default=default, err=True, show_default=bool(default)))
        try:
            return read(typed)
        except Rejected as error:
            click.echo("  " + printable(error.what), err=True)
            if error.then:
                click.echo("  " + printable(error.then), err=True)


def ask_text(value: str | None, option: str, question: str, *, default: str | None = None, explain: str = "") -> str:
    """Any text but a blank one, or a blank one where the default is blank."""

    def read(text: str) -> str:
        if not text and default is None:
            raise Rejected(_("this must not be empty"))
        return text

    return ask(value, option, question, read, default=default, explain=explain)


def ask_choice(
    value: str | None, option: str, question: str, choices: Mapping[str, str], *, default: str | None = None
) -> str:
    """One of `choices` (word -> explanation), by its word or by its number in the list that is shown."""
    words = list(choices)

    def read(text: str) -> str:
        low = text.casefold()
        if low in choices:
            return low
        if text.isascii() and text.isdigit() and 1 <= int(text) <= len(words):
            return words[int(text) - 1]
        raise Rejected(_("«{text}» is none of: {choices}").format(text=text, choices=", ".join(words)))

    if value is None and interactive():
        click.echo(question + ":", err=True)
        wide = max(map(len, words))
        for number, word in enumerate(words, 1):
            click.echo(f"  {number:>2}  {word:<{wide}}  {choices[word]}", err=True)
        question = _("Number or word")
    return ask(value, option, question, read, default=default)


def ask_yes(question: str, *, default: bool = False) -> bool:
    """Yes or no, in the person's language; English answers are understood everywhere. Only on a terminal."""
    yes, no = _("yes"), _("no")
    shown = yes if default else no
    while True:
        typed = tidy(click.prompt(f"{question} ({yes}/{no})", default=shown, err=True)).casefold()
        if typed in {yes.casefold(), yes[:1].casefold(), "y", "yes"}:
            return True
        if typed in {no.casefold(), no[:1].casefold(), "n", "no"}:
            return False
        click.echo("  " + _("please answer {yes} or {no}").format(yes=yes, no=no), err=True)


class Secrets:
    """Passphrases: from a file descriptor or a file of mode 0600, else asked for without echo; never an option.

    A source with one line gives that passphrase for every key (training, demonstrations); one with several lines
    gives them in the order in which they are needed.
    """

    def __init__(self, fd: int | None, path: Path | None) -> None:
        if fd is not None and path is not None:
            raise click.UsageError(_("give --passphrase-fd or --passphrase-file, not both"))
        self._given: list[str] | None = None
        if fd is not None:
            self._given = _lines(_read_fd(fd))
        elif path is not None:
            self._given = _lines(_read_private(path))
        self._used = 0

    @property
    def given(self) -> bool:
        """Do they come from a file or a descriptor, so that nobody is asked?"""
        return self._given is not None

    def existing(self, whose: str) -> bytes:
        """The passphrase of a key that exists. `whose` names the key."""
        if self._given is not None:
            return self._next(whose)
        _can_ask()
        return _hidden(_("Passphrase of {whose}").format(whose=whose), confirm=False)

    def new(self, whose: str, accept: Callable[[bytes], None]) -> bytes:
        """A passphrase for a new key, typed twice; asked again while `accept` raises Rejected."""
        if self._given is not None:
            secret = self._next(whose)
            accept(secret)
            return secret
        _can_ask()
        while True:
            secret = _hidden(_("New passphrase for {whose}").format(whose=whose), confirm=True)
            try:
                accept(secret)
            except Rejected as error:
                click.echo("  " + error.what, err=True)
                continue
            return secret

    def _next(self, whose: str) -> bytes:
        given = self._given or []
        place = 0 if len(given) == 1 else self._used
        self._used += 1
        if place >= len(given):
            raise Rejected(
                _("there is no passphrase left for {whose}: {n} lines were given").format(whose=whose, n=len(given)),
                then=_("give one line for all keys, or one line for each in order"),
            )
        return given[place].encode()


def _can_ask() -> None:
    if not interactive():
        raise click.UsageError(
            _("missing: {options} (nothing is asked for, since the input is not a terminal)").format(
                options="--passphrase-fd / --passphrase-file"
            )
        )


def _hidden(question: str, *, confirm: bool) -> bytes:
    again = _("The same once more") if confirm else False
    return str(click.prompt(question, hide_input=True, confirmation_prompt=again, err=True)).encode()


def _lines(data: bytes) -> list[str]:
    try:
        lines = [line for line in data.decode().splitlines() if line]
    except UnicodeDecodeError:
        raise Rejected(_("the passphrase is not UTF-8 text")) from None
    if not lines:
        raise Rejected(_("the passphrase source is empty"), then=_("write the passphrase and a line end into it"))
    return lines


def _read_fd(fd: int) -> bytes:
    read = b""
    try:
        while len(read) <= MAX_SECRET_BYTES:
            part = os.read(fd, MAX_SECRET_BYTES)
            if not part:
                return read
            read += part
    except OSError as error:
        raise Rejected(
            _("file descriptor {fd} cannot be read: {why}").format(fd=fd, why=error.strerror),
            then=_("open it for the command, as in: --passphrase-fd 3 3< FILE"),
        ) from None
    raise Rejected(_("the passphrase source is longer than {max} bytes").format(max=MAX_SECRET_BYTES))


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise Rejected(
                    _("the passphrase file {path} can be read by others").format(path=path),
                    then=_("protect it: chmod 600 {path}").format(path=path),
                )
            data = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise Rejected(
            _("the passphrase file {path} cannot be read: {why}").format(path=path, why=error.strerror)
        ) from None
    if len(data) > MAX_SECRET_BYTES:
        raise Rejected(_("the passphrase source is longer than {max} bytes").format(max=MAX_SECRET_BYTES))
    return data


def read_lines(path: Path) -> list[str]:
    """The lines of a small text file that say something; `#` begins a comment line. Raises Rejected."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LINES_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected(_("the file {path} cannot be read: {why}").format(path=path, why=error)) from None
    if len(data) > MAX_LINES_BYTES:
        raise Rejected(_("the file {path} is larger than {max} bytes").format(path=path, max=MAX_LINES_BYTES))
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def command_text(*words: object) -> str:
    """A command to type, each word quoted as a shell needs it."""
    import shlex

    return shlex.join(["blocker", *map(str, words)])
