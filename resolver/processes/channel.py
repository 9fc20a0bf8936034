"""Whole frames between two processes over a socket pair, some with a descriptor; neither side ever waits.

Frames are those of `resolver.frames`; what is sent here beside them has a kind of its own:

    towards a lane      O  answer though nothing is enforced yet
                        T  read the certificate for TLS again
                        C  tell your figures; payload: a number, which comes back with them
    from a lane         A  it answers queries now
                        E  it enforces the next of the loads that it was sent
                        R  it cannot use that load, and why
                        X  it cannot start, and why; it ends
                        G  the number, its figures
"""

import os
import pickle
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from struct import Struct
from typing import Any, Final

from resolver.frames import MAX_FRAME_BYTES, brings_image, frame

OPEN: Final = b"O"
RENEW: Final = b"T"
COUNT: Final = b"C"
ANSWERS: Final = b"A"
ENFORCES: Final = b"E"
REFUSES: Final = b"R"
CANNOT: Final = b"X"
FIGURES: Final = b"G"

SLICE_BYTES: Final = 1 << 16
MAX_DESCRIPTORS: Final = 4
MAX_TURNS: Final = 64  # of reading at once, so that one side cannot hold the other's loop
_head = Struct("!Ic")


def kind_of(data: bytes) -> bytes:
    """The kind of a whole frame."""
    return data[4:5]


def packed(kind: bytes, value: object = None) -> bytes:
    """A frame that brings a value."""
    return frame(kind, pickle.dumps(value))


def unpacked(data: bytes) -> Any:
    """The value that `packed` was given."""
    return pickle.loads(data[_head.size :])  # noqa: S301 - from a process of ours


class Channel:
    """One end. What cannot be sent at once is kept until `flush`; closing it closes the descriptors that it holds."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._out: deque[tuple[memoryview, int | None]] = deque()
        self._in = bytearray()
        self._descriptors: deque[int] = deque()

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Both ends."""
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def fileno(self) -> int:
        return self._sock.fileno()

    def plain(self) -> socket.socket:
        """Its socket, to be used instead of it; one that waits."""
        self._sock.setblocking(True)
        return self._sock

    @property
    def waiting(self) -> bool:
        """Is there something that could not be sent yet?"""
        return bool(self._out)

    def send(self, data: bytes, descriptor: int | None = None) -> None:
        """Send, or keep to be sent; the descriptor stays the caller's. Raises OSError when the other end is gone."""
        self._out.append((memoryview(data), None if descriptor is None else os.dup(descriptor)))
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now; raises OSError when the other end is gone."""
        while self._out:
            data, descriptor = self._out[0]
            try:
                sent = socket.send_fds(self._sock, [data], [] if descriptor is None else [descriptor])
            except BlockingIOError:
                return
            if descriptor is not None:
                os.close(descriptor)
            if sent < len(data):
                self._out[0] = (data[sent:], None)
            else:
                self._out.popleft()

    def receive(self) -> Iterator[tuple[bytes, int | None]]:
        """The whole frames that are there, with their descriptors, which are then the caller's to close.

        Raises EOFError or OSError when the other end is gone, ValueError for what is no frame.
        """
        for _turn in range(MAX_TURNS):
            try:
                data, descriptors, _flags, _from = socket.recv_fds(
                    self._sock, SLICE_BYTES, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            if not data:
                raise EOFError("it ended")
            self._in += data
            self._descriptors += descriptors
            yield from self._whole()

    def _whole(self) -> Iterator[tuple[bytes, int | None]]:
        held = self._in
        while len(held) >= _head.size:
            size, _kind = _head.unpack_from(held)
            if size > MAX_FRAME_BYTES:
                raise ValueError("a frame is too large")
            end = _head.size + size
            if len(held) < end:
                return
            data = bytes(held[:end])
            del held[:end]
            brings = brings_image(data)
            if brings and not self._descriptors:
                raise ValueError("the frame of an image came without it")
            yield data, self._descriptors.popleft() if brings else None

    def close(self) -> None:
        for _data, descriptor in self._out:
            if descriptor is not None:
                os.close(descriptor)
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._out.clear()
        self._descriptors.clear()
        with suppress(OSError):
            self._sock.close()
