"""Rules compiled for lookup: a name or an address in, a Hit or nothing out; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from feeds.manifest import Canary
from feeds.message import Response
from feeds.rule import Action, Category, Rule, Target


@dataclass(frozen=True, slots=True)
class Source:
    """Where a layer's rules come from, as blocked answers tell it.

    `contact` is the e-mail address for objections; `contacts` gives, by decision notation, another text where the
    decision has its own. `foreign`: a plain list or another's zone, no decision behind it (EDE 15 instead of 16).
    """

    authority: str
    serial: int
    contact: str = ""
    contacts: Mapping[str, str] = field(default_factory=dict)
    foreign: bool = False
    zone: str = ""


class Ground:
    """What many rules share: action and data, category, decision, expiry (hour; the rule holds while hour < expires).

    `category` is None for canaries, exceptions and plain lists; `counted` is False for canaries and exceptions, which
    stay out of the blocked counters. `cname` is the wire name that `local` points to, if it is a name: the session
    resolves it and gives the records to `blocked_answer`.
    """

    __slots__ = ("action", "category", "cname", "counted", "data", "decision", "expires", "source")

    action: Action
    data: str
    category: Category | None
    decision: str
    expires: int
    source: Source
    counted: bool
    cname: bytes | None


class Hit(NamedTuple):
    """A rule that matched. `number` is the entry's, 0 if there is none; `target` is the rule's, as text."""

    ground: Ground
    number: int
    target: str

    @property
    def action(self) -> Action:
        return self.ground.action

    @property
    def entry(self) -> str:
        """`authority:number`, empty if no entry stands behind it."""
        raise NotImplementedError

    def lets_pass(self, over_tcp: bool) -> bool:
        """Resolve as if nothing had matched, and ask no further? (passthru; tcp_only over TCP)"""
        raise NotImplementedError


class Layer:
    """One list, compiled. Layers are asked in order and the first that matches decides."""

    @classmethod
    def compile(cls, rules: Iterable[Rule], *, source: Source, canaries: Iterable[Canary] = ()) -> "Layer":
        raise NotImplementedError

    @classmethod
    def of_exceptions(cls, targets: Iterable[Target]) -> "Layer":
        """The operator's own exceptions: passthru, never lapsing, not counted."""
        raise NotImplementedError

    @classmethod
    def of_list(cls, targets: Iterable[Target], *, source: Source) -> "Layer":
        """A plain list: nxdomain, never lapsing, no decision."""
        raise NotImplementedError


class Policy:
    """Immutable. A query is judged by one Policy from its first lookup to its answer."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        raise NotImplementedError

    @classmethod
    def compile(
        cls,
        rules: Iterable[Rule],
        *,
        source: Source,
        canaries: Iterable[Canary] = (),
        exceptions: Iterable[Target] = (),
    ) -> "Policy":
        """The operator's exceptions first, then the feed's rules. Lapsed rules are compiled, too, and never match."""
        raise NotImplementedError

    def by_name(self, key: bytes, hour: int) -> Hit | None:
        """`key` is a lower-cased wire name; `hour` is now in whole hours since 1970-01-01T00Z (`feeds.rule.hours`)."""
        raise NotImplementedError

    def by_address(self, version: int, address: int, hour: int) -> Hit | None:
        """The longest prefix in force that holds the address."""
        raise NotImplementedError

    def judge_answer(self, response: Response, hour: int) -> Hit | None:
        """Every CNAME and DNAME hop, SVCB/HTTPS targets and hints, then the addresses. Not for a query whose name
        got a Hit already: passthru there ends the matter."""
        raise NotImplementedError


EMPTY: Policy
