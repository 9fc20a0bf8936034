"""Which upstream to ask next, how long to wait for it, when to call it down and when to try it again. Pure.

An upstream is down after three losses in a row. A down one is left alone for a time that doubles with each lost
probe, from one second to a minute; then one probe (never a user's query) is sent. While all are down, user queries
still go to the one whose probe is nearest, since a wrong judgement must not become an outage.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random

LOSSES_UNTIL_DOWN = 3
FIRST_BACKOFF = 1.0  # seconds
LAST_BACKOFF = 60.0
TRY_ANYWAY = 1 / 32  # of all questions go to any that is up, so that each one's quickness stays known
SHORTEST_WAIT = 0.3
LONGEST_WAIT = 1.5
FIRST_GUESS = 0.2
FOLDED_SECONDS = 3600.0


@dataclass(slots=True, eq=False)
class Upstream:
    """State of one upstream. `rtt` is smoothed, in seconds (RFC 6298 section 2, without the variance)."""

    label: str
    up: bool = True
    losses: int = 0
    rtt: float = FIRST_GUESS
    backoff: float = FIRST_BACKOFF
    probe_at: float = 0.0
    folds_until: float = 0.0

    def keeps_case(self, now: float) -> bool:
        """Does it echo the letter case of a question, as far as we know? (draft-vixie-dnsext-dns0x20)"""
        return now >= self.folds_until

    def folds_case(self, now: float) -> None:
        """It was seen, over TCP, to fold case; try again in an hour."""
        self.folds_until = now + FOLDED_SECONDS

    @property
    def wait(self) -> float:
        """Seconds to wait for an answer before another attempt is made beside it."""
        return min(max(SHORTEST_WAIT, self.rtt * 3), LONGEST_WAIT)


class Health:
    """The upstreams of one resolver, by index."""

    def __init__(self, labels: Sequence[str], rng: Random) -> None:
        self.upstreams = tuple(Upstream(label) for label in labels)
        self._rng = rng

    def __getitem__(self, index: int) -> Upstream:
        return self.upstreams[index]

    def choose(self, asked: Collection[int]) -> int:
        """One to ask: up and not `asked` before, if there is such; of two drawn at random the quicker one."""
        every = range(len(self.upstreams))
        up = [i for i in every if self.upstreams[i].up]
        fresh = [i for i in up if i not in asked]
        pool = fresh or up
        if not pool:
            pool = [i for i in every if i not in asked] or list(every)
            return min(pool, key=lambda i: self.upstreams[i].probe_at)
        if len(pool) == 1 or self._rng.random() < TRY_ANYWAY:
            return self._rng.choice(pool)
        return min(self._rng.sample(pool, 2), key=lambda i: self.upstreams[i].rtt)

    def answered(self, index: int, seconds: float | None) -> bool:
        """It answered, after `seconds` (None: unknown, as after a resend). True if it was down until now."""
        upstream = self.upstreams[index]
        was_down = not upstream.up
        upstream.up, upstream.losses, upstream.backoff = True, 0, FIRST_BACKOFF
        if seconds is not None:
            upstream.rtt += (seconds - upstream.rtt) / 8
        return was_down

    def lost(self, index: int, now: float, probe: bool = False) -> bool:
        """It did not answer. True if this is what takes it down."""
        upstream = self.upstreams[index]
        upstream.losses += 1
        upstream.rtt = min(upstream.rtt * 2, LONGEST_WAIT)
        if not upstream.up:
            if probe:
                upstream.backoff = min(upstream.backoff * 2, LAST_BACKOFF)
                upstream.probe_at = now + upstream.backoff
            return False
        if upstream.losses < LOSSES_UNTIL_DOWN:
            return False
        upstream.up = False
        upstream.probe_at = now + upstream.backoff
        return True

    def probes_due(self, now: float) -> list[int]:
        """Down upstreams to probe now; each is left alone until its probe is settled."""
        due = [i for i, u in enumerate(self.upstreams) if not u.up and now >= u.probe_at]
        for i in due:
            self.upstreams[i].probe_at = now + LAST_BACKOFF
        return due

    def next_probe(self) -> float | None:
        """When `probes_due` will next have something to say."""
        return min((u.probe_at for u in self.upstreams if not u.up), default=None)
