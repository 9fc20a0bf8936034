"""A release on its way from the control process to the lanes: whole, or not at all."""

import os
from dataclasses import dataclass

from resolver.frames import Assembler, Hour, Loaded, LoadFailure, NewPolicy, ends_load, part_of
from resolver.image.form import HEAD_BYTES
from resolver.processes.channel import Channel

Frame = tuple[bytes, int | None]


@dataclass(frozen=True, slots=True)
class Load:
    """All frames of a policy with their descriptors, which it owns. `number`: the how manyth it is."""

    number: int
    loaded: Loaded
    frames: tuple[Frame, ...]

    def send(self, channel: Channel) -> None:
        """Raises OSError when the other end is gone."""
        for data, descriptor in self.frames:
            channel.send(data, descriptor)

    def equals(self, other: "Load") -> bool:
        """Would a lane enforce the very same? The head of an image holds a checksum of all of it."""
        return list(map(_essence, self.frames)) == list(map(_essence, other.frames))

    def close(self) -> None:
        _close(self.frames)


class Gathering:
    """Frames in, whole loads out. What is damaged is refused here and reaches no lane."""

    def __init__(self, number: int = 0) -> None:
        """`number`: of the last load before."""
        self._number = number
        self._assembler = Assembler()
        self._frames: list[Frame] = []

    def take(self, data: bytes, descriptor: int | None) -> Load | LoadFailure | Hour | None:
        """One frame of the control process; its descriptor is now ours.

        Raises what `Assembler.feed` raises, or OSError: then nothing comes of that load.
        """
        self._frames.append((data, descriptor))
        try:
            copies = () if descriptor is None else (os.dup(descriptor),)
        except OSError:
            self._assembler.spoil()
            self._let_go()
            raise
        try:
            events = list(self._assembler.feed(data, copies))
        except Exception:
            self._let_go()
            raise
        for event in events:
            if isinstance(event, NewPolicy):
                self._number += 1
                load = Load(self._number, event.loaded, tuple(self._frames))
                self._frames = []
                return load
            if isinstance(event, Hour):
                # It may come between the frames of a load, and is none of them.
                self._frames.pop()
            else:
                self._let_go()
            return event
        if ends_load(data):
            # The end of one that was refused: what still came of it goes, too.
            self._let_go()
        return None

    def drop(self) -> None:
        """Let go what has been gathered, as there will be no more of it."""
        self._let_go()
        self._assembler = Assembler()

    def _let_go(self) -> None:
        _close(self._frames)
        self._frames = []


def _close(frames: list[Frame] | tuple[Frame, ...]) -> None:
    for _data, descriptor in frames:
        if descriptor is not None:
            os.close(descriptor)


def _essence(one: Frame) -> tuple[object, bytes]:
    data, descriptor = one
    return (data, b"") if descriptor is None else (part_of(data)[0], os.pread(descriptor, HEAD_BYTES, 0))
