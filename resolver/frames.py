"""A compiled policy on its way from the process that reads releases to the one that answers; pure.

Compiling a million rules takes seconds of Python, and a thread that does it would hold up every query. So another
process compiles them into an image in memory (`resolver.image`) and hands over its descriptor, which costs the
resolver the same whatever the size. Frames are

    length (4 octets), kind (1 octet), payload

and travel over a socket pair between two processes of one program, which is why pickle may be used. The descriptor of
an image comes along with its frame, whose payload is for the process that watches the compiling one.
"""

import os
import pickle
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any, BinaryIO, Final

from resolver.image import Image
from resolver.policy import Policy, Rules

IMAGE: Final = b"I"
LOADED: Final = b"P"
FAILED: Final = b"F"
HOUR: Final = b"H"
MAX_FRAME_BYTES: Final = 256 << 20
_head = Struct("!Ic")


@dataclass(frozen=True, slots=True)
class ZoneLoaded:
    """A foreign zone: its SOA's serial, its rules, records left out by reason (`zones.meaning.REASONS`).

    `changed_at`: when its records came (seconds since 1970), 0 where older ones are in force. `problem`: why no newer
    ones are to be had. `checked`: the file whose time is when its primary was last heard, "" without one.
    """

    name: str
    serial: int
    rules: int
    skipped: Mapping[str, int]
    policy: str
    changed_at: float = 0.0
    problem: str = ""
    checked: str = ""

    def as_log(self) -> dict[str, object]:
        """What the log says of it."""
        told = {"zone": self.name, "serial": self.serial, "rules": self.rules, "policy": self.policy}
        return {**told, "skipped": dict(self.skipped), **({"problem": self.problem} if self.problem else {})}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is now to be enforced. `refused`: rules left out because they cross the floor; `damage`: see `Accepted`.

    All but `zones` is of the feed or the list.
    """

    serial: int
    rules: int
    refused: int
    authority: str = ""
    damage: str = ""
    zones: tuple[ZoneLoaded, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why nothing new is enforced; the words of a `Failure`."""

    what: str
    kept: str
    then: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Hour:
    """The hour by the state directory's clock, which never goes back."""

    hour: int


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """A whole policy has come over."""

    policy: Policy
    loaded: Loaded


def frame(kind: bytes, payload: bytes) -> bytes:
    """One frame."""
    return _head.pack(len(payload), kind) + payload


def policy_frames(layers: Iterable[tuple[str, bool]], loaded: Loaded) -> Iterator[bytes]:
    """The frames of a policy: an image for each part, in their order. Of a part: its name, and whether it is new."""
    for part, is_new in layers:
        yield frame(IMAGE, (b"+" if is_new else b"=") + part.encode())
    yield frame(LOADED, pickle.dumps(loaded))


def failure_frame(failure: LoadFailure) -> bytes:
    """The frame of a failed load."""
    return frame(FAILED, pickle.dumps(failure))


def hour_frame(hour: int) -> bytes:
    """The frame of a clock reading."""
    return frame(HOUR, pickle.dumps(Hour(hour)))


def whole_frames(pipe: BinaryIO) -> Iterator[bytes]:
    """The whole frames of a pipe; a torn one at its end is left out."""
    while len(head := pipe.read(_head.size)) == _head.size:
        size, _kind = _head.unpack(head)
        payload = pipe.read(size)
        if len(payload) == size:
            yield head + payload


def brings_image(data: bytes) -> bool:
    """Must the descriptor of an image go with this frame?"""
    return data[4:5] == IMAGE


def part_of(data: bytes) -> tuple[str, bool]:
    """The part whose image goes with this frame, and whether it is new or that of the last load."""
    return data[_head.size + 1 :].decode(), data[_head.size : _head.size + 1] == b"+"


def succeeds_load(data: bytes) -> bool:
    """Is it the last frame of a load, a good one?"""
    return data[4:5] == LOADED


def ends_load(data: bytes) -> bool:
    """Is it the last frame of a load, good or bad?"""
    return data[4:5] in (LOADED, FAILED)


class Assembler:
    """Bytes in, events out. A policy is handed over when its last frame is there, never in part.

    What `feed` raises is raised once for a load: the rest of that load is passed over, for a policy without one of
    its layers would let pass what that layer blocks. The next load is taken again.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._descriptors: deque[int] = deque()
        self._layers: list[Rules] = []
        self._spoilt = False

    def spoil(self) -> None:
        """A frame of the load that has begun is lost: pass over the rest of it."""
        self._layers = []
        self._spoilt = True

    def feed(self, data: bytes, descriptors: Iterable[int] = ()) -> Iterator[NewPolicy | LoadFailure | Hour]:
        """Take some bytes, and the descriptors that came with them, which are now its own to close.

        Raises ValueError for what no compiler of ours sends, Untrusted for what is no image.
        """
        self._descriptors += descriptors
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _head.size:
            size, kind = _head.unpack_from(buffer)
            if size > MAX_FRAME_BYTES:
                # Where the next frame begins nobody knows.
                buffer.clear()
                self.spoil()
                raise ValueError("a frame is too large")
            if len(buffer) < _head.size + size:
                return
            payload = bytes(buffer[_head.size : _head.size + size])
            del buffer[: _head.size + size]
            event = self._take(kind, payload)
            if event is not None:
                yield event

    def _take(self, kind: bytes, payload: bytes) -> NewPolicy | LoadFailure | Hour | None:
        if kind == IMAGE:
            self._add_image()
        elif kind == LOADED:
            layers, spoilt = self._layers, self._spoilt
            self._layers, self._spoilt = [], False
            return None if spoilt else NewPolicy(Policy(layers), _unpickled(payload))
        elif kind in (FAILED, HOUR):
            if kind == FAILED:
                self._layers, self._spoilt = [], False
            event: LoadFailure | Hour = _unpickled(payload)
            return event
        else:
            if self._layers:
                self.spoil()
            raise ValueError("a frame of an unknown kind")
        return None

    def _add_image(self) -> None:
        if self._spoilt:
            if self._descriptors:
                os.close(self._descriptors.popleft())
            return
        try:
            self._layers.append(self._image())
        except BaseException:
            self.spoil()
            raise

    def _image(self) -> Image:
        if not self._descriptors:
            raise ValueError("the frame of an image came without it")
        descriptor = self._descriptors.popleft()
        try:
            return Image.of_descriptor(descriptor)
        finally:
            os.close(descriptor)


def _unpickled(payload: bytes) -> Any:
    return pickle.loads(payload)  # noqa: S301 - from our own child process
