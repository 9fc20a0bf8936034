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

from feeds.message import Malformed, Record, Response, option, read_query, read_response
from feeds.message.building import encode_record, error_reply, replayed, reply
from feeds.message.words import (
    AAAA,
    AD,
    ANY,
    CD,
    CNAME,
    FORMERR,
    IN,
    NOERROR,
    NOTAUTH,
    NXDOMAIN,
    QR,
    RD,
    REFUSED,
    SERVFAIL,
    A,
)
from feeds.rule import Action
from resolver import reasons
from resolver.asked import OPTION_ORIGIN, OPTION_PADDING, Asked, error, finished, origin, refused, shortened
from resolver.asking import Asking, Outstanding, Settled
from resolver.cache import FAILURE_SECONDS, STALE_SECONDS, AnyCache, Cache, Entry, question_key, question_of
from resolver.chain import Unbelievable, believed
from resolver.cookie import KEY_BYTES, OPTION_COOKIE, BadCookie, Cookies, daily_secrets
from resolver.effects import Client, Effect, Reply
from resolver.health import Health
from resolver.limiting import ANSWERS_PER_SECOND, AnyLimiter, Limiter, kind_of
from resolver.metrics import NO_CATEGORY, Counters
from resolver.policy import Hit, Policy, client_address
from resolver.private import PrivateAnswers
from resolver.structured import OPTION_STRUCTURED

# OPT, NXT-era and transfer types are no questions for a recursor (RFC 6895 section 3.1: 249 to 254, and OPT).
NO_QUESTIONS = frozenset({0, 41, *range(249, 255)})
MAX_LOCAL_TTL = 300  # seconds
RECHECK_SECONDS = 30.0  # RFC 8767 section 5
HINFO = 13
MAX_STRIPPED_TTL = 300  # seconds
_RFC8482 = encode_record(b"\xc0\x0c", HINFO, 3600, b"\x07RFC8482\x00")


@dataclass(frozen=True, slots=True)
class Config:
    """`upstreams` are labels for logs and metrics. `trust_ad`: pass on an upstream's AD, which needs a trusted way.

    `rate_limit`: answers a second of each kind to a client's network over UDP, 0 for no limit. `private_names`: wire
    names that, with all below them, may have private addresses. `cookie_key`: shared by all lanes; empty: one's own.
    """

    upstreams: tuple[str, ...]
    cache_bytes: int = 64 << 20
    stale_seconds: int = STALE_SECONDS
    trust_ad: bool = False
    max_outstanding: int = 2000
    max_waiters: int = 100
    rate_limit: int = ANSWERS_PER_SECOND
    private_names: tuple[bytes, ...] = ()
    cookie_key: bytes = b""


class Session:
    """`now` is in seconds of a clock that never jumps; `hour` (see `turn`) says which rules have lapsed.

    `kept` and `limits`: the compiled lane's, where it is used, so that there is one of each.
    """

    def __init__(
        self,
        policy: Policy,
        hour: int,
        config: Config,
        rng: Random,
        counters: Counters,
        kept: AnyCache | None = None,
        limits: AnyLimiter | None = None,
    ) -> None:
        self.policy = policy
        self.hour = hour
        self.config = config
        self.counters = counters
        self.cache: AnyCache = Cache(config.cache_bytes, config.stale_seconds) if kept is None else kept
        self.health = Health(config.upstreams, rng)
        self.asking = Asking(
            self.health, counters, rng, max_outstanding=config.max_outstanding, want_authentic=config.trust_ad
        )
        self.cookies = Cookies(daily_secrets(config.cookie_key or rng.randbytes(KEY_BYTES)))
        self.private = PrivateAnswers(config.private_names)
        self.limiter: AnyLimiter = Limiter(config.rate_limit) if limits is None else limits
        self.wall = 0.0
        self._state = 0

    def swap(self, policy: Policy) -> None:
        """Enforce this from the next query on; kept answers are judged anew when they are next asked for."""
        self.policy = policy
        self._state += 1

    def turn(self, hour: int, wall: float) -> None:
        """The time is now `wall` (seconds since 1970), the hour `hour`; rules that lapsed stop matching."""
        self.wall = wall
        self.cookies.turn(wall)
        if hour != self.hour:
            self.hour = hour
            self._state += 1

    @property
    def wake_at(self) -> float | None:
        """When `due` should next be called."""
        return self.asking.wake_at

    def query(
        self,
        data: bytes,
        client: Client,
        tcp: bool,
        now: float,
        local: bool = False,
        host: str = "",
        secure: bool = False,
    ) -> Sequence[Effect]:
        """A client's message. `tcp`: it came over a stream, so its sender is who it says and size is no concern.

        `local`: only this machine can have sent it, so it may learn which upstream an answer came from, and its
        answers are not counted. `host`: the client's address as text; without one there are no cookies and no limit.
        `secure`: it came over TLS.
        """
        counts = self.counters.tcp if tcp else self.counters.udp
        counted = "" if tcp or local or not self.config.rate_limit else host
        try:
            query = read_query(data)
        except Malformed as fault:
            if fault.rcode is None:
                counts["dropped"] += 1
                return ()
            counts["malformed"] += 1
            return self._malformed(client, counted, error_reply(data, fault.rcode), now)
        asked = Asked(client, query, tcp, now, self.policy, self.hour, counted)
        if query.options:
            cookie = option(query.options, OPTION_COOKIE)
            if cookie is not None and host:
                try:
                    proven, options = self.cookies.see(cookie, host, self.wall)
                except BadCookie:
                    counts["malformed"] += 1
                    return self._malformed(client, counted, error_reply(data, FORMERR), now)
                self.counters.cookies["proven" if proven else "given"] += 1
                asked = asked._replace(host="" if proven else counted, options=options)
            wants_origin = local and option(query.options, OPTION_ORIGIN) is not None
            as_json = option(query.options, OPTION_STRUCTURED) is not None
            padded = secure and option(query.options, OPTION_PADDING) is not None
            if wants_origin or as_json or padded:
                asked = asked._replace(origin=wants_origin, as_json=as_json, padded=padded)
        if query.qclass != IN or query.qtype in NO_QUESTIONS or query.signed:
            counts["refused"] += 1
            rcode = NOTAUTH if query.signed else REFUSED
            return self._reply(asked, error(asked, rcode, reasons.UNSUPPORTED))
        if self.policy.has_clients and host:
            hit = self.policy.by_query(query.key, *client_address(host), self.hour)
        else:
            hit = self.policy.by_name(query.key, self.hour)
        if hit is not None:
            if not hit.lets_pass(tcp):
                return self._blocked(hit, asked, now)
            self._seen(hit)
            asked = asked._replace(exempt=True)
        return self._resolve(asked, now)

    def received(self, token: int, data: bytes, now: float) -> list[Effect]:
        """Bytes from the upstream that the attempt `token` was sent to."""
        out: list[Effect] = []
        settled = self.asking.received(token, data, now, out)
        if settled is not None:
            self._settled(settled, now, out)
        return out

    def adopt(self, key: bytes, upstream: int, data: bytes, now: float) -> None:
        """An upstream said this to a question of the compiled lane, which leaves it to us: keep it, if it is of use.

        `key`: a `question_key`. Who waits for it asks us next.
        """
        name, bits = key[:-3], key[-1]
        try:
            response = read_response(data, question_of(key))
            if response.rcode in (NOERROR, NXDOMAIN) and not response.truncated:
                what = Outstanding(key, name, response.qtype, bool(bits & 1), bool(bits & 2), now, now, now)
                self._kept(what, response, upstream, now)
        except (Malformed, Unbelievable):
            return

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

    def _reply(self, asked: Asked, data: bytes, kind: str = "") -> Sequence[Effect]:
        """Tell the client this, unless its network has had too many answers of that kind."""
        if asked.host and self.limiter.over(asked.host, kind or kind_of(data), asked.started):
            return (Reply(asked.client, shortened(asked)),) if self._slips() else ()
        return (Reply(asked.client, data),)

    def _malformed(self, client: Client, host: str, data: bytes, now: float) -> Sequence[Effect]:
        return () if host and self.limiter.over(host, "error", now) and not self._slips() else (Reply(client, data),)

    def _slips(self) -> bool:
        slips = self.limiter.slips()
        self.counters.limited["shortened" if slips else "dropped"] += 1
        return slips

    def _resolve(self, asked: Asked, now: float) -> Sequence[Effect]:
        counters, query = self.counters, asked.query
        counts = counters.tcp if asked.tcp else counters.udp
        if query.qtype == ANY:
            # RFC 8482 section 4.2: one small record instead of everything there is.
            counts["refused"] += 1
            return self._reply(asked, finished(asked, reply(query, NOERROR, sections=_RFC8482, an=1)))
        cd = query.flags & CD != 0
        key = question_key(query.key, query.qtype, query.do, cd)
        entry = self.cache.get(key, now)
        if entry is not None and now - entry.stored < entry.lifetime:
            counters.cache_hits += 1
            if entry.rcode == SERVFAIL:
                counts["failed"] += 1
                return self._reply(asked, error(asked, SERVFAIL, reasons.CACHED_ERROR))
            hit = None if asked.exempt else self._verdict(key, entry)
            if hit is not None and not hit.lets_pass(asked.tcp):
                return self._blocked(hit, asked, now)
            counts["cached"] += 1
            data = self._answer(entry.aged(now), asked, entry, "cache")
            return self._reply(asked, data) if asked.host else (Reply(asked.client, data),)
        counters.cache_misses += 1
        if not query.flags & RD:
            # Without RD a client asks what is known already; nothing is, and it shall not learn more than that.
            counts["refused"] += 1
            return self._reply(asked, error(asked, REFUSED))
        stale = entry is not None and entry.rcode != SERVFAIL
        out: list[Effect] = []
        if entry is not None and stale and now < entry.recheck_at:
            self._give_stale(key, entry, asked, now, out)
            return out
        outstanding = self._outstanding(key, query.key, query.qtype, query.do, cd, now, out)
        hopeless = outstanding is None or outstanding.impatient or not any(u.up for u in self.health.upstreams)
        if entry is not None and stale and hopeless:
            self._give_stale(key, entry, asked, now, out)
        elif outstanding is None or len(outstanding.waiters) >= self.config.max_waiters:
            counts["shed"] += 1
            out += self._reply(asked, error(asked, SERVFAIL, reasons.NOT_READY))
        else:
            outstanding.waiters.append(asked)
        return out

    def _outstanding(
        self, key: bytes, name: bytes, qtype: int, do: bool, cd: bool, now: float, out: list[Effect]
    ) -> Outstanding | None:
        return self.asking.find(key) or self.asking.ask(key, name, qtype, do, cd, now, out)

    def _settled(self, settled: Settled, now: float, out: list[Effect]) -> None:
        what, response = settled.outstanding, settled.response
        try:
            if response is None:
                raise Unbelievable("no answer")
            entry, clean, answers = self._kept(what, response, settled.upstream, now)
        except Unbelievable:
            self._failed(what, response, now, out)
            return
        judged = clean._replace(answers=answers, additional=())
        verdicts: dict[tuple[int, int], Hit | None] = {}
        for waiter in what.waiters:
            if waiter.pointed is not None:
                self._give_local(waiter.pointed, waiter, answers, now, out, response.rcode)
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
            data = self._answer(entry.message, waiter, entry, "upstream")
            self._give(waiter, "forwarded", data, now, out)
        what.waiters.clear()

    def _kept(
        self, what: Outstanding, response: Response, upstream: int, now: float
    ) -> tuple[Entry, Response, tuple[Record, ...]]:
        """Keep what of an answer is believed: the entry, the answer without private addresses, the records that count.

        Raises Unbelievable.
        """
        clean, private_ttl = self.private.stripped(response) or (response, None)
        kept = believed(clean, question_of(what.key), what.do)
        lifetime = kept.lifetime
        if private_ttl is not None:
            self.counters.private += 1
            # Nothing may be left that could say how long; the answer is no news again before the old one ends.
            lifetime = min(lifetime or MAX_STRIPPED_TTL, private_ttl, MAX_STRIPPED_TTL)
        authentic = self.config.trust_ad and response.flags & AD != 0
        entry = Entry(kept.message, kept.ttls, now, lifetime, authentic, upstream, stripped=private_ttl is not None)
        if lifetime > 0:
            self.cache.put(what.key, entry)
        else:
            self.cache.drop(what.key)
        return entry, clean, kept.answers

    def _failed(self, what: Outstanding, response: Response | None, now: float, out: list[Effect]) -> None:
        """No upstream gave a usable answer: the stale one, if there is any, or SERVFAIL with the reason."""
        entry = self.cache.get(what.key, now)
        if entry is not None and entry.rcode != SERVFAIL:
            self.cache.postpone(what.key, now + RECHECK_SECONDS)
            self._serve_stale(what, now, out)
            return
        failure = pack("!6H", 0, QR | SERVFAIL, 1, 0, 0, 0) + question_of(what.key)
        self.cache.put(what.key, Entry(failure, (), now, FAILURE_SECONDS))
        options = reasons.of_upstream(response) or reasons.UNREACHABLE
        for waiter in what.waiters:
            if waiter.pointed is not None:
                self._give_local(waiter.pointed, waiter, (), now, out)
            else:
                self._give(waiter, "failed", error(waiter, SERVFAIL, options), now, out)
        what.waiters.clear()

    def _serve_stale(self, what: Outstanding, now: float, out: list[Effect]) -> None:
        """Answer all who wait with what was true a while ago; the question stays on its way to renew it."""
        entry = self.cache.get(what.key, now)
        if entry is None or entry.rcode == SERVFAIL:
            return
        for waiter in what.waiters:
            if waiter.pointed is not None:
                answers = self._answers(what.key, entry, now)
                self._give_local(waiter.pointed, waiter, answers, now, out, entry.rcode)
            else:
                self._give_stale(what.key, entry, waiter, now, out)
        what.waiters.clear()

    def _give_stale(self, key: bytes, entry: Entry, waiter: Asked, now: float, out: list[Effect]) -> None:
        hit = None if waiter.exempt else self._judge(key, entry, waiter.policy, waiter.hour)
        if hit is not None and not hit.lets_pass(waiter.tcp):
            out += self._blocked(hit, waiter, now)
            return
        reason = reasons.STALE_NXDOMAIN if entry.rcode == NXDOMAIN else reasons.STALE
        data = self._answer(entry.stale(), waiter, entry, "stale", reason)
        self._give(waiter, "stale", data, now, out)

    def _give(self, waiter: Asked, outcome: str, data: bytes, now: float, out: list[Effect]) -> None:
        counters = self.counters
        (counters.tcp if waiter.tcp else counters.udp)[outcome] += 1
        counters.took(now - waiter.started)
        out += self._reply(waiter, data)

    def _verdict(self, key: bytes, entry: Entry) -> Hit | None:
        """What today's policy says of a kept answer; found once per release and hour."""
        if entry.judged != self._state:
            entry.verdict = self._judge(key, entry, self.policy, self.hour)
            entry.judged = self._state
            if entry.verdict is None or entry.verdict.action is Action.PASSTHRU:
                self.cache.passes(key, entry)
        return entry.verdict

    def _judge(self, key: bytes, entry: Entry, policy: Policy, hour: int) -> Hit | None:
        return policy.judge_answer(read_response(entry.message, question_of(key)), hour)

    def _blocked(self, hit: Hit, waiter: Asked, now: float) -> Sequence[Effect]:
        """The answer that the rule wants, now or, where it points to a name, when that name is known."""
        counters, ground, query = self.counters, hit.ground, waiter.query
        counts = counters.tcp if waiter.tcp else counters.udp
        if ground.counted:
            counts["blocked"] += 1
            self._met(hit)
            counters.blocked[ground.category or NO_CATEGORY, ground.action] += 1
        else:
            counts["canary"] += 1
            self._seen(hit)
        follows = query.qtype not in (CNAME, ANY) if ground.as_records else query.qtype in (A, AAAA)
        if ground.cname is not None and follows:
            try:
                name = ground.cname_of(query.key)
            except ValueError:
                name = None
            if name is not None:
                return self._local(hit, waiter, name.lower(), now)
        data = refused(hit, waiter)
        return self._reply(waiter, data, "blocked") if data is not None else ()

    def _local(self, hit: Hit, waiter: Asked, name: bytes, now: float) -> Sequence[Effect]:
        """A rule that points to a name: clients do not follow an alias themselves, so its addresses come with it."""
        key = question_key(name, waiter.query.qtype, False, False)
        entry = self.cache.get(key, now)
        out: list[Effect] = []
        if entry is not None and entry.fresh(now):
            self._give_local(hit, waiter, self._answers(key, entry, now), now, out, entry.rcode)
            return out
        outstanding = self._outstanding(key, name, waiter.query.qtype, False, False, now, out)
        if outstanding is None or len(outstanding.waiters) >= self.config.max_waiters:
            self._give_local(hit, waiter, (), now, out)
        else:
            outstanding.waiters.append(waiter._replace(pointed=hit))
        return out

    def _give_local(
        self,
        hit: Hit,
        waiter: Asked,
        answers: Sequence[Record],
        now: float,
        out: list[Effect],
        rcode: int = NOERROR,
    ) -> None:
        """`rcode` is that of the name the rule points to, and so of the whole answer (RFC 6604 section 3)."""
        more = [encode_record(r.owner, r.rtype, min(r.ttl, MAX_LOCAL_TTL), r.rdata) for r in answers]
        data = refused(hit, waiter, more, rcode if rcode == NXDOMAIN else NOERROR)
        if data is not None:
            out += self._reply(waiter, data, "blocked")

    def _answers(self, key: bytes, entry: Entry, now: float) -> Sequence[Record]:
        return read_response(entry.aged(now), question_of(key)).answers

    def _seen(self, hit: Hit) -> None:
        """A canary was asked for through us: the prober's proof that this resolver enforces."""
        self._met(hit)
        if not hit.ground.counted and hit.ground.source.authority:
            self.counters.canaries[hit.ground.action] = self.wall

    def _met(self, hit: Hit) -> None:
        source = hit.ground.source
        if source.foreign:
            key = source.authority, hit.trigger, hit.action
            self.counters.zones[key] = self.counters.zones.get(key, 0) + 1

    def _answer(self, message: bytes, asked: Asked, entry: Entry, source: str, options: bytes = b"") -> bytes:
        flags, query = message[3] & 15, asked.query
        if entry.authentic and (query.do or query.flags & AD):
            flags |= AD
        if entry.stripped:
            options += reasons.STRIPPED_JSON if asked.as_json else reasons.STRIPPED
        if asked.origin:
            options += origin(f"{source} {self.health[entry.upstream].label}")
        return finished(asked, replayed(message, query, flags=flags), options)
