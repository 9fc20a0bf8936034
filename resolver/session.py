"""One resolver's mind: bytes and now in, effects out. Pure: no socket, no clock, no randomness of its own.

Order for a query: form, then the policy on its name, then the cache, then an upstream; then the policy on what the
answer holds (aliases, addresses, service bindings), whether it came just now or from the cache. A query is judged by
the one Policy that was in force when it came in, from its first lookup to its answer, so that two releases never mix.
DO and CD are part of a question's identity and change nothing of a verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from struct import pack
from typing import NamedTuple

from feeds.message import Malformed, Query, Record, Response, option, read_query, read_response
from feeds.message.building import (
    encode_ede,
    encode_opt,
    encode_option,
    encode_record,
    error_reply,
    finish,
    replayed,
    reply,
)
from feeds.message.words import (
    AAAA,
    AD,
    ANY,
    CD,
    IN,
    NOERROR,
    NOTAUTH,
    NXDOMAIN,
    OPTION_EDE,
    QR,
    RD,
    REFUSED,
    SERVFAIL,
    A,
)
from resolver.answer import blocked_answer
from resolver.asking import Asking, Outstanding, Settled
from resolver.cache import FAILURE_SECONDS, STALE_SECONDS, Cache, Entry
from resolver.chain import Unbelievable, believed
from resolver.effects import Client, Effect, Reply
from resolver.health import Health
from resolver.metrics import NO_CATEGORY, Counters
from resolver.policy import Hit, Policy

# OPT, NXT-era and transfer types are no questions for a recursor (RFC 6895 section 3.1: 249 to 254, and OPT).
NO_QUESTIONS = frozenset({0, 41, *range(249, 255)})
MAX_LOCAL_TTL = 300  # seconds
RECHECK_SECONDS = 30.0  # RFC 8767 section 5
MAX_TCP_BYTES = 65_535
# Of the range for local use (RFC 6891 section 9): a client on this machine asks where an answer came from.
OPTION_ORIGIN = 65_313
HINFO = 13
_RFC8482 = encode_record(b"\xc0\x0c", HINFO, 3600, b"\x07RFC8482\x00")
_OPTS = (encode_opt(), encode_opt(do=True))
_ORIGIN_WANTED = b"?"
EDE_STALE, EDE_CACHED_ERROR, EDE_STALE_NXDOMAIN, EDE_UNREACHABLE, EDE_NOT_READY, EDE_UNSUPPORTED = 3, 13, 19, 22, 14, 21


@dataclass(frozen=True, slots=True)
class Config:
    """`upstreams` are labels for logs and metrics. `trust_ad`: pass on an upstream's AD, which needs a trusted way."""

    upstreams: tuple[str, ...]
    cache_bytes: int = 64 << 20
    stale_seconds: int = STALE_SECONDS
    trust_ad: bool = False
    max_outstanding: int = 2000
    max_waiters: int = 100


class Waiter(NamedTuple):
    """A client whose question is on its way. `local`: the question is the name that this rule points to."""

    client: Client
    query: Query
    tcp: bool
    started: float
    policy: Policy
    hour: int
    exempt: bool
    local: Hit | None = None


class Session:
    """`now` is in seconds of a clock that never jumps; `hour` (see `turn`) says which rules have lapsed."""

    def __init__(self, policy: Policy, hour: int, config: Config, rng: Random, counters: Counters) -> None:
        self.policy = policy
        self.hour = hour
        self.config = config
        self.counters = counters
        self.cache = Cache(config.cache_bytes, config.stale_seconds)
        self.health = Health(config.upstreams, rng)
        self.asking = Asking(
            self.health, counters, rng, max_outstanding=config.max_outstanding, want_authentic=config.trust_ad
        )
        self.wall = 0.0
        self._state = 0

    def swap(self, policy: Policy) -> None:
        """Enforce this from the next query on; kept answers are judged anew when they are next asked for."""
        self.policy = policy
        self._state += 1

    def turn(self, hour: int, wall: float) -> None:
        """The time is now `wall` (seconds since 1970), the hour `hour`; rules that lapsed stop matching."""
        self.wall = wall
        if hour != self.hour:
            self.hour = hour
            self._state += 1

    @property
    def wake_at(self) -> float | None:
        """When `due` should next be called."""
        return self.asking.wake_at

    def query(self, data: bytes, client: Client, tcp: bool, now: float, local: bool = False) -> Sequence[Effect]:
        """A client's message. `tcp`: it came over a stream, so its sender is who it says and size is no concern.

        `local`: only this machine can have sent it, so it may learn which upstream an answer came from.
        """
        counts = self.counters.tcp if tcp else self.counters.udp
        try:
            query = read_query(data)
        except Malformed as error:
            if error.rcode is None:
                counts["dropped"] += 1
                return ()
            counts["malformed"] += 1
            return (Reply(client, error_reply(data, error.rcode)),)
        if query.options:
            # From here on the options say one thing: whether the answer shall tell its origin.
            told = local and option(query.options, OPTION_ORIGIN) is not None
            query = query._replace(options=_ORIGIN_WANTED if told else b"")
        if query.qclass != IN or query.qtype in NO_QUESTIONS or query.signed:
            counts["refused"] += 1
            rcode = NOTAUTH if query.signed else REFUSED
            return (Reply(client, self._error(query, tcp, rcode, encode_ede(EDE_UNSUPPORTED))),)
        hit = self.policy.by_name(query.key, self.hour)
        exempt = False
        if hit is not None:
            if not hit.lets_pass(tcp):
                waiter = Waiter(client, query, tcp, now, self.policy, self.hour, False)
                return self._blocked(hit, waiter, now)
            self._seen(hit)
            exempt = True
        return self._resolve(query, client, tcp, now, exempt)

    def received(self, token: int, data: bytes, now: float) -> list[Effect]:
        """Bytes from the upstream that the attempt `token` was sent to."""
        out: list[Effect] = []
        settled = self.asking.received(token, data, now, out)
        if settled is not None:
            self._settled(settled, now, out)
        return out

    def unreachable(self, token: int, now: float) -> list[Effect]:
        """The socket of that attempt was refused, reset or closed."""
        out: list[Effect] = []
        settled = self.asking.unreachable(token, now, out)
        if settled is not None:
            self._settled(settled, now, out)
        return out

    def due(self, now: float) -> list[Effect]:
        """What time alone brings: retries, failures, probes, stale answers for those who have waited long."""
        out: list[Effect] = []
        settled, impatient = self.asking.due(now, out)
        for one in settled:
            self._settled(one, now, out)
        for outstanding in impatient:
            self._serve_stale(outstanding, now, out)
        return out

    def _resolve(self, query: Query, client: Client, tcp: bool, now: float, exempt: bool) -> Sequence[Effect]:
        counters = self.counters
        counts = counters.tcp if tcp else counters.udp
        if query.qtype == ANY:
            # RFC 8482 section 4.2: one small record instead of everything there is.
            counts["refused"] += 1
            data = reply(query, NOERROR, sections=_RFC8482, an=1)
            return (Reply(client, self._finished(data, query, tcp)),)
        cd = query.flags & CD != 0
        key = _key(query.key, query.qtype, query.do, cd)
        entry = self.cache.get(key, now)
        if entry is not None and now - entry.stored < entry.lifetime:
            counters.cache_hits += 1
            if entry.rcode == SERVFAIL:
                counts["failed"] += 1
                return (Reply(client, self._error(query, tcp, SERVFAIL, encode_ede(EDE_CACHED_ERROR))),)
            hit = None if exempt else self._verdict(key, entry)
            if hit is not None and not hit.lets_pass(tcp):
                waiter = Waiter(client, query, tcp, now, self.policy, self.hour, False)
                return self._blocked(hit, waiter, now)
            counts["cached"] += 1
            return (Reply(client, self._answer(entry.aged(now), query, tcp, entry, "cache")),)
        counters.cache_misses += 1
        if not query.flags & RD:
            # Without RD a client asks what is known already; nothing is, and it shall not learn more than that.
            counts["refused"] += 1
            return (Reply(client, self._error(query, tcp, REFUSED)),)
        stale = entry is not None and entry.rcode != SERVFAIL
        waiter = Waiter(client, query, tcp, now, self.policy, self.hour, exempt)
        out: list[Effect] = []
        if entry is not None and stale and now < entry.recheck_at:
            self._give_stale(key, entry, waiter, now, out)
            return out
        outstanding = self._outstanding(key, query.key, query.qtype, query.do, cd, now, out)
        hopeless = outstanding is None or outstanding.impatient or not any(u.up for u in self.health.upstreams)
        if entry is not None and stale and hopeless:
            self._give_stale(key, entry, waiter, now, out)
        elif outstanding is None or len(outstanding.waiters) >= self.config.max_waiters:
            counts["shed"] += 1
            out.append(Reply(client, self._error(query, tcp, SERVFAIL, encode_ede(EDE_NOT_READY))))
        else:
            outstanding.waiters.append(waiter)
        return out

    def _outstanding(
        self, key: bytes, name: bytes, qtype: int, do: bool, cd: bool, now: float, out: list[Effect]
    ) -> Outstanding | None:
        return self.asking.find(key) or self.asking.ask(key, name, qtype, do, cd, now, out)

    def _settled(self, settled: Settled, now: float, out: list[Effect]) -> None:
        what, response = settled.outstanding, settled.response
        question = _question(what.key)
        try:
            if response is None:
                raise Unbelievable("no answer")
            kept = believed(response, question, what.do)
        except Unbelievable:
            self._failed(what, response, now, out)
            return
        authentic = self.config.trust_ad and response.flags & AD != 0
        entry = Entry(kept.message, kept.ttls, now, kept.lifetime, authentic, settled.upstream)
        judged = response._replace(answers=kept.answers, additional=())
        if kept.lifetime > 0:
            self.cache.put(what.key, entry)
        else:
            self.cache.drop(what.key)
        verdicts: dict[tuple[int, int], Hit | None] = {}
        for waiter in what.waiters:
            if waiter.local is not None:
                self._give_local(waiter.local, waiter, kept.answers, now, out)
                continue
            state = (id(waiter.policy), waiter.hour)
            if not waiter.exempt and state not in verdicts:
                verdicts[state] = waiter.policy.judge_answer(judged, waiter.hour)
                if waiter.policy is self.policy and waiter.hour == self.hour:
                    entry.judged, entry.verdict = self._state, verdicts[state]
            hit = None if waiter.exempt else verdicts[state]
            if hit is not None and not hit.lets_pass(waiter.tcp):
                out += self._blocked(hit, waiter, now)
                self.counters.took(now - waiter.started)
                continue
            data = self._answer(entry.message, waiter.query, waiter.tcp, entry, "upstream")
            self._give(waiter, "forwarded", data, now, out)
        what.waiters.clear()

    def _failed(self, what: Outstanding, response: Response | None, now: float, out: list[Effect]) -> None:
        """No upstream gave a usable answer: the stale one, if there is any, or SERVFAIL with the reason."""
        entry = self.cache.get(what.key, now)
        if entry is not None and entry.rcode != SERVFAIL:
            entry.recheck_at = now + RECHECK_SECONDS
            self._serve_stale(what, now, out)
            return
        failure = pack("!6H", 0, QR | SERVFAIL, 1, 0, 0, 0) + _question(what.key)
        self.cache.put(what.key, Entry(failure, (), now, FAILURE_SECONDS))
        options = _errors_of(response) or encode_ede(EDE_UNREACHABLE)
        for waiter in what.waiters:
            if waiter.local is not None:
                self._give_local(waiter.local, waiter, (), now, out)
            else:
                self._give(waiter, "failed", self._error(waiter.query, waiter.tcp, SERVFAIL, options), now, out)
        what.waiters.clear()

    def _serve_stale(self, what: Outstanding, now: float, out: list[Effect]) -> None:
        """Answer all who wait with what was true a while ago; the question stays on its way to renew it."""
        entry = self.cache.get(what.key, now)
        if entry is None or entry.rcode == SERVFAIL:
            return
        for waiter in what.waiters:
            if waiter.local is not None:
                self._give_local(waiter.local, waiter, self._answers(what.key, entry, now), now, out)
            else:
                self._give_stale(what.key, entry, waiter, now, out)
        what.waiters.clear()

    def _give_stale(self, key: bytes, entry: Entry, waiter: Waiter, now: float, out: list[Effect]) -> None:
        hit = None if waiter.exempt else self._judge(key, entry, waiter.policy, waiter.hour)
        if hit is not None and not hit.lets_pass(waiter.tcp):
            out += self._blocked(hit, waiter, now)
            return
        code = EDE_STALE_NXDOMAIN if entry.rcode == NXDOMAIN else EDE_STALE
        data = self._answer(entry.stale(), waiter.query, waiter.tcp, entry, "stale", encode_ede(code))
        self._give(waiter, "stale", data, now, out)

    def _give(self, waiter: Waiter, outcome: str, data: bytes, now: float, out: list[Effect]) -> None:
        counters = self.counters
        (counters.tcp if waiter.tcp else counters.udp)[outcome] += 1
        counters.took(now - waiter.started)
        out.append(Reply(waiter.client, data))

    def _verdict(self, key: bytes, entry: Entry) -> Hit | None:
        """What today's policy says of a kept answer; found once per release and hour."""
        if entry.judged != self._state:
            entry.verdict = self._judge(key, entry, self.policy, self.hour)
            entry.judged = self._state
        return entry.verdict

    def _judge(self, key: bytes, entry: Entry, policy: Policy, hour: int) -> Hit | None:
        return policy.judge_answer(read_response(entry.message, _question(key)), hour)

    def _blocked(self, hit: Hit, waiter: Waiter, now: float) -> Sequence[Effect]:
        """The answer that the rule wants, now or, where it points to a name, when that name is known."""
        counters, ground, query = self.counters, hit.ground, waiter.query
        counts = counters.tcp if waiter.tcp else counters.udp
        if ground.counted:
            counts["blocked"] += 1
            counters.blocked[ground.category or NO_CATEGORY, ground.action] += 1
        else:
            counts["canary"] += 1
            self._seen(hit)
        if ground.cname is not None and query.qtype in (A, AAAA):
            return self._local(hit, waiter, ground.cname, now)
        data = blocked_answer(hit, query, waiter.tcp, options=_policy_origin(hit, query))
        return (Reply(waiter.client, data),) if data is not None else ()

    def _local(self, hit: Hit, waiter: Waiter, name: bytes, now: float) -> Sequence[Effect]:
        """A rule that points to a name: clients do not follow an alias themselves, so its addresses come with it."""
        key = _key(name, waiter.query.qtype, False, False)
        entry = self.cache.get(key, now)
        out: list[Effect] = []
        if entry is not None and entry.fresh(now):
            self._give_local(hit, waiter, self._answers(key, entry, now), now, out)
            return out
        outstanding = self._outstanding(key, name, waiter.query.qtype, False, False, now, out)
        if outstanding is None or len(outstanding.waiters) >= self.config.max_waiters:
            self._give_local(hit, waiter, (), now, out)
        else:
            outstanding.waiters.append(waiter._replace(local=hit))
        return out

    def _give_local(self, hit: Hit, waiter: Waiter, answers: Sequence[Record], now: float, out: list[Effect]) -> None:
        more = [encode_record(r.owner, r.rtype, min(r.ttl, MAX_LOCAL_TTL), r.rdata) for r in answers]
        data = blocked_answer(hit, waiter.query, waiter.tcp, more, _policy_origin(hit, waiter.query))
        if data is not None:
            out.append(Reply(waiter.client, data))

    def _answers(self, key: bytes, entry: Entry, now: float) -> Sequence[Record]:
        return read_response(entry.aged(now), _question(key)).answers

    def _seen(self, hit: Hit) -> None:
        """A canary was asked for through us: the prober's proof that this resolver enforces."""
        if not hit.ground.counted and hit.ground.source.authority:
            self.counters.canaries[hit.ground.action] = self.wall

    def _answer(
        self, message: bytes, query: Query, tcp: bool, entry: Entry, origin: str, options: bytes = b""
    ) -> bytes:
        flags = message[3] & 15
        if entry.authentic and (query.do or query.flags & AD):
            flags |= AD
        if query.options:
            options += _origin(f"{origin} {self.health[entry.upstream].label}")
        return self._finished(replayed(message, query, flags=flags), query, tcp, options)

    def _error(self, query: Query, tcp: bool, rcode: int, options: bytes = b"") -> bytes:
        return self._finished(reply(query, rcode), query, tcp, options)

    def _finished(self, data: bytes, query: Query, tcp: bool, options: bytes = b"") -> bytes:
        limit = MAX_TCP_BYTES if tcp else query.udp_limit
        if not query.udp_size:
            return finish(data, query, limit)
        opt = encode_opt(do=query.do, options=options) if options else _OPTS[query.do]
        return finish(data, query, limit, opt)


def _key(name: bytes, qtype: int, do: bool, cd: bool) -> bytes:
    """A question's identity: its name in lower case, its type, and whether DO and CD are set."""
    return name + pack("!HB", qtype, do | cd << 1)


def _question(key: bytes) -> bytes:
    """The question section, in lower case, of a `_key`."""
    return key[:-1] + b"\0\x01"


def _origin(text: str) -> bytes:
    return encode_option(OPTION_ORIGIN, text.encode())


def _policy_origin(hit: Hit, query: Query) -> bytes:
    """`policy AUTHORITY SERIAL TARGET`, where the client may know and wants to."""
    if not query.options:
        return b""
    source = hit.ground.source
    return _origin(f"policy {source.authority} {source.serial} {hit.target}")


def _errors_of(response: Response | None) -> bytes:
    """The upstream's own Extended DNS Errors, passed on (RFC 8914 section 3), codes only: its text is not ours."""
    if response is None or response.edns is None:
        return b""
    codes = [data[:2] for code, data in response.edns.options if code == OPTION_EDE and len(data) >= 2]
    return b"".join(encode_ede(int.from_bytes(code, "big")) for code in codes[:4])
