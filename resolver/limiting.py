"""How many answers a client's network may get over UDP, where an address can be forged. Pure: `now` comes in.

A forged query makes us send its answer to somebody who asked nothing. So answers are counted for each network they go
to (/24, /56) and each kind, and what is over the rate is not sent; every second time a short "come by TCP" is sent in
its place, so that an honest client in a network under attack is still served.

Kept is one moment for each network and kind (the generic cell rate algorithm, ITU-T I.371 annex A): when the answers
so far would have been paid for at exactly the rate. Addresses live here, in memory, for as long as the table has room.
"""

from socket import AF_INET6, inet_pton
from typing import Final, Protocol

KINDS: Final = ("answer", "blocked", "nxdomain", "error")
_BY_RCODE: Final = ("answer", "error", "error", "nxdomain", *["error"] * 12)
# A household asks for 300 names in its worst second and under 20 a second for long; a /24 of 256 households stays
# below 1000 a second of each kind, and a burst of four seconds' worth is let through before anything happens.
ANSWERS_PER_SECOND: Final = 1000
BURST_SECONDS: Final = 4.0
MAX_NETWORKS: Final = 32_768  # about 8 MB
SLIP: Final = 2


class AnyLimiter(Protocol):
    """What counts answers: this module's, or the compiled lane's."""

    def over(self, host: str, kind: str, now: float) -> bool:
        """Is one more answer of that kind to this address too much? If not, it is counted."""

    def slips(self) -> bool:
        """Is it the turn of a limited answer to be replaced by a short one?"""


class Limiter:
    """At most `per_second` answers of a kind to a network for long, 0 for no limit; `max_networks` bounds the table."""

    def __init__(self, per_second: int, max_networks: int = MAX_NETWORKS) -> None:
        self._cost = 1.0 / per_second if per_second else 0.0
        self._half = max_networks // 2
        # Until when the answers so far are paid for, by network and kind. Who is not seen while one table fills up is
        # forgotten with the other, so a flood of forged sources does not wash out a network that is limited.
        self._paid: dict[tuple[str | bytes, str], float] = {}
        self._before: dict[tuple[str | bytes, str], float] = {}
        self._slipped = 0

    def __len__(self) -> int:
        """Networks and kinds in the table."""
        return len(self._paid) + len(self._before)

    def over(self, host: str, kind: str, now: float) -> bool:
        """Is one more answer of that kind to this address too much? If not, it is counted."""
        key = (network(host), kind)
        until = self._paid.get(key)
        if until is None:
            if len(self._paid) >= self._half:
                self._paid, self._before = {}, self._paid
            until = self._paid[key] = self._before.pop(key, now)
        if until < now:
            until = now
        elif until - now > BURST_SECONDS:
            return True
        self._paid[key] = until + self._cost
        return False

    def slips(self) -> bool:
        """Is it the turn of a limited answer to be replaced by a short one?"""
        self._slipped += 1
        return self._slipped % SLIP == 0


def network(host: str) -> str | bytes:
    """The /24 or /56 that an address (as text) lies in, in a form to be compared only."""
    if ":" in host:
        return inet_pton(AF_INET6, host.partition("%")[0])[:7]
    return host[: host.rindex(".")]


def kind_of(message: bytes) -> str:
    """The kind of an answer that no rule has changed."""
    return _BY_RCODE[message[3] & 15]
