"""A compiled policy on its way from the process that reads releases to the one that answers; pure.

Compiling a million rules takes seconds of Python, and a thread that does it would hold up every query. So another
process compiles, and the resolver takes the result in slices of about a millisecond. Frames are

    length (4 octets), kind (1 octet), payload

and travel over a socket pair between two processes of one program, which is why pickle may be used.
"""

import marshal
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from struct import Struct
from typing import Any, BinaryIO, Final

from resolver.policy import Ground, Layer, Policy, Source

EXACT: Final = b"E"
SUBTREE: Final = b"S"
LAYER: Final = b"L"
LOADED: Final = b"P"
FAILED: Final = b"F"
HOUR: Final = b"H"
NAMES_PER_FRAME: Final = 2000
MAX_FRAME_BYTES: Final = 256 << 20
_head = Struct("!Ic")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is now to be enforced. `refused`: rules left out because they cross the floor; `damage`: see `Accepted`."""

    serial: int
    rules: int
    refused: int
    authority: str = ""
    damage: str = ""


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


def policy_frames(policy: Policy, loaded: Loaded) -> Iterator[bytes]:
    """The frames of a policy."""
    for layer in policy.layers:
        for kind, names in ((EXACT, layer.exact), (SUBTREE, layer.subtree)):
            rest = iter(names.items())
            while part := dict(islice(rest, NAMES_PER_FRAME)):
                yield frame(kind, marshal.dumps(part))
        yield frame(LAYER, pickle.dumps((layer.source, layer.grounds, layer.prefixes)))
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


def ends_load(data: bytes) -> bool:
    """Is it the last frame of a load, good or bad?"""
    return data[4:5] in (LOADED, FAILED)


class Assembler:
    """Bytes in, events out. A policy is handed over when its last frame is there, never in part."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._exact: dict[bytes, int] = {}
        self._subtree: dict[bytes, int] = {}
        self._layers: list[Layer] = []

    def feed(self, data: bytes) -> Iterator[NewPolicy | LoadFailure | Hour]:
        """Take some bytes; raises ValueError for what no compiler of ours sends."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _head.size:
            size, kind = _head.unpack_from(buffer)
            if size > MAX_FRAME_BYTES:
                raise ValueError("a frame is too large")
            if len(buffer) < _head.size + size:
                return
            payload = bytes(buffer[_head.size : _head.size + size])
            del buffer[: _head.size + size]
            event = self._take(kind, payload)
            if event is not None:
                yield event

    def _take(self, kind: bytes, payload: bytes) -> NewPolicy | LoadFailure | Hour | None:
        if kind == EXACT:
            self._exact.update(marshal.loads(payload))  # noqa: S302 - from our own child process
        elif kind == SUBTREE:
            self._subtree.update(marshal.loads(payload))  # noqa: S302 - from our own child process
        elif kind == LAYER:
            self._layers.append(self._layer(*_unpickled(payload)))
        elif kind == LOADED:
            policy, self._layers = Policy(self._layers), []
            return NewPolicy(policy, _unpickled(payload))
        elif kind in (FAILED, HOUR):
            if kind == FAILED:
                self._exact, self._subtree, self._layers = {}, {}, []
            event: LoadFailure | Hour = _unpickled(payload)
            return event
        else:
            raise ValueError("a frame of an unknown kind")
        return None

    def _layer(self, source: Source, grounds: list[Ground], prefixes: Any) -> Layer:
        layer = Layer(source, grounds, ())
        layer.exact, layer.subtree, layer.prefixes = self._exact, self._subtree, prefixes
        self._exact, self._subtree = {}, {}
        return layer


def _unpickled(payload: bytes) -> Any:
    return pickle.loads(payload)  # noqa: S301 - from our own child process
