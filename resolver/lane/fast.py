"""The compiled lane of one process and what Python does for it: threads, teaching, figures."""

import fcntl
import os
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from struct import pack
from threading import Thread
from time import monotonic
from typing import Any

from feeds.rule import Action
from resolver.answer import prebuilt
from resolver.effects import Note
from resolver.image import Image
from resolver.image.form import ACTIONS, CATEGORIES
from resolver.lane.kept import KeptAnswers, SharedLimits
from resolver.lane.leaving import has_packet, read_out, take_no_more
from resolver.lane.native import Lane
from resolver.lane.odd import OddListener, pair
from resolver.limiting import BURST_SECONDS, MAX_NETWORKS
from resolver.metrics import NO_CATEGORY, UPSTREAM_RESULTS, Counters
from resolver.policy import Ground, Policy
from resolver.server import Edge, is_local
from resolver.session import Config, Session
from resolver.upstream import Address

REFUSE, EXEMPT, PYTHON = 1, 2, 3
# How long a thread takes, at most, to see that it is to end.
STOP_SECONDS = 0.25


class FastLane:
    """See `resolver.lane.Lane`. `secret`: 16 random octets. Without `upstreams` what is not known is left to Python."""

    def __init__(self, config: Config, secret: bytes, upstreams: Sequence[Address] = ()) -> None:
        self._config = config
        self._upstreams = upstreams
        self.native = Lane(config.cache_bytes, secret, config.rate_limit, BURST_SECONDS, MAX_NETWORKS)
        self.kept = KeptAnswers(self.native, config.stale_seconds)
        self.limits = SharedLimits(self.native)
        self._policy = Policy(())
        self._fronts: list[Thread] = []
        self._listeners: list[OddListener] = []
        self._edge: Edge | None = None
        # Of each upstream: what was answered, and what was not, when it was last looked at.
        self._heard: list[tuple[int, int]] = []
        self._matches: Counter[tuple[int, int]] = Counter()
        self._zones: Counter[tuple[str, str, str]] = Counter()

    def enforce(self, policy: Policy) -> None:
        """From the next query on. A policy that is not all images is left to Python."""
        self._count_zones()
        images = [layer for layer in policy.layers if isinstance(layer, Image)]
        whole = len(images) == len(policy.layers)
        self.native.enforce([(i.data, i.head.prime, i.head.places) for i in images] if whole else [], not whole)
        self._policy = policy

    def turn(self, session: Session) -> None:
        """Rules that have lapsed stop matching; each side learns what the other knows of the upstreams."""
        self.native.turn(session.hour, int(session.wall) & 0xFFFFFFFF, *session.cookies.secrets)
        if self._edge is not None:
            self._steer(self._edge)

    def listen(self, sockets: Sequence[socket.socket], edge: Edge, reactor: Any) -> Callable[[], None]:
        """Answer on these sockets; returns what ends it."""
        if self._upstreams:
            self._edge = edge
            self._heard = [(0, 0)] * len(self._upstreams)
            self.native.ask([*map(sockaddr, self._upstreams)], self._config.trust_ad)
            self._steer(edge)
            Thread(target=self.native.forward, name="back", daemon=True).start()
        self._listeners = [self._start(sock, edge) for sock in sockets]
        for listener in self._listeners:
            reactor.addReader(listener)

        def end() -> None:
            for sock in sockets:
                take_no_more(sock)
            self.native.stop()
            for thread in self._fronts:
                thread.join()
            for listener in self._listeners:
                read_out(listener.odd, listener.doRead)

        return end

    @property
    def waiting(self) -> int:
        """Questions on their way, and sockets with some that Python has not read yet.

        In this order: what is given up by the lane comes to Python before it stops being on its way.
        """
        return self.native.flying() + sum(has_packet(listener.odd) for listener in self._listeners)

    def _start(self, sock: socket.socket, edge: Edge) -> OddListener:
        ends = pair()
        # The lane waits in the call itself; Python sends with MSG_DONTWAIT.
        flags = fcntl.fcntl(sock, fcntl.F_GETFL)
        fcntl.fcntl(sock, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, pack("@ll", 0, int(STOP_SECONDS * 1e6)))
        wildcard = ip_address(sock.getsockname()[0].partition("%")[0]).is_unspecified
        thread = Thread(
            target=self._serve,
            args=(sock, ends[1], is_local(sock), wildcard),
            name=f"front{len(self._fronts)}",
            daemon=True,
        )
        thread.start()
        self._fronts.append(thread)
        return OddListener(sock, ends, edge, self.teach)

    def _steer(self, edge: Edge) -> None:
        """A turn in which an upstream answered the lane nothing, though it was asked, is one loss: Python asks another
        one then, as often as not, and would never learn that this one is dead."""
        now, health, notes = monotonic(), edge.session.health, []
        for index, (answered, lost, refused) in enumerate(self.native.upstreams()[: len(self._heard)]):
            known = health[index]
            rtt = self.native.steer(index, known.up, known.keeps_case(now), known.wait)
            (answered_before, missed_before), self._heard[index] = self._heard[index], (answered, lost + refused)
            if answered > answered_before:
                if health.answered(index, rtt):
                    notes.append(Note("upstream_up", known.label))
            elif lost + refused > missed_before and health.lost(index, now):
                notes.append(Note("upstream_down", known.label))
                self.native.steer(index, False, known.keeps_case(now), known.wait)
        edge.perform(notes)

    def teach(self, layer: int, index: int) -> None:
        """The lane has met a ground for the first time."""
        if layer >= len(self._policy.layers):
            return
        image = self._policy.layers[layer]
        # It may have met it before the policy changed, and this image may have fewer.
        if isinstance(image, Image) and index < image.ground_count:
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
        for outcome in ("blocked", "cached", "failed", "forwarded", "dropped", "shed"):
            counters.udp[outcome] += counts[outcome]
        # Queries that Python was too slow to take.
        counters.udp["shed"] += counts["lost"]
        counters.cache_hits += counts["hits"]
        counters.cache_misses += counts["misses"]
        counters.near_misses += counts["near_misses"]
        for index, results in enumerate(self.native.upstreams()[: len(self._upstreams)]):
            for result, count in zip(UPSTREAM_RESULTS, results, strict=True):
                counters.upstream[index, result] = counters.upstream.get((index, result), 0) + count
        for result in ("given", "proven"):
            counters.cookies[result] += counts[result]
        counters.limited["shortened"] += counts["shortened"]
        counters.limited["dropped"] += counts["unsent"]
        for (category, action), count in by_rule.items():
            name = CATEGORIES[category] if category < len(CATEGORIES) else NO_CATEGORY
            counters.blocked[str(name), str(ACTIONS[action])] += count
        self._count_zones()
        for key, count in self._zones.items():
            counters.zones[key] = counters.zones.get(key, 0) + count
        for place, count in enumerate(durations):
            counters.durations[place] += count
        counters.duration_sum += seconds

    def _count_zones(self) -> None:
        """Put what the lane has counted by layer down to the zones that the layers are just now; all are names."""
        matches = Counter(self.native.matches())
        for (layer, action), count in (matches - self._matches).items():
            image = self._policy.layers[layer] if layer < len(self._policy.layers) else None
            if isinstance(image, Image) and image.about.source.foreign:
                self._zones[image.about.source.authority, "qname", str(ACTIONS[action])] += count
        self._matches = matches

    def _serve(self, sock: socket.socket, odd: socket.socket, *kinds: Any) -> None:
        self.native.serve(sock.fileno(), odd.fileno(), *kinds)


def _kind_of(ground: Ground) -> int:
    if ground.action is Action.PASSTHRU:
        # A canary's reaching us is noted (`Session`); an operator's own exception is not.
        return EXEMPT if ground.counted or not ground.source.authority else PYTHON
    refuses = ground.action in (Action.NXDOMAIN, Action.NODATA, Action.LOCAL)
    return REFUSE if refuses and ground.counted and ground.cname is None else PYTHON


def sockaddr(address: Address) -> bytes:
    """A sockaddr_in or sockaddr_in6."""
    host, port = address
    if ":" in host:
        host, _percent, scope = host.partition("%")
        octets = socket.inet_pton(socket.AF_INET6, host)
        # All but the number of the interface is in network order (netinet/in.h).
        return pack("=H", socket.AF_INET6) + pack("!HI16s", port, 0, octets) + pack("=I", _interface(scope))
    return pack("=H", socket.AF_INET) + pack("!H4s8x", port, socket.inet_aton(host))


def _interface(scope: str) -> int:
    """Its number; 0 where there is none of that name now, and then the kernel refuses the address."""
    try:
        return socket.if_nametoindex(scope) if scope else 0
    except OSError:
        return int(scope) if scope.isdecimal() else 0
