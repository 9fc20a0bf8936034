"""Carrying a plan out through a file and a command.

A change that was interrupted is said again by the next apply, which does no harm: what is told by changes counts as
told once the program took it, and a file whose program was not told yet is marked.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from feeds import durable
from feeds.errors import Unavailable
from feeds.ipfilter.carried import told
from feeds.ipfilter.carried.ways import WAYS, Way
from feeds.ipfilter.filter import BITS, Filter
from feeds.ipfilter.kernel import Run
from feeds.ipfilter.plan import Plan
from feeds.ipfilter.routers import FORMS
from feeds.ipfilter.routers.form import Form, Order
from feeds.ipfilter.target import Target
from feeds.language import _


@dataclass(frozen=True, slots=True)
class FileTarget(Target):
    """A target behind a file. `command` replaces that of its way; empty where nothing needs to be told.

    `now_seconds` is Unix time. `reads` replaces that of its way.
    """

    way: Way = field(default=WAYS["plain"])
    file: Path = field(default=Path())
    command: tuple[str, ...] = ()
    hops: Mapping[int, str] = field(default_factory=dict)
    flowspec: bool = False
    now_seconds: float = 0.0
    reads: tuple[tuple[str, ...], ...] = ()

    def lines(self, run: Run) -> tuple[str, ...]:
        """What the target holds, in the lines of its form; raises Unavailable."""
        form = FORMS[self.name]
        if not self.reads:
            return told.lines_of(self.file, form, self.way)
        try:
            return tuple(line for command in self.reads for line in form.live(run(command, "")))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Unavailable(
                _("what {program} prints cannot be read").format(program=self.reads[0][0]),
                kept=_("what {target} holds is as it was").format(target=self.name),
            ) from None

    def carry(self, plan: Plan, hooks: Sequence[str], heading: Sequence[str], run: Run) -> None:
        """See `Target.carry`."""
        form, way = FORMS[self.name], self.way
        rtbh = bool(self.hops) if way.needs_hops else way.routes
        order = Order(plan.wanted, plan.serial, int(self.now_seconds), rtbh, self.flowspec, self.hops, plan.lasting)
        after = tuple(form.write(order))
        with durable.told(kept=_("what {target} holds is as it was").format(target=self.name)):
            if way.by_changes:
                self._say_changes(after, form, run)
                return
            lines = [*(f"{form.comment} {line}" for line in heading), *after]
            if way.in_parts:
                self._replace_parts(lines, f"{plan.serial}-{order.stamp}", form.part_lines or len(lines), run)
            else:
                self._replace(lines, run)

    def _replace(self, lines: Sequence[str], run: Run) -> None:
        before = self.file.read_bytes() if self.file.exists() else None
        with self._untold():
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

    def _replace_parts(self, lines: Sequence[str], stamp: str, size: int, run: Run) -> None:
        """Whole in a directory of its own before the link points at it, so that nobody fetches a mixture."""
        folder = self.file.with_name(f"{self.file.name}-{stamp}")
        before = self.file.readlink() if self.file.is_symlink() else None
        _empty(folder)
        folder.mkdir()
        for number, start in enumerate(range(0, len(lines), size), 1):
            durable.write(folder / f"{number:04}.rsc", _text(lines[start : start + size]))
        with self._untold():
            durable.relink(self.file, folder.name)
            try:
                self._tell(run, {"file": str(self.file)})
            except Unavailable:
                if before is None:
                    self.file.unlink()
                else:
                    durable.relink(self.file, str(before))
                raise
        # The one before stays: somebody may be half through fetching it.
        ours = re.compile(rf"{re.escape(self.file.name)}-\d+-\d+")
        for old in self.file.parent.iterdir():
            if ours.fullmatch(old.name) and old.name not in (folder.name, str(before)):
                _empty(old)

    def _say_changes(self, after: Sequence[str], form: Form, run: Run) -> None:
        before = self.lines(run)
        undo: Callable[[str], str | None] = form.undo or (lambda _line: None)
        here, there = set(before), set(after)
        changes = [taken for line in before if line not in there and (taken := undo(line)) is not None]
        changes += [line for line in after if line not in here]
        if self.way.appends:
            with self.file.open("a+b") as file:
                if file.tell() and _last_byte(self.file) != b"\n":
                    file.write(f"{told.CUT}\n".encode())
                file.write(_text(changes))
            durable.sync_file(self.file)
            return
        said = self.file.with_name(f"{self.file.name}.changes")
        durable.write(said, _text(changes))
        self._tell(run, {"changes": str(said), "file": str(self.file)})
        durable.write(self.file, _text(after))
        said.unlink()

    def _untold(self) -> "_Mark":
        return _Mark(told.untold(self.file) if self.command else None)

    def _tell(self, run: Run, places: dict[str, str]) -> None:
        if not self.command:
            return
        way = self.way
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


def target_of(
    name: str,
    way: Way,
    file: Path | None,
    command: tuple[str, ...] | None,
    hops: Mapping[int, str],
    *,
    flowspec: bool = False,
    now_seconds: float = 0.0,
    reads: tuple[tuple[str, ...], ...] = (),
) -> FileTarget:
    """The target of that name, reached that way; without `file` and `command`, those that it usually has."""
    place = file or Path(way.file)
    form = FORMS[name]
    marks = tuple(sorted(hops.values())) if way.needs_hops else ()

    def sayable(filter_: Filter) -> Filter:
        four, six = (filter_.whole(version) if announced(version) else () for version in BITS)
        limited = filter_ if flowspec else Filter()
        return Filter(four, six, limited.tcp4, limited.tcp6, limited.udp4, limited.udp6).joined()

    def announced(version: int) -> bool:
        """A route of an IP version without a next hop cannot be announced; Flowspec without RTBH needs none."""
        return not way.needs_hops or version in hops or (flowspec and not hops)

    made = FileTarget(
        name,
        sayable=sayable,
        uses=lambda _hooks: marks,
        script=lambda filter_, _hooks, heading, _lasting: "",
        read=lambda run: told.read(place, form, made.lines(run), marks, now_seconds),
        load=(),
        way=way,
        file=place,
        command=way.command if command is None else command,
        hops=hops,
        flowspec=flowspec,
        now_seconds=now_seconds,
        reads=reads,
    )
    return made


@dataclass(frozen=True, slots=True)
class _Mark:
    """A file that is there while something is under way; it stays if that is killed, and goes however else it ends."""

    path: Path | None

    def __enter__(self) -> None:
        if self.path is not None:
            durable.write(self.path, b"")

    def __exit__(self, *_about: object) -> None:
        if self.path is not None:
            self.path.unlink()


def _empty(folder: Path) -> None:
    """Take a directory of files away, if it is there."""
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1)


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
