"""NOTIFYs that wait for their answers (RFC 1996), bounded: of a zone only the newest change is worth telling."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dns.tsig

from feeds.message.building import name_text
from feeds.transfer.line import Line
from feeds.transfer.metrics import Counts
from feeds.transfer.primary import is_acknowledged, notify_message
from feeds.transfer.settings import Secondary

RETRY_SECONDS = (2.0, 4.0, 8.0, 16.0, 32.0)
MAX_OUTSTANDING = 256

Endpoint = tuple[str, int]


@dataclass(slots=True)
class _Told:
    """One change, told to one endpoint. `id` stays the same over all tries, so that a late answer counts."""

    line: Line
    secondary: str
    endpoint: Endpoint
    key: dns.tsig.Key | None
    id: int
    tries: int = 0
    retry: Any = None


class Notifying:
    """At most one NOTIFY for each zone and endpoint is outstanding, at most MAX_OUTSTANDING in all; others wait.

    `clock` has Twisted's `callLater`, `send` takes a message and its endpoint, `now` tells seconds since 1970, `new_id`
    a random message id.
    """

    def __init__(
        self,
        clock: Any,
        send: Callable[[bytes, Endpoint], None],
        counts: Counts,
        now: Callable[[], int],
        new_id: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._send = send
        self._counts = counts
        self._now = now
        self._new_id = new_id
        self._outstanding: dict[tuple[bytes, Endpoint], _Told] = {}
        self._waiting: dict[tuple[bytes, Endpoint], _Told] = {}

    def __len__(self) -> int:
        return len(self._outstanding) + len(self._waiting)

    def tell(self, secondary: Secondary, line: Line) -> None:
        """Tell all of its endpoints until each has answered or the tries are used up; what is older is forgotten."""
        for endpoint in secondary.notify:
            told = _Told(line, secondary.name, endpoint, secondary.key, self._new_id())
            self._waiting[line.zone, endpoint] = told
            self._end(self._outstanding.get((line.zone, endpoint)))
        self._begin()

    def answered(self, data: bytes, endpoint: Endpoint) -> bool:
        """Take a datagram from there if it is the answer to a NOTIFY that was sent there."""
        found = next(
            (one for one in self._outstanding.values() if one.endpoint == endpoint and is_acknowledged(data, one.id)),
            None,
        )
        if found is None:
            return False
        self._counts.notifies_acknowledged[found.secondary, name_text(found.line.zone)] += 1
        self._end(found)
        self._begin()
        return True

    def _begin(self) -> None:
        while self._waiting and len(self._outstanding) < MAX_OUTSTANDING:
            place = next(iter(self._waiting))
            told = self._outstanding[place] = self._waiting.pop(place)
            self._try(told)

    def _try(self, told: _Told) -> None:
        if told.tries == len(RETRY_SECONDS):
            told.retry = None
            self._end(told)
            self._begin()
            return
        self._send(notify_message(told.line, told.id, told.key, self._now()), told.endpoint)
        self._counts.notifies_sent[told.secondary, name_text(told.line.zone)] += 1
        told.retry = self._clock.callLater(RETRY_SECONDS[told.tries], self._try, told)
        told.tries += 1

    def _end(self, told: _Told | None) -> None:
        if told is None:
            return
        if told.retry is not None:
            told.retry.cancel()
        del self._outstanding[told.line.zone, told.endpoint]
