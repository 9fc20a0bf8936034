"""What the session wants done. The edge does it and reports back; it decides nothing."""

from collections.abc import Hashable
from typing import NamedTuple

# Whoever asked, as the edge knows them. The session keeps it until the answer is out and looks at nothing in it.
Client = Hashable


class Reply(NamedTuple):
    """Send this to the client."""

    client: Client
    data: bytes


class Ask(NamedTuple):
    """Send this to the upstream from a socket of its own, at a random port (RFC 5452 section 9.2).

    Whatever comes back to that socket from that upstream's address and port is given to `Session.received` with this
    token; a refused or broken socket to `Session.unreachable`.
    """

    token: int
    upstream: int
    data: bytes
    tcp: bool


class Forget(NamedTuple):
    """Close the socket of that question; nothing more is wanted from it."""

    token: int


class Note(NamedTuple):
    """Log this. `about` is an upstream's label; never a name or a client."""

    event: str
    about: str


Effect = Reply | Ask | Forget | Note
