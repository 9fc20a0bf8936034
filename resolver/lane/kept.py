"""The lane's kept answers and limits as the session knows them, so that both sides share one of each."""

from socket import AF_INET, inet_pton

from feeds.message import read_response
from resolver.cache import Entry, Key, question_of
from resolver.lane.native import Lane
from resolver.limiting import KINDS, network
from resolver.policy.judging import addresses, chain

_WIDTH = {4: 4, 6: 16}
_KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}


class KeptAnswers:
    """`resolver.cache.Cache`, kept by the lane."""

    def __init__(self, lane: Lane, stale_seconds: int) -> None:
        self._lane = lane
        self._stale_seconds = stale_seconds

    def __len__(self) -> int:
        return self._lane.kept()[1]

    @property
    def bytes(self) -> int:
        return self._lane.kept()[0]

    @property
    def evicted(self) -> int:
        return self._lane.kept()[2]

    def get(self, key: Key, now: float) -> Entry | None:
        """The entry, fresh or stale, or None; counts as a use. It is a copy: `postpone` what is to be kept of it."""
        kept = self._lane.get(key, now)
        if kept is None:
            return None
        message, ttls, stored, lifetime, authentic, upstream, stripped, recheck_at = kept
        if now - stored >= lifetime + self._stale_seconds:
            self._lane.drop(key)
            return None
        return Entry(message, ttls, stored, lifetime, authentic, upstream, stripped, recheck_at=recheck_at)

    def put(self, key: Key, entry: Entry) -> None:
        """Keep it, with all the names and addresses in it that the policy is asked about."""
        response = read_response(entry.message, question_of(key))
        names = b"".join((*chain(response), *(binding.target for binding in response.bindings)))
        held = [(version, address.to_bytes(_WIDTH[version])) for version, address in addresses(response)]
        self._lane.put(
            key,
            entry.message,
            entry.ttls,
            entry.stored,
            entry.lifetime,
            entry.authentic,
            entry.upstream,
            entry.stripped,
            names,
            held,
        )

    def postpone(self, key: Key, until: float) -> None:
        """Serve that entry stale until then without asking an upstream."""
        self._lane.put_off(key, until)

    def passes(self, key: Key, entry: Entry) -> None:
        """The policy in force lets that entry pass: the lane need not leave it to Python again.

        Not so another answer that the lane may have heard to the same question in the meantime.
        """
        self._lane.passes(key, entry.stored)

    def drop(self, key: Key) -> None:
        """Forget it, if it is there."""
        self._lane.drop(key)


class SharedLimits:
    """`resolver.limiting.Limiter`, kept by the lane."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def over(self, host: str, kind: str, now: float) -> bool:
        """Is one more answer of that kind to this address too much? If not, it is counted."""
        found = network(host)
        octets = found if isinstance(found, bytes) else inet_pton(AF_INET, found + ".0")[:3]
        return self._lane.over(octets, _KIND_NUMBERS[kind], now)

    def slips(self) -> bool:
        """Is it the turn of a limited answer to be replaced by a short one?"""
        return self._lane.slips()
