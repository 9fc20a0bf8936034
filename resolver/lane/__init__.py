"""The path that a UDP query takes: compiled, in batches, where the extension could be built; plain Python elsewhere.

    native     the compiled lane (native.pyx and what it is made of, *.pxd): batches of datagrams, without Python
    fast       the compiled lane of a process and what Python does for it: threads, teaching, figures
    odd        what the compiled lane leaves to Python
    kept       its kept answers and limits as the session knows them
    plain      the other lane: each datagram through the session

Both answer octet for octet alike; `tests/laws/test_lanes.py` holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import socket
from typing import TYPE_CHECKING, Any, Final, Protocol

from feeds.errors import Unavailable
from feeds.language import _

if TYPE_CHECKING:
    # Twisted and what hangs on it load only when a server is really started.
    from resolver.cache import AnyCache
    from resolver.limiting import AnyLimiter
    from resolver.metrics import Counters
    from resolver.policy import Policy
    from resolver.server import Edge
    from resolver.session import Config, Session
    from resolver.upstream import Address

AUTO: Final = "auto"
FAST: Final = "fast"
PLAIN: Final = "plain"
LANES: Final = (AUTO, FAST, PLAIN)


class Lane(Protocol):
    """One for a process. `kept` and `limits` are for the session; None: its own."""

    @property
    def kept(self) -> AnyCache | None: ...

    @property
    def limits(self) -> AnyLimiter | None: ...

    @property
    def waiting(self) -> int:
        """Questions on their way to an upstream, besides the session's."""

    def enforce(self, policy: Policy) -> None:
        """From the next query on; the session is told, too."""

    def turn(self, session: Session) -> None:
        """Time has gone on for the session: rules that have lapsed stop matching, secrets of cookies have changed."""

    def listen(self, sockets: Sequence[socket], edge: Edge, reactor: Any) -> Callable[[], None]:
        """Answer what comes in at these UDP sockets from now on.

        Returns what ends that: it takes no more, and has answered or asked about all that had come when it returns.
        The sockets stay open until the process ends, since answers that are still to come leave by them.
        """

    def add_to(self, counters: Counters) -> None:
        """Add what was counted outside the session."""


def missing() -> str:
    """Why the compiled lane cannot be used; "" if it can."""
    try:
        import resolver.lane.native  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


def chosen(wish: str) -> str:
    """FAST or PLAIN; raises Unavailable where FAST is asked for and not there."""
    if wish == PLAIN:
        return PLAIN
    why = missing()
    if not why:
        return FAST
    if wish == AUTO:
        return PLAIN
    raise Unavailable(
        _("the compiled lane is not there: {why}").format(why=why),
        then=_("install a C compiler and Python's headers, then install the program again; or say --lane plain"),
    )


def new_lane(kind: str, config: Config, secret: bytes, upstreams: Sequence[Address]) -> Lane:
    """The lane of this process. `secret`: 16 random octets."""
    if kind == FAST:
        from resolver.lane.fast import FastLane

        return FastLane(config, secret, upstreams)
    from resolver.lane.plain import PlainLane

    return PlainLane()
