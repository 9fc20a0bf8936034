"""Errors in families, by who must act. Each says what happened, what was kept and what to try next.

The console command turns every one of them into sentences on stderr and the exit code of its family.
A `Problem` is one fault of one input at one place; an error carries all of them, never just the first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where (`row 17`, `entry 3`, `rule 120`), which rule of ours it breaks, one sentence."""

    place: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message} [{self.rule}]" if self.place else f"{self.message} [{self.rule}]"


class Failure(Exception):
    """Anything a person can meet. `what` happened, what was `kept`, what to do `then`."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, kept: str = "", then: str = "", problems: Iterable[Problem] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.kept = kept
        self.then = then
        self.problems = tuple(problems)

    def as_json(self) -> dict[str, object]:
        """The error as `--json` prints it."""
        return {
            "error": type(self).__name__.lower(),
            "exit_code": self.exit_code,
            "what": self.what,
            "kept": self.kept,
            "then": self.then,
            "problems": [{"place": p.place, "rule": p.rule, "message": p.message} for p in self.problems],
        }


class Rejected(Failure):
    """The input is not what it must be; whoever wrote it must correct it."""

    def __init__(
        self, what: str, *, rule: str = "input", kept: str = "", then: str = "", problems: Iterable[Problem] = ()
    ) -> None:
        super().__init__(what, kept=kept, then=then, problems=problems)
        self.rule = rule


class Unavailable(Failure):
    """The other side (a server, a database, a lock, a program) cannot be had now; try again later."""


class Stale(Failure):
    """The feed has expired; the last good release stays in force."""

    exit_code = 3


class Untrusted(Failure):
    """Signature, rollback, digest or form of a feed is wrong; nothing of it was used."""

    exit_code = 4


class Held(Failure):
    """Correctly signed, but too large a change, or a plan that is no longer safe; a person must look."""

    exit_code = 5


class Refused(Failure):
    """The guard or the workflow says no; the proposal must change, or another officer must act."""

    exit_code = 6
