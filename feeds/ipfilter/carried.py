"""Targets that a file and a command reach: BIRD, FRR, ExaBGP, GoBGP, pf, plain text.

What such a target holds is read from the file that this program wrote, never guessed. Two ways: the file is written
anew and the program told to read it (`bird`, `pf`, `plain`), and put back if it refuses; or only the changes are said
(`frr`, `exabgp`, `gobgp`), so that no neighbour hears of a route that stays. Such a change that was interrupted is
said again by the next apply, which does no harm.

Addresses dropped whole only: rules limited to ports are left to `blocker ip render TARGET --flowspec`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from feeds import durable
from feeds.errors import Rejected, Unavailable
from feeds.ipfilter.bulk import intervals_of
from feeds.ipfilter.filter import BITS, Filter
from feeds.ipfilter.kernel import InKernel, Run
from feeds.ipfilter.plan import Plan
from feeds.ipfilter.routers import FORMS
from feeds.ipfilter.routers.form import Form, Order
from feeds.ipfilter.target import Target
from feeds.language import _

MAX_FILE_BYTES = 256 << 20
_PREFIX = re.compile(r"(?<![\w.:])([0-9a-f:.]+/\d{1,3})(?![\w/])")
_NEXT_HOP = re.compile(r"next-?hop (\S+)")


@dataclass(frozen=True, slots=True)
class Way:
    """How a form reaches its program. `{file}` in `command` is the file, `{changes}` what is to be changed.

    `says` must be in what the command prints, where its exit status is no answer; `refuses` must begin none of its
    lines, but for those that begin with `forgives`: what an interrupted change has done already. `appends` says that
    the program itself reads what is appended to the file.
    """

    file: str
    command: tuple[str, ...] = ()
    says: str = ""
    refuses: str = ""
    forgives: str = "% Refusing to remove a non-existent route"
    needs_hops: bool = False
    appends: bool = False

    @property
    def by_changes(self) -> bool:
        return self.appends or any("{changes}" in word for word in self.command)


WAYS = {
    "bird": Way("/etc/bird/blocker.conf", ("birdc", "configure"), says="Reconfigur"),
    "frr": Way("/var/lib/blocker/frr.routes", ("vtysh", "-f", "{changes}"), refuses="%"),
    "exabgp": Way("/run/exabgp/blocker.commands", needs_hops=True, appends=True),
    "gobgp": Way("/var/lib/blocker/gobgp.routes", ("sh", "-e", "{changes}"), needs_hops=True),
    "pf": Way("/etc/pf.blocked", ("pfctl", "-t", "blocked", "-T", "replace", "-f", "{file}")),
    "plain": Way("/srv/blocker/blocked.txt"),
}


@dataclass(frozen=True, slots=True)
class FileTarget(Target):
    """A target behind a file. `command` replaces that of its way; empty where nothing needs to be told."""

    file: Path = field(default=Path())
    command: tuple[str, ...] = ()
    hops: Mapping[int, str] = field(default_factory=dict)

    def carry(self, plan: Plan, hooks: Sequence[str], heading: Sequence[str], run: Run) -> None:
        """See `Target.carry`."""
        form, way = FORMS[self.name], WAYS[self.name]
        order = Order(plan.wanted, plan.serial, 0, rtbh=True, next_hops=self.hops)
        after = tuple(form.write(order))
        with durable.told(kept=_("what {target} holds is as it was").format(target=self.name)):
            if way.by_changes:
                self._say_changes(_lines(self.file, form), after, form.undo or _not_undone, run)
            else:
                self._replace([*(f"{form.comment} {line}" for line in heading), *after], run)

    def _replace(self, lines: Sequence[str], run: Run) -> None:
        before = self.file.read_bytes() if self.file.exists() else None
        durable.write(self.file, _text(lines))
        try:
            self._tell(run, {"file": str(self.file)})
        except Unavailable:
            if before is None:
                self.file.unlink()
            else:
                durable.write(self.file, before)
            with suppress(Unavailable):
                self._tell(run, {"file": str(self.file)})
            raise

    def _say_changes(
        self, before: Sequence[str], after: Sequence[str], undo: Callable[[str], str | None], run: Run
    ) -> None:
        here, there = set(before), set(after)
        changes = [taken for line in before if line not in there and (taken := undo(line)) is not None]
        changes += [line for line in after if line not in here]
        if WAYS[self.name].appends:
            with self.file.open("ab") as file:
                file.write(_text(changes))
            durable.sync_file(self.file)
            return
        said = self.file.with_name(f"{self.file.name}.changes")
        durable.write(said, _text(changes))
        self._tell(run, {"changes": str(said), "file": str(self.file)})
        durable.write(self.file, _text(after))
        said.unlink()

    def _tell(self, run: Run, places: dict[str, str]) -> None:
        if not self.command:
            return
        way = WAYS[self.name]
        printed = run([word.format(**places) for word in self.command], "")
        lines = [line for line in printed.splitlines() if not line.startswith(way.forgives)]
        bad = [line for line in lines if way.refuses and line.startswith(way.refuses)]
        if bad or (self.command == way.command and way.says not in printed):
            why = bad[0] if bad else next(iter(reversed(printed.strip().splitlines())), _("it gave no reason"))
            raise Unavailable(
                _("{program} refuses: {why}").format(program=self.command[0], why=why[:500]),
                kept=_("what {target} holds is as it was").format(target=self.name),
                then=_("read the reason above, correct it and try again"),
            )


def target_of(name: str, file: Path | None, command: tuple[str, ...] | None, hops: Mapping[int, str]) -> FileTarget:
    """The target of that name; without `file` and `command`, those that it usually has."""
    way = WAYS[name]
    place = file or Path(way.file)
    told = way.command if command is None else command
    marks = tuple(sorted(hops.values())) if way.needs_hops else ()
    return FileTarget(
        name,
        sayable=lambda filter_: _announced(filter_, hops) if way.needs_hops else _whole(filter_),
        uses=lambda _hooks: marks,
        script=lambda filter_, _hooks, heading, _lasting: "",
        read=lambda _run: _read(place, FORMS[name], marks),
        load=(),
        file=place,
        command=told,
        hops=hops,
    )


def _whole(filter_: Filter) -> Filter:
    return Filter(filter_.blocked4, filter_.blocked6)


def _announced(filter_: Filter, hops: Mapping[int, str]) -> Filter:
    """What can be announced: an IP version without a next hop cannot."""
    return Filter(filter_.blocked4 if 4 in hops else (), filter_.blocked6 if 6 in hops else ())


def _read(path: Path, form: Form, marks: tuple[str, ...]) -> InKernel:
    text = "\n".join(_lines(path, form))
    found = _PREFIX.findall(text)
    four, six = ([each for each in found if (":" in each) == (version == 6)] for version in BITS)
    try:
        held = Filter(intervals_of(four, BITS[4]), intervals_of(six, BITS[6]))
    except Rejected:
        raise Unavailable(
            _("{path} is not what this program wrote").format(path=path),
            kept=_("what {target} holds is as it was").format(target=form.name),
            then=_("move that file away and try again; all is said anew then"),
        ) from None
    # A next hop that nothing is announced with now is none that is wrong.
    hops = set(_NEXT_HOP.findall(text)) if marks else set()
    return InKernel(held, marks if hops <= set(marks) else tuple(sorted(hops)), {})


def _lines(path: Path, form: Form) -> tuple[str, ...]:
    """What the file says in the end: lines taken back are gone. Raises Unavailable where it cannot be read."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise Unavailable(_("{path} is too large to be a rendering").format(path=path))
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else _("it is not UTF-8 text")
        raise Unavailable(
            _("{path} cannot be read: {why}").format(path=path, why=why), then=_("check the path and its permissions")
        ) from None
    if not WAYS[form.name].appends:
        return tuple(line for line in text.splitlines() if not line.startswith(form.comment))
    held: dict[str, None] = {}
    undone: dict[str, str] = {}
    for line in text.splitlines():
        if line in undone:
            held.pop(undone.pop(line), None)
        elif form.undo is not None and (taken_back := form.undo(line)) is not None:
            held[line] = None
            undone[taken_back] = line
    return tuple(held)


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _not_undone(_line: str) -> None:
    return None
