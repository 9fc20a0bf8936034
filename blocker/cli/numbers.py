"""How officers name proposals and entries: by number, by what the feed calls them, or by the target itself."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import click

from blocker.cli.ask import ask, interactive, require
from blocker.cli.plan import proposal_table
from blocker.register import Register
from blocker.sheet import parse_targets
from blocker.workflow import EntryState, ProposalState
from feeds.errors import Problem, Rejected
from feeds.language import _

number_argument = click.argument("number", metavar="[PROPOSAL]", required=False)
_OVER = frozenset({EntryState.EXPIRED, EntryState.LAPSED, EntryState.WITHDRAWN, EntryState.REJECTED})


def draft_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--proposal NUMBER, as `number`."""
    return click.option("--proposal", "number", metavar="NUMBER", help=_("The draft to put it into."))(command)


def read_number(register: Register, given: str | None, *states: ProposalState) -> int:
    """A proposal's number; on a terminal those in `states` are shown and the only one is offered."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
            raise Rejected(_("«{text}» is not the number of a proposal").format(text=text))
        return register.proposals.get(int(text)).number

    if given is not None:
        return read(given)
    require(("PROPOSAL", None))
    found = [p for state in states for p in register.proposals.list(state, 20)]
    if interactive():
        click.echo(proposal_table(found), err=True)
    return ask(None, "PROPOSAL", _("Number of the proposal"), read, default=str(found[0].number) if found else None)


def read_entry(register: Register, text: str, now: datetime) -> int:
    """An entry's number, from its number, its id in the feed, or the very target it lists; the newest that stands."""
    bare = text.removeprefix(register.authority + ":")
    if bare.isascii() and bare.isdigit():
        return register.entries.get(int(bare), now).number
    numbers = []
    for parsed in parse_targets(text):
        own = [m.entry for m in register.entries.why(parsed.target, now) if not m.covering]
        standing = [e.number for e in own if e.state not in _OVER]
        numbers += [max(standing or [e.number for e in own])] if own else []
    if len(numbers) != 1:
        raise Rejected(
            _("«{text}» names no single entry").format(text=text),
            then=_("find its number: blocker entry list --search {text}").format(text=text),
        )
    return numbers[0]


def entries_of(register: Register, named: Iterable[str], now: datetime) -> list[tuple[int, str]]:
    """Numbers of entries with what they were called; raises Rejected with every one that is unknown."""
    found: dict[int, str] = {}
    problems = []
    for text in named:
        try:
            found.setdefault(read_entry(register, text, now), text)
        except Rejected as error:
            problems.append(Problem(text, error.rule, error.what))
    if problems:
        raise Rejected(
            _("{n} of the entries cannot be found").format(n=len(problems)),
            kept=_("nothing was changed"),
            then=_("correct them and try again"),
            problems=problems,
        )
    return list(found.items())
