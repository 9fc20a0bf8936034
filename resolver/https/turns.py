"""Whose turn it is: all connections share a bounded part of each turn of the loop, so that floods of them delay nobody
else's datagrams."""

from collections import deque
from time import monotonic
from typing import Any, Final, Protocol

TURN_SECONDS: Final = 0.004
FRAMES_AT_ONCE: Final = 8  # of one connection, before the next one in the queue


class Busy(Protocol):
    """A connection that has octets to look at."""

    def take_turn(self, frames: int) -> bool:
        """Look at so many frames; were there as many, so that there may be more?"""


class Turns:
    """First come, first served, each for a few frames."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._queue: deque[Busy] = deque()
        self._next: Any = None

    def want(self, connection: Busy) -> None:
        """It has something to do, and is not in the queue."""
        self._queue.append(connection)
        if self._next is None:
            self._next = self._reactor.callLater(0, self._run)

    def _run(self) -> None:
        self._next = None
        until = monotonic() + TURN_SECONDS
        while self._queue:
            connection = self._queue.popleft()
            if connection.take_turn(FRAMES_AT_ONCE):
                self._queue.append(connection)
            if monotonic() > until:
                break
        if self._queue:
            self._next = self._reactor.callLater(0, self._run)
