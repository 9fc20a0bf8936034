"""A stage for the session: messages made and read by dnspython, an independent witness, and a play to act in.

play = Play(blocks("bad.example"))
play.asks("ann", "www.good.example")          >> a client's query
ask = play.sent()                             << what went to the upstream
play.answers(ask, "www.good.example. 60 IN A 192.0.2.1")
play.told("ann")                              << what the client got
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import Action, Category, NameTarget, Rule, Scope
from resolver.effects import Ask, Effect, Forget, Note, Reply
from resolver.metrics import Counters
from resolver.policy import EMPTY, Policy, Source
from resolver.session import Config, Session

HOUR = 500_000
CLIENT = "192.0.2.77"
SOA = "example. 900 IN SOA ns.example. root.example. 1 3600 600 86400 120"
SOURCE = Source("tpa", 7, contact="objections@tpa.example")


def rule(
    target: str, action: Action = Action.NXDOMAIN, *, data: str = "", expires: int = HOUR + 100, number: int = 1
) -> Rule:
    """A rule for a name (with all below it) or a prefix."""
    it: Any = Prefix.of_text(target) if target[-1].isdigit() else NameTarget(DomainName(target), Scope.SUBTREE)
    return Rule(it, action, f"tpa:{number}", Category.GAMBLING, "12/QD-2026", expires, data)


def blocks(*targets: str, exceptions: Iterable[str] = ()) -> Policy:
    """A policy of nxdomain rules."""
    passed = [NameTarget(DomainName(name), Scope.SUBTREE) for name in exceptions]
    rules = [rule(target, number=number) for number, target in enumerate(targets, 1)]
    return Policy.compile(rules, source=SOURCE, exceptions=passed)


def compiled(*rules: Rule, **more: Any) -> Policy:
    return Policy.compile(rules, source=SOURCE, **more)


def query(name: str, rtype: str = "A", *, edns: bool = True, do: bool = False, flags: int = 0, **more: Any) -> bytes:
    """A client's query."""
    made = dns.message.make_query(name, rtype, use_edns=0 if edns else -1, want_dnssec=do, payload=1232, **more)
    made.flags |= flags
    return made.to_wire()


def response(
    asked: bytes,
    *answers: str,
    rcode: str = "NOERROR",
    authority: Iterable[str] = (),
    additional: Iterable[str] = (),
    flags: int = 0,
    ede: int | None = None,
) -> bytes:
    """An upstream's response to the query `asked`."""
    made = dns.message.make_response(dns.message.from_wire(asked), recursion_available=True)
    made.flags |= flags
    made.set_rcode(dns.rcode.from_text(rcode))
    for section, texts in ((made.answer, answers), (made.authority, authority), (made.additional, additional)):
        for text in texts:
            owner, ttl, rdclass, rdtype, rdata = text.split(" ", 4)
            section.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata))
    if ede is not None:
        made.use_edns(0, options=[dns.edns.EDEOption(ede)])
    return made.to_wire(max_size=65535)


def ede_of(message: dns.message.Message) -> list[tuple[int, str]]:
    """Extended DNS Errors of a message: (code, text)."""
    return [(int(o.code), o.text or "") for o in message.options if isinstance(o, dns.edns.EDEOption)]


def lines(message: dns.message.Message) -> list[str]:
    """The answer section, one record a line: `www.good.example. 60 IN A 192.0.2.1`."""
    return [line for rrset in message.answer for line in rrset.to_text().splitlines()]


@dataclass
class Play:
    """One session with its clock and everything it wanted done."""

    policy: Policy = EMPTY
    upstreams: tuple[str, ...] = ("up0",)
    now: float = 1000.0
    seed: int = 1
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counters = Counters()
        config = Config(self.upstreams, **self.config)
        self.session = Session(self.policy, HOUR, config, Random(self.seed), self.counters)
        self.open: dict[int, Ask] = {}
        self.asked: list[Ask] = []
        self.replies: list[tuple[Any, bytes]] = []
        self.notes: list[Note] = []

    def does(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self.replies.append((effect.client, effect.data))
            elif isinstance(effect, Ask):
                assert effect.token not in self.open
                self.open[effect.token] = effect
                self.asked.append(effect)
            elif isinstance(effect, Forget):
                del self.open[effect.token]
            else:
                self.notes.append(effect)

    def asks(self, client: str, name: str, rtype: str = "A", *, tcp: bool = False, **more: Any) -> None:
        host = more.pop("host", CLIENT)
        self.says(client, query(name, rtype, **more), tcp=tcp, host=host)

    def says(self, client: str, data: bytes, *, tcp: bool = False, host: str = CLIENT, local: bool = False) -> None:
        self.does(self.session.query(data, client, tcp, self.now, local, host))

    def sent(self) -> Ask:
        """The one message that went to an upstream since the last look."""
        assert len(self.asked) == 1, self.asked
        return self.asked.pop()

    def answers(self, ask: Ask, *answers: str, **more: Any) -> None:
        self.hears(ask, response(ask.data, *answers, **more))

    def hears(self, ask: Ask, data: bytes) -> None:
        self.does(self.session.received(ask.token, data, self.now))

    def refuses(self, ask: Ask) -> None:
        # The edge has closed the socket before it says so.
        self.does(self.session.unreachable(ask.token, self.now))

    def waits(self, seconds: float) -> None:
        """Let time pass, waking the session whenever it wants to be."""
        until = self.now + seconds
        for _wake in range(1000):
            wake = self.session.wake_at
            if wake is None or wake > until:
                break
            self.now = max(self.now, wake)
            self.does(self.session.due(self.now))
        else:
            raise AssertionError("the session does not stop waking itself")
        self.now = until

    def told(self, client: str) -> dns.message.Message:
        """The one reply since the last look, which must be to this client."""
        assert [c for c, _data in self.replies] == [client], [c for c, _data in self.replies]
        return dns.message.from_wire(self.replies.pop()[1])

    def silent(self) -> bool:
        """Has nobody been told or asked anything since the last look?"""
        return not self.replies and not self.asked
