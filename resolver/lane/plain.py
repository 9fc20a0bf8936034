"""The lane without a compiler: Twisted's loop reads each datagram and the session answers it."""

from collections.abc import Callable, Sequence
from socket import socket
from typing import Any

from resolver.lane.leaving import read_out, take_no_more
from resolver.metrics import Counters
from resolver.policy import Policy
from resolver.server import Edge, datagram_listener
from resolver.session import Session


class PlainLane:
    """See `resolver.lane.Lane`. Everything is the session's."""

    kept = None
    limits = None
    waiting = 0

    def enforce(self, policy: Policy) -> None:
        """The session does."""

    def turn(self, session: Session) -> None:
        """The session does."""

    def listen(self, sockets: Sequence[socket], edge: Edge, reactor: Any) -> Callable[[], None]:
        """Answer on these sockets; returns what ends it."""
        listeners = [(sock, datagram_listener(sock, edge)) for sock in sockets]
        for _sock, listener in listeners:
            reactor.addReader(listener)

        def end() -> None:
            for sock, listener in listeners:
                reactor.removeReader(listener)
                take_no_more(sock)
                read_out(sock, listener.doRead)

        return end

    def add_to(self, counters: Counters) -> None:
        """The session counts."""
