"""Questions outstanding at upstreams: attempts, retries, matching of answers. Pure.

One question (name, type, DO, CD) is outstanding once, however many clients wait for it. An attempt stays open until
its question is settled, so a slow answer to the first attempt still counts while the second is on its way. Against
forged answers (RFC 5452): a socket, port and id of its own per attempt, letters in random case, anything that does
not fit is ignored while the wait goes on, and after a few of those the question moves to TCP.
"""

from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple

from feeds.message import Malformed, Response, read_response, response_matches
from feeds.message.building import encode_opt, encode_query, encode_question
from feeds.message.words import NOERROR, NXDOMAIN
from resolver.effects import Ask, Effect, Forget, Note
from resolver.health import Health
from resolver.metrics import Counters

MAX_ATTEMPTS = 5  # upstream queries per question, TCP included: the bound against NXNS-like multiplication
MAX_UDP_ATTEMPTS = 3
NEAR_MISS_LIMIT = 8
# Of all outstanding questions those of names right below one name: one eighth at most, but always a few.
ZONE_SHARE = 8
ZONE_LEAST = 16
TCP_WAIT = 2.5  # seconds
GIVE_UP = 4.5  # seconds; stub resolvers wait five
CLIENT_PATIENCE = 1.8  # seconds until a stale answer is given instead (RFC 8767 section 5)
PROBE_WAIT = 2.0
UDP_SIZE = 1232
_CASE_BIT = bytes(0x20 if 97 <= octet <= 122 else 0 for octet in range(256))


@dataclass(slots=True, eq=False)
class Outstanding:
    """One question on its way. `waiters` belong to the session."""

    key: bytes
    name: bytes
    qtype: int
    do: bool
    cd: bool
    started: float
    give_up_at: float
    patience_at: float
    retry_at: float = 0.0
    waiters: list[Any] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)
    attempts: int = 0
    near_misses: int = 0
    over_tcp: bool = False
    impatient: bool = False
    settled: bool = False
    failure: Response | None = None


@dataclass(slots=True, eq=False)
class Attempt:
    """One message to one upstream. `outstanding` None: a probe."""

    outstanding: Outstanding | None
    upstream: int
    id: int
    question: bytes
    tcp: bool
    sent: float
    over: bool = False


class Settled(NamedTuple):
    """An answer that fits; `response` None or with an error code: nothing better was to be had."""

    outstanding: Outstanding
    response: Response | None
    upstream: int


class Asking:
    """All outstanding questions, at most `max_outstanding`. Effects are appended to `out`."""

    def __init__(
        self,
        health: Health,
        counters: Counters,
        rng: Random,
        *,
        max_outstanding: int = 2000,
        want_authentic: bool = False,
    ) -> None:
        self.health = health
        self._counters = counters
        self._rng = rng
        self._max = max_outstanding
        self._want_authentic = want_authentic
        self._by_key: dict[bytes, Outstanding] = {}
        self._by_zone: Counter[bytes] = Counter()
        self._doubted: set[bytes] = set()
        self._attempts: dict[int, Attempt] = {}
        self._timers: list[tuple[float, int, Outstanding | int]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, key: bytes) -> Outstanding | None:
        """The question, if it is on its way already."""
        return self._by_key.get(key)

    def ask(
        self, key: bytes, name: bytes, qtype: int, do: bool, cd: bool, now: float, out: list[Effect]
    ) -> Outstanding | None:
        """Send the question on its way; None when too many are, in all or below one name.

        Names made up below one whose servers are dead would take every place, and all others' names none.
        """
        zone = zone_of(name)
        if len(self._by_key) >= self._max or self._by_zone[zone] >= max(self._max // ZONE_SHARE, ZONE_LEAST):
            return None
        if zone:
            self._by_zone[zone] += 1
        outstanding = Outstanding(key, name, qtype, do, cd, now, now + GIVE_UP, now + CLIENT_PATIENCE)
        if key in self._doubted:
            self._doubted.remove(key)
            outstanding.over_tcp = True
        self._by_key[key] = outstanding
        self._attempt(outstanding, now, out)
        return outstanding

    def doubt(self, key: bytes) -> None:
        """What the compiled lane was told in answer to this question was perhaps forged: ask it by TCP."""
        if len(self._doubted) >= self._max:
            self._doubted.clear()
        self._doubted.add(key)

    def received(self, token: int, data: bytes, now: float, out: list[Effect]) -> Settled | None:
        """Bytes came from the upstream's own address and port to the socket of that token."""
        attempt = self._attempts.get(token)
        if attempt is None:
            return None
        outstanding = attempt.outstanding
        if not response_matches(data, attempt.id, attempt.question):
            self._near_miss(attempt, now, out)
            # Over TCP it is the upstream itself that talks nonsense, and it may go on with that for as long as it can.
            return self._bad(token, attempt, None, now, out) if attempt.tcp else None
        upstream = self.health[attempt.upstream]
        try:
            response = read_response(data, attempt.question)
        except Malformed:
            return self._bad(token, attempt, None, now, out)
        if response.name != attempt.question[:-4]:
            if attempt.tcp:
                # Over TCP nobody else can have written it: this upstream folds case, so spare it the next hour.
                upstream.folds_case(now)
            elif outstanding is not None:
                self._near_miss(attempt, now, out)
                self._move_to_tcp(outstanding, attempt.upstream, now, out)
                return None
        self._alive(attempt, now, out)
        if outstanding is None:
            self._close(token, out)
            return None
        if response.truncated and not attempt.tcp:
            self._move_to_tcp(outstanding, attempt.upstream, now, out)
            return None
        if response.rcode not in (NOERROR, NXDOMAIN) or response.truncated:
            return self._bad(token, attempt, response, now, out)
        return self._settle(outstanding, response, attempt.upstream, out)

    def unreachable(self, token: int, now: float, out: list[Effect]) -> Settled | None:
        """The socket of that token was refused, reset or closed without an answer."""
        attempt = self._attempts.get(token)
        if attempt is None:
            return None
        self._count_result(attempt.upstream, "refused")
        self._lost(attempt, now, out)
        if attempt.outstanding is None:
            self._close(token, out)
            return None
        return self._bad(token, attempt, None, now, out)

    @property
    def wake_at(self) -> float | None:
        """When `due` should be called next."""
        probe = self.health.next_probe()
        timer = self._timers[0][0] if self._timers else None
        return min((t for t in (probe, timer) if t is not None), default=None)

    def due(self, now: float, out: list[Effect]) -> tuple[list[Settled], list[Outstanding]]:
        """What time has settled, and the questions whose clients have waited long enough for a stale answer."""
        settled: list[Settled] = []
        impatient: list[Outstanding] = []
        while self._timers and self._timers[0][0] <= now:
            _when, _n, what = heappop(self._timers)
            if isinstance(what, int):
                self._probe_over(what, now, out)
            elif not what.settled:
                self._step(what, now, out, settled, impatient)
        for index in self.health.probes_due(now):
            self._probe(index, now, out)
        return settled, impatient

    def _step(
        self, what: Outstanding, now: float, out: list[Effect], settled: list[Settled], impatient: list[Outstanding]
    ) -> None:
        if now >= what.give_up_at:
            self._lose_open(what, now, out)
            settled.append(self._settle(what, what.failure, -1, out))
            return
        if now >= what.patience_at and not what.impatient:
            what.impatient = True
            impatient.append(what)
        if now >= what.retry_at:
            self._lose_open(what, now, out)
            self._attempt(what, now, out)
        else:
            self._schedule(what)

    def _attempt(self, what: Outstanding, now: float, out: list[Effect], upstream: int | None = None) -> bool:
        """One more attempt, if the bounds allow it."""
        udp_left = what.attempts < MAX_UDP_ATTEMPTS or what.over_tcp
        if what.attempts >= MAX_ATTEMPTS or not udp_left:
            what.retry_at = what.give_up_at
            self._schedule(what)
            return False
        index = self.health.choose(what.asked) if upstream is None else upstream
        chosen = self.health[index]
        what.attempts += 1
        what.asked.add(index)
        name = mixed_case(what.name, self._rng) if chosen.keeps_case(now) else what.name
        token = self._send(what, index, encode_question(name, what.qtype), what.over_tcp, now, out)
        what.tokens.append(token)
        what.retry_at = min(now + (TCP_WAIT if what.over_tcp else chosen.wait), what.give_up_at)
        self._schedule(what)
        return True

    def _send(
        self, what: Outstanding | None, index: int, question: bytes, tcp: bool, now: float, out: list[Effect]
    ) -> int:
        self._count += 1
        token = self._count
        message_id = self._rng.getrandbits(16)
        self._attempts[token] = Attempt(what, index, message_id, question, tcp, now)
        opt = encode_opt(UDP_SIZE, do=what.do if what else False)
        cd = what.cd if what else False
        out.append(Ask(token, index, encode_query(message_id, question, cd=cd, ad=self._want_authentic, opt=opt), tcp))
        return token

    def _schedule(self, what: Outstanding) -> None:
        when = min(what.retry_at, what.give_up_at)
        if not what.impatient:
            when = min(when, what.patience_at)
        self._count += 1
        heappush(self._timers, (when, self._count, what))

    def _near_miss(self, attempt: Attempt, now: float, out: list[Effect]) -> None:
        self._counters.near_misses += 1
        what = attempt.outstanding
        if what is None or attempt.tcp:
            return
        what.near_misses += 1
        if what.near_misses >= NEAR_MISS_LIMIT and not what.over_tcp:
            for token in what.tokens:
                self._close(token, out)
            what.tokens.clear()
            self._move_to_tcp(what, attempt.upstream, now, out)

    def _move_to_tcp(self, what: Outstanding, upstream: int, now: float, out: list[Effect]) -> None:
        if not what.over_tcp:
            what.over_tcp = True
            self._attempt(what, now, out, upstream)

    def _bad(
        self, token: int, attempt: Attempt, response: Response | None, now: float, out: list[Effect]
    ) -> Settled | None:
        """This attempt gave nothing. Ask another upstream at once if one is left, or wait for what is still open."""
        what = attempt.outstanding
        self._close(token, out)
        if what is None:
            return None
        what.tokens.remove(token)
        # What is truncated over TCP too says nothing about what there is.
        if response is not None and not response.truncated:
            what.failure = response
        unasked = len(what.asked) < len(self.health.upstreams)
        if (unasked or response is None) and self._attempt(what, now, out):
            return None
        if what.tokens:
            return None
        return self._settle(what, what.failure, attempt.upstream, out)

    def _settle(self, what: Outstanding, response: Response | None, upstream: int, out: list[Effect]) -> Settled:
        what.settled = True
        if self._by_key.pop(what.key, None) is not None:
            zone = zone_of(what.name)
            if zone:
                self._by_zone[zone] -= 1
                if not self._by_zone[zone]:
                    del self._by_zone[zone]
        for token in what.tokens:
            self._close(token, out)
        what.tokens.clear()
        return Settled(what, response, upstream)

    def _close(self, token: int, out: list[Effect]) -> None:
        if self._attempts.pop(token, None) is not None:
            out.append(Forget(token))

    def _alive(self, attempt: Attempt, now: float, out: list[Effect]) -> None:
        self._count_result(attempt.upstream, "answered")
        attempt.over = True
        if self.health.answered(attempt.upstream, None if attempt.tcp else now - attempt.sent):
            out.append(Note("upstream_up", self.health[attempt.upstream].label))

    def _lose_open(self, what: Outstanding, now: float, out: list[Effect]) -> None:
        """The open attempts have had their time; each counts once as a loss, and may still be answered."""
        for token in what.tokens:
            attempt = self._attempts[token]
            if not attempt.over:
                self._count_result(attempt.upstream, "lost")
                self._lost(attempt, now, out)

    def _lost(self, attempt: Attempt, now: float, out: list[Effect]) -> None:
        if attempt.over:
            return
        attempt.over = True
        if self.health.lost(attempt.upstream, now, probe=attempt.outstanding is None):
            out.append(Note("upstream_down", self.health[attempt.upstream].label))

    def _probe(self, index: int, now: float, out: list[Effect]) -> None:
        """Ask a down upstream for the root's name servers: every recursor knows those."""
        token = self._send(None, index, encode_question(b"\0", 2), False, now, out)
        self._count += 1
        heappush(self._timers, (now + PROBE_WAIT, self._count, token))

    def _probe_over(self, token: int, now: float, out: list[Effect]) -> None:
        attempt = self._attempts.get(token)
        if attempt is not None:
            self._count_result(attempt.upstream, "lost")
            self._lost(attempt, now, out)
            self._close(token, out)

    def _count_result(self, upstream: int, result: str) -> None:
        counts = self._counters.upstream
        counts[upstream, result] = counts.get((upstream, result), 0) + 1


def zone_of(name: bytes) -> bytes:
    """The name right above, where questions are counted; b"" where that is a top-level domain or the root."""
    above = name[name[0] + 1 :] if name[0] else b""
    return above if above and above[0] and above[above[0] + 1] else b""


def mixed_case(name: bytes, rng: Random) -> bytes:
    """The lower-case wire name with each letter's case drawn at random (draft-vixie-dnsext-dns0x20)."""
    # Lengths are at most 63 and letters start at 97, so a length octet is never taken for a letter.
    drawn = int.from_bytes(name.translate(_CASE_BIT), "big") & rng.getrandbits(8 * len(name))
    return (int.from_bytes(name, "big") ^ drawn).to_bytes(len(name), "big")
