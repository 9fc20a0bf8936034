"""The control process: watches the state directory, compiles what is new, sends it to the process that answers.

It is forked before the first query is taken. Whatever befalls it (a damaged disk, memory, a kill) the resolver goes
on answering with the policy it has. Each compilation runs in a further child, so its memory is given back whole. What
is compiled is an image in memory, sealed and handed over; a copy kept in the state directory spares the next start.
"""

import gc
import gzip
import hashlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import NoReturn

from feeds.canary import canary_rule
from feeds.errors import Failure, Problem, Rejected, Unavailable, Untrusted
from feeds.language import _
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import Action, NameTarget, Scope, Target, hours
from feeds.store import Store
from resolver.frames import (
    Loaded,
    LoadFailure,
    brings_image,
    ends_load,
    failure_frame,
    hour_frame,
    policy_frames,
    whole_frames,
)
from resolver.image import KEPT_NAME, About, build, fetch, freshness, keep, new_memory, random_prime, seal
from resolver.policy import Ground, Layer, Source, numbered, read_plain_list

POLL_SECONDS = 0.5
CLOCK_SECONDS = 5.0
MAX_LIST_BYTES = 1 << 30
RELOAD = b"R"
LIST_SUFFIX = ".image"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rules come from: a state directory or a plain list, and the operator's own exceptions.

    `program` is its version: what another one compiled is not used.
    """

    state: Path | None = None
    plain: Path | None = None
    exceptions: Path | None = None
    program: str = ""

    @property
    def image_path(self) -> Path:
        """Where an image of it is looked for."""
        if self.plain is not None:
            return self.plain.with_name(self.plain.name + LIST_SUFFIX)
        return (self.state or Path()) / KEPT_NAME

    def load(self, memory: int) -> "Compiled":
        """Fetch or compile into empty `memory`; raises a Failure."""
        exceptions = _exceptions(self.exceptions)
        before = Layer.of_exceptions(exceptions) if exceptions else None
        if self.plain is not None:
            loaded, keep_as = _list(self.plain, self.image_path, self.program, memory)
        else:
            state = self.state or Path()
            try:
                loaded, keep_as = _accepted(Store(state), self.image_path, self.program, memory)
            except OSError as error:
                raise _unreadable(state, error) from None
        return Compiled(before, loaded, keep_as)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What goes with an image: the layer before it, what to tell, and where a copy is worth keeping, if anywhere."""

    before: Layer | None
    loaded: Loaded
    keep_as: Path | None


def _accepted(store: Store, kept: Path, program: str, memory: int) -> tuple[Loaded, Path | None]:
    accepted = store.accepted() if (store.path / "releases").is_dir() else None
    if accepted is None:
        raise Unavailable(
            _("{path} holds no release yet").format(path=store.path),
            then=_("run `blocker feed pull`; or say --open to answer without enforcing anything until one comes"),
        )
    manifest = accepted.manifest
    made_from = freshness(program, "release", accepted.directory.name)
    about, damage = _fetched(kept, made_from, memory)
    fresh = about is not None
    if about is None:
        source = Source(
            authority=manifest.authority,
            serial=manifest.serial,
            contact=manifest.contact.email,
            contacts={d.notation: d.contact for d in manifest.decisions if d.contact},
        )
        refused = sum(accepted.refused.values())
        refused += sum(canary_rule(canary, manifest.authority) is None for canary in manifest.canaries)
        grounds: list[Ground] = []
        found = numbered(accepted.rules(), manifest.canaries, source, grounds)
        about = _built(memory, found, grounds, source, refused, made_from)
    rules = accepted.counts["rules"]
    loaded = Loaded(manifest.serial, rules, about.refused, manifest.authority, accepted.damage or damage)
    return loaded, None if fresh else kept


def _list(path: Path, kept: Path, program: str, memory: int) -> tuple[Loaded, Path | None]:
    """A plain list. Its image is kept beside it only where one is there already: `blocker dns compile` puts it."""
    made_from = freshness(program, "list", _digest(path))
    about, damage = _fetched(kept, made_from, memory)
    fresh = about is not None
    if about is None:
        read = read_plain_list(_lines(path))
        if not read.targets:
            raise Rejected(
                _("{path} holds nothing that could be blocked").format(path=path),
                rule="list.empty",
                problems=read.refused[:20],
                then=_("give a list with one name, address or prefix a line"),
            )
        source = Source(authority=path.name, serial=0, foreign=True, zone="rpz")
        grounds = [Ground(source, Action.NXDOMAIN)]
        found = ((target, 0) for target in read.targets)
        about = _built(memory, found, grounds, source, len(read.refused), made_from)
    loaded = Loaded(0, about.rules, about.refused, path.name, damage)
    return loaded, kept if not fresh and kept.exists() else None


def _built(
    memory: int,
    found: Iterable[tuple[Target, int]],
    grounds: list[Ground],
    source: Source,
    refused: int,
    made_from: bytes,
) -> About:
    prime = random_prime(SystemRandom())
    try:
        return build(memory, found, grounds, source=source, refused=refused, made_from=made_from, prime=prime)
    except OSError as error:
        raise Unavailable(
            _("the image cannot be written: {why}").format(why=error.strerror or error),
            kept=_("the release in force stays"),
            then=_("see whether the machine ran out of memory"),
        ) from None


def _fetched(kept: Path, made_from: bytes, memory: int) -> tuple[About | None, str]:
    """What a kept image is about, if it can be used, and what is wrong with it, if something is."""
    try:
        return fetch(kept, made_from, memory), ""
    except Untrusted as error:
        return None, f"{kept}: {error.what}"


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _exceptions(path: Path | None) -> tuple[Target, ...]:
    """Names (with all below them; `=name` for that one alone), addresses and prefixes that are never blocked.

    The floor does not apply: letting pass what nobody may block does no harm.
    """
    if path is None:
        return ()
    targets: list[Target] = []
    problems: list[Problem] = []
    for number, line in enumerate(_lines(path), 1):
        text = line.partition("#")[0].strip()
        try:
            if ":" in text or text.rpartition(".")[2].rpartition("/")[2].isdigit():
                targets += Prefix.parse(text)
            elif text:
                scope = Scope.EXACT if text.startswith("=") else Scope.SUBTREE
                targets.append(NameTarget(DomainName.parse(text.removeprefix("=")).name, scope))
        except Rejected as error:
            problems.append(Problem(_("line {n}").format(n=number), error.rule, error.what))
    if problems:
        raise Rejected(
            _("{path} has lines that are no exception").format(path=path),
            rule="exceptions.form",
            problems=problems[:20],
            then=_("correct them: one name, address or prefix a line"),
        )
    return tuple(targets)


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file, `.gz` or not, at most a gigabyte of it."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            left = MAX_LIST_BYTES
            for line in file:
                left -= len(line)
                if left < 0:
                    raise Rejected(_("{path} is larger than {n} bytes").format(path=path, n=MAX_LIST_BYTES))
                yield line.decode("utf-8", "replace")
    except (OSError, EOFError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError | EOFError) -> Unavailable:
    why = getattr(error, "strerror", None) or str(error)
    return Unavailable(
        _("{path} cannot be read: {why}").format(path=path, why=why),
        then=_("check that it is there and that the user the resolver runs as may read it"),
    )


def start(origin: Origin, before: Callable[[], None]) -> socket.socket:
    """Fork the control process; `before` runs in it first (drop rights). Returns the resolver's end of the pair."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            before()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _watch(origin, theirs)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    ours.setblocking(False)
    return ours


def _watch(origin: Origin, pair: socket.socket) -> None:
    """Until the resolver closes its end."""
    store = Store(origin.state) if origin.state is not None else None
    token = store.token() if store is not None else None
    _load(origin, pair)
    clock_at = 0.0
    while True:
        if store is not None and time.monotonic() >= clock_at:
            clock_at = time.monotonic() + CLOCK_SECONDS
            with suppress(Failure, OSError):
                pair.sendall(hour_frame(hours(store.clock(datetime.now(UTC)))))
        if select.select([pair], [], [], POLL_SECONDS)[0]:
            if not pair.recv(16):
                return
            _load(origin, pair)
        if store is not None:
            new = store.token()
            # A directory that has vanished is no new release.
            if new is not None and new != token:
                token = new
                _load(origin, pair)


def _load(origin: Origin, pair: socket.socket) -> None:
    """Compile in a child and pass its whole frames on; a child that dies unheard is reported as a failure."""
    memory = new_memory()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        pair.close()
        _compile(origin, writing, memory)
    os.close(writing)
    last = b""
    with os.fdopen(reading, "rb") as pipe:
        for data in whole_frames(pipe):
            if brings_image(data):
                seal(memory)
                socket.send_fds(pair, [data], [memory])
            else:
                pair.sendall(data)
            last = data
    os.close(memory)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not ends_load(last):
        what = _("the process that compiles a release ended with {code}").format(code=code)
        then = _("see whether the machine ran out of memory")
        pair.sendall(failure_frame(LoadFailure(what, _("the release in force stays"), then, 1)))


def _compile(origin: Origin, writing: int, memory: int) -> NoReturn:
    # Millions of small objects live until the process ends: collecting garbage among them finds none and costs much.
    gc.disable()
    status = 1
    keep_as = None
    try:
        with os.fdopen(writing, "wb") as pipe:
            try:
                os.nice(5)
                compiled = origin.load(memory)
            except Failure as error:
                what = "; ".join([error.what, *(str(p) for p in error.problems[:5])])
                pipe.write(failure_frame(LoadFailure(what, error.kept, error.then, error.exit_code)))
            except Exception as error:
                what = _("this is a fault of the program: {kind}: {text}").format(kind=type(error).__name__, text=error)
                pipe.write(failure_frame(LoadFailure(what, _("the release in force stays"), "", 1)))
            else:
                for data in policy_frames(compiled.before, compiled.loaded):
                    pipe.write(data)
                keep_as = compiled.keep_as
        # The resolver enforces it by now; nobody waits for the disk.
        if keep_as is not None:
            keep(keep_as, memory)
        status = 0
    finally:
        os._exit(status)
