"""The control process: watches the state directory, compiles what is new, sends it on its way to those that answer.

Whatever befalls it (a damaged disk, memory, a kill) the resolver goes on answering with the policy it has. Each
compilation runs in a further child, so its memory is given back whole. What is compiled is an image in memory, sealed
and handed over; a copy kept in the state directory spares the next start.
"""

import gc
import os
import select
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from feeds.errors import Failure
from feeds.language import _
from feeds.rule import hours
from feeds.store import Store
from resolver.frames import (
    LoadFailure,
    brings_image,
    ends_load,
    failure_frame,
    hour_frame,
    part_of,
    policy_frames,
    succeeds_load,
    whole_frames,
)
from resolver.image import keep, new_memory, seal
from resolver.loading import Origin
from resolver.rights import end_with_parent, give_way
from resolver.zones.keeping import Keepers

POLL_SECONDS = 0.5
CLOCK_SECONDS = 5.0
RELOAD = b"R"


def watch(origin: Origin, pair: socket.socket) -> None:
    """The control process's life: until the other end is closed, or the process that started it is killed."""
    end_with_parent(signal.SIGKILL)
    store = Store(origin.state) if origin.state is not None else None
    token = _token(origin, store)
    held: dict[str, int] = {}
    keepers = Keepers(origin.zones, origin.zone_state, pair.fileno(), origin.zone_notify)
    keepers.look_after()
    _load(origin, pair, held)
    clock_at = 0.0
    while True:
        if store is not None and time.monotonic() >= clock_at:
            clock_at = time.monotonic() + CLOCK_SECONDS
            with suppress(Failure, OSError):
                pair.sendall(hour_frame(hours(store.clock(datetime.now(UTC)))))
        if select.select([pair], [], [], POLL_SECONDS)[0]:
            if not pair.recv(16):
                return
            keepers.wake()
            _load(origin, pair, held)
        keepers.look_after()
        keepers.hear()
        # What has vanished is nothing new.
        new = tuple(was if now is None else now for was, now in zip(token, _token(origin, store), strict=True))
        if new != token:
            token = new
            _load(origin, pair, held)


def _token(origin: Origin, store: Store | None) -> tuple[object, ...]:
    """What is another when there is something new to load."""
    return (store.token() if store is not None else 0, *(zone.token(origin.zone_state) for zone in origin.zones))


def _load(origin: Origin, pair: socket.socket, held: dict[str, int]) -> None:
    """Compile in a child and pass its whole frames on; a child that dies unheard is reported as a failure.

    `held` are the images of the last whole load: what has not changed, or cannot be read now, is taken from there.
    """
    memories = {part: new_memory() for part in origin.parts}
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        pair.close()
        end_with_parent(signal.SIGKILL)
        _compile(origin, writing, memories, held)
    os.close(writing)
    last = b""
    used: dict[str, int] = {}
    with os.fdopen(reading, "rb") as pipe:
        for data in whole_frames(pipe):
            if brings_image(data):
                part, is_new = part_of(data)
                memory = used[part] = memories[part] if is_new else held[part]
                if is_new:
                    seal(memory)
                socket.send_fds(pair, [data], [memory])
            else:
                pair.sendall(data)
            last = data
    whole = succeeds_load(last)
    for memory in {*memories.values(), *held.values()} - set((used if whole else held).values()):
        os.close(memory)
    if whole:
        held.clear()
        held.update(used)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not ends_load(last):
        what = _("the process that compiles a release ended with {code}").format(code=code)
        then = _("see whether the machine ran out of memory")
        pair.sendall(failure_frame(LoadFailure(what, _("the release in force stays"), then, 1)))


def _compile(origin: Origin, writing: int, memories: Mapping[str, int], held: Mapping[str, int]) -> NoReturn:
    # Millions of small objects live until the process ends: collecting garbage among them finds none and costs much.
    gc.disable()
    status = 1
    kept: Sequence[tuple[Path, str]] = ()
    try:
        with os.fdopen(writing, "wb") as pipe:
            try:
                give_way()
                compiled = origin.load(memories, held)
            except Failure as error:
                what = "; ".join([error.what, *(str(p) for p in error.problems[:5])])
                pipe.write(failure_frame(LoadFailure(what, error.kept, error.then, error.exit_code)))
            except Exception as error:
                what = _("this is a fault of the program: {kind}: {text}").format(kind=type(error).__name__, text=error)
                pipe.write(failure_frame(LoadFailure(what, _("the release in force stays"), "", 1)))
            else:
                for data in policy_frames(compiled.layers, compiled.loaded):
                    pipe.write(data)
                kept = compiled.kept
        # The resolver enforces it by now; nobody waits for the disk.
        for path, part in kept:
            keep(path, memories[part])
        status = 0
    finally:
        os._exit(status)
