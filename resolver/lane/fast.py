"""The compiled lane of one process and what Python does for it: threads, teaching, figures."""

import fcntl
import os
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from struct import pack
from threading import Thread
from typing import Any

from feeds.rule import Action
from resolver.answer import prebuilt
from resolver.image import Image
from resolver.image.form import ACTIONS, CATEGORIES
from resolver.lane.kept import KeptAnswers, SharedLimits
from resolver.lane.leaving import read_out, take_no_more
from resolver.lane.native import Lane
from resolver.lane.odd import OddListener, pair
from resolver.limiting import BURST_SECONDS, MAX_NETWORKS
from resolver.metrics import NO_CATEGORY, Counters
from resolver.policy import Ground, Policy
from resolver.server import Edge, is_local
from resolver.session import Config

REFUSE, EXEMPT, PYTHON = 1, 2, 3
# How long a thread takes, at most, to see that it is to end.
STOP_SECONDS = 0.25


class FastLane:
    """See `resolver.lane.Lane`. `secret`: 16 random octets."""

    def __init__(self, config: Config, secret: bytes) -> None:
        self.native = Lane(config.cache_bytes, secret, config.rate_limit, BURST_SECONDS, MAX_NETWORKS)
        self.kept = KeptAnswers(self.native, config.stale_seconds)
        self.limits = SharedLimits(self.native)
        self._policy = Policy(())
        self._threads: list[Thread] = []

    def enforce(self, policy: Policy) -> None:
        """From the next query on. A policy that is not all images is left to Python."""
        images = [layer for layer in policy.layers if isinstance(layer, Image)]
        whole = len(images) == len(policy.layers)
        self.native.enforce([(i.data, i.head.prime, i.head.places) for i in images] if whole else [], not whole)
        self._policy = policy

    def turn(self, hour: int) -> None:
        """Rules that have lapsed stop matching."""
        self.native.turn(hour)

    def listen(self, sockets: Iterable[socket.socket], edge: Edge, reactor: Any) -> Callable[[], None]:
        """Answer on these sockets; returns what ends it."""
        listeners = [(sock, self._start(sock, edge)) for sock in sockets]
        for _sock, listener in listeners:
            reactor.addReader(listener)

        def end() -> None:
            for sock, _listener in listeners:
                take_no_more(sock)
            self.native.stop()
            for thread in self._threads:
                thread.join()
            for _sock, listener in listeners:
                reactor.removeReader(listener)
                read_out(listener.odd, listener.doRead)

        return end

    def _start(self, sock: socket.socket, edge: Edge) -> OddListener:
        ours, theirs = pair()
        # The lane waits in the call itself; Python sends with MSG_DONTWAIT.
        flags = fcntl.fcntl(sock, fcntl.F_GETFL)
        fcntl.fcntl(sock, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, pack("@ll", 0, int(STOP_SECONDS * 1e6)))
        wildcard = ip_address(sock.getsockname()[0].partition("%")[0]).is_unspecified
        thread = Thread(
            target=self._serve,
            args=(sock, theirs, is_local(sock), wildcard),
            name=f"lane{len(self._threads)}",
            daemon=True,
        )
        thread.start()
        self._threads.append(thread)
        return OddListener(sock, ours, edge, self.teach)

    def teach(self, layer: int, index: int) -> None:
        """The lane has met a ground for the first time."""
        if layer >= len(self._policy.layers):
            return
        image = self._policy.layers[layer]
        if isinstance(image, Image):
            ground = image.ground(index)
            kind = _kind_of(ground)
            if kind != REFUSE:
                self.native.teach(layer, index, kind)
                return
            parts = prebuilt(ground)
            self.native.teach(
                layer,
                index,
                kind,
                bits=parts.bits,
                ede_code=parts.ede_code,
                soa=parts.soa,
                records=list(parts.records),
                before=parts.before,
                after=parts.after,
                plain=parts.plain,
            )

    def add_to(self, counters: Counters) -> None:
        """Add what the lane has counted to what Python has."""
        counts, by_rule, durations, seconds = self.native.counts()
        for outcome in ("blocked", "cached", "failed", "dropped"):
            counters.udp[outcome] += counts[outcome]
        counters.udp["shed"] += counts["lost"]
        counters.cache_hits += counts["hits"]
        counters.limited["shortened"] += counts["shortened"]
        counters.limited["dropped"] += counts["unsent"]
        for (category, action), count in by_rule.items():
            name = CATEGORIES[category] if category < len(CATEGORIES) else NO_CATEGORY
            counters.blocked[str(name), str(ACTIONS[action])] += count
        for place, count in enumerate(durations):
            counters.durations[place] += count
        counters.duration_sum += seconds

    def _serve(self, sock: socket.socket, odd: socket.socket, *kinds: Any) -> None:
        self.native.serve(sock.fileno(), odd.fileno(), *kinds)


def _kind_of(ground: Ground) -> int:
    if ground.action is Action.PASSTHRU:
        # A canary's reaching us is noted (`Session`); an operator's own exception is not.
        return EXEMPT if ground.counted or not ground.source.authority else PYTHON
    refuses = ground.action in (Action.NXDOMAIN, Action.NODATA, Action.LOCAL)
    return REFUSE if refuses and ground.counted and ground.cname is None else PYTHON
