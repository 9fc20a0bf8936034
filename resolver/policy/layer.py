"""One list compiled: where its rules come from, what they share, and what matches.

A name's rule is one integer (entry number and index of its Ground), so a million names cost about 100 MB.
"""

from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import ip_address
from struct import Struct
from typing import Final, NamedTuple, Protocol

from feeds.canary import canary_rule
from feeds.manifest import Canary
from feeds.message.building import encode_name, name_text
from feeds.message.words import CNAME, MAX_NAME_BYTES
from feeds.prefix import Prefix
from feeds.rule import Action, Category, NameTarget, Rule, Scope, Target

NEVER: Final = 1 << 40
GROUND_BITS: Final = 24
GROUND_MASK: Final = (1 << GROUND_BITS) - 1
WILDCARD: Final = b"\x01*"
_record = Struct("!HIH")
_ADDRESS_BITS: Final = {4: 32, 6: 128}
_LENGTH_OCTETS: Final = [chr(n) for n in range(64)]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a layer's rules come from, as blocked answers tell it.

    `contact` is the e-mail address for objections; `contacts` gives, by decision notation, another text where the
    decision has its own. `foreign`: a plain list or another's zone, no decision behind it (EDE 15 instead of 16).
    `zone` is the policy zone's name, owner of the SOA in blocked answers; `rpz.AUTHORITY` where it is empty.
    """

    authority: str
    serial: int
    contact: str = ""
    contacts: Mapping[str, str] = field(default_factory=dict)
    foreign: bool = False
    zone: str = ""


class Bound(IntEnum):
    """How far a rule among the subtrees holds.

    BELOW and STOP are what the wildcards and empty non-terminals of a zone come to (RFC 4592): a name that is there
    is matched by no wildcard above it. Both end the search of their layer where they match nothing.
    """

    NONE = 0  # its own name and all below it
    BELOW = 1  # the names below it; its own name matches nothing
    STOP = 2  # neither: nothing at its name and below it matches in this layer


class LocalRecord(NamedTuple):
    """A record that a foreign zone wants answered; `rdata` as in a message, without pointers."""

    rtype: int
    ttl: int
    rdata: bytes


class Ground:
    """What many rules share: action and data, category, decision, expiry (hour; the rule holds while hour < expires).

    `category` is None for canaries, exceptions and plain lists; `counted` is False for canaries and exceptions, which
    stay out of the blocked counters. `as_records`: `data` of `local` is base64 of records (`records_text`), not
    addresses or a name. `cname` is the wire name that `local` points to, if it is a name: the session resolves it and
    gives the records to `blocked_answer`; a first label `*` of it stands for the name asked for (`cname_of`). `pieces`
    is where `resolver.answer` keeps what it prebuilt.
    """

    __slots__ = (
        "action", "as_records", "bound", "category", "cname", "counted", "data", "decision", "expires", "pieces",
        "records", "source",
    )  # fmt: skip

    def __init__(
        self,
        source: Source,
        action: Action,
        data: str = "",
        category: Category | None = None,
        decision: str = "",
        expires: int = NEVER,
        counted: bool = True,
        bound: Bound = Bound.NONE,
        as_records: bool = False,
    ) -> None:
        self.source = source
        self.action = action
        self.data = data
        self.category = category
        self.decision = decision
        self.expires = expires
        self.counted = counted
        self.bound = bound
        self.as_records = as_records
        self.records = records_of(data) if as_records else ()
        self.cname: bytes | None = None
        if as_records:
            self.cname = next((record.rdata for record in self.records if record.rtype == CNAME), None)
        elif data and ":" not in data and not data.rpartition(".")[2].isdigit():
            self.cname = encode_name(data)
        self.pieces: object = None

    def cname_of(self, name: bytes) -> bytes | None:
        """Where an alias at `name` (wire) points to: `name` comes before the rest of a target that begins with `*`.

        Raises ValueError where that makes no name, being too long.
        """
        if self.cname is None or self.cname[:2] != WILDCARD:
            return self.cname
        made = name[:-1] + self.cname[2:]
        if len(made) > MAX_NAME_BYTES:
            raise ValueError("too long a name")
        return made


class Hit(NamedTuple):
    """A rule that matched. `number` is the entry's, 0 if there is none.

    `matched` is the rule's own name (wire, lower case) or prefix; `exact` if it holds for that name alone.
    """

    ground: Ground
    number: int
    matched: "bytes | Prefix | ClientPrefix"
    exact: bool = False

    @property
    def action(self) -> Action:
        return self.ground.action

    @property
    def trigger(self) -> str:
        """What of a query met the rule, in the words of RPZ: `qname`, `client-ip`, `ip`."""
        return _TRIGGERS[type(self.matched)]

    @property
    def entry(self) -> str:
        """`authority:number`, empty if no entry stands behind it."""
        return f"{self.ground.source.authority}:{self.number}" if self.number else ""

    @property
    def target(self) -> str:
        """The rule's target as text: `name` (with all below it), `=name` (that alone), `*.name`, a prefix; or a
        client's, with `client=` before it."""
        matched = self.matched
        if isinstance(matched, ClientPrefix):
            return f"client={matched.prefix}"
        if isinstance(matched, Prefix):
            return str(matched)
        return ("=" if self.exact else "*." if self.ground.bound else "") + name_text(matched)

    def lets_pass(self, over_tcp: bool) -> bool:
        """Resolve as if nothing had matched, and ask no further? (passthru; tcp_only over TCP)"""
        action = self.ground.action
        return action is Action.PASSTHRU or (over_tcp and action is Action.TCP_ONLY)


class PrefixSpans:
    """Prefixes of one IP version as disjoint spans; each span knows its longest prefix, each prefix the next wider.

    `starts[i]` begins span i, which ends where the next begins; `owners[i]` is an index into `rules`, -1 for a gap.
    A rule is (prefix, value, index of the next wider rule that holds it or -1).
    """

    __slots__ = ("owners", "rules", "starts")

    def __init__(self, found: Iterable[tuple[Prefix, int]]) -> None:
        self.starts: list[int] = []
        self.owners: list[int] = []
        self.rules: list[tuple[Prefix, int, int]] = []
        stack: list[tuple[int, int]] = []  # (last address, index of the rule), widest first
        for prefix, value in sorted(found, key=lambda pair: (pair[0].network, pair[0].length)):
            while stack and stack[-1][0] < prefix.network:
                self._close(stack)
            index = len(self.rules)
            self.rules.append((prefix, value, stack[-1][1] if stack else -1))
            self._begin(prefix.network, index)
            stack.append((prefix.last, index))
        while stack:
            self._close(stack)

    def _close(self, stack: list[tuple[int, int]]) -> None:
        last, index = stack.pop()
        # Behind the last address of all no span begins.
        if last + 1 < 1 << _ADDRESS_BITS[self.rules[index][0].version] and (not stack or stack[-1][0] > last):
            self._begin(last + 1, stack[-1][1] if stack else -1)

    def _begin(self, start: int, owner: int) -> None:
        if self.starts and self.starts[-1] == start:
            self.owners[-1] = owner
        else:
            self.starts.append(start)
            self.owners.append(owner)

    def find(self, address: int, grounds: list[Ground], hour: int) -> Hit | None:
        """The longest prefix in force that holds the address."""
        place = bisect_right(self.starts, address) - 1
        owner = self.owners[place] if place >= 0 else -1
        while owner >= 0:
            prefix, value, owner = self.rules[owner]
            ground = grounds[value & GROUND_MASK]
            if hour < ground.expires:
                return Hit(ground, value >> GROUND_BITS, prefix)
        return None


class WireName(NamedTuple):
    """A target as a foreign zone has it: a lower-cased wire name of any octets, but the root."""

    name: bytes
    exact: bool = False


class ClientPrefix(NamedTuple):
    """A target that is not what an answer holds but who asks."""

    prefix: Prefix


AnyTarget = Target | WireName | ClientPrefix


_TRIGGERS: Final[Mapping[type, str]] = {bytes: "qname", Prefix: "ip", ClientPrefix: "client-ip"}


class Rules(Protocol):
    """One list, compiled: a Layer in this process's own memory, or an Image that all processes share."""

    @property
    def has_names(self) -> bool: ...

    @property
    def has_prefixes(self) -> bool: ...

    @property
    def has_clients(self) -> bool: ...

    def __len__(self) -> int: ...

    def by_name(self, key: bytes, hour: int) -> Hit | None: ...

    def by_addresses(self, addresses: Iterable[tuple[int, int]], hour: int) -> Hit | None: ...

    def by_client(self, version: int, address: int, hour: int) -> Hit | None: ...


class Layer:
    """One list, compiled. Layers are asked in order and the first that matches decides.

    `exact` and `subtree` map a lower-cased wire name to its rule: entry number << 24 | index into `grounds`.
    """

    __slots__ = ("clients", "exact", "grounds", "prefixes", "source", "subtree")

    def __init__(self, source: Source, grounds: list[Ground], found: Iterable[tuple[AnyTarget, int]]) -> None:
        self.source = source
        self.grounds = grounds
        self.exact: dict[bytes, int] = {}
        self.subtree: dict[bytes, int] = {}
        addresses: dict[Prefix, int] = {}
        clients: dict[Prefix, int] = {}
        exact, subtree, exactly = self.exact, self.subtree, Scope.EXACT
        for target, value in found:
            if isinstance(target, NameTarget):
                (exact if target.scope is exactly else subtree)[wire(target.name.text)] = value
            elif isinstance(target, WireName):
                (exact if target.exact else subtree)[target.name] = value
            elif isinstance(target, ClientPrefix):
                clients.setdefault(target.prefix, value)
            else:
                addresses.setdefault(target, value)
        self.prefixes, self.clients = _by_version(addresses), _by_version(clients)

    @property
    def has_names(self) -> bool:
        return bool(self.exact or self.subtree)

    @property
    def has_prefixes(self) -> bool:
        return bool(self.prefixes)

    @property
    def has_clients(self) -> bool:
        return bool(self.clients)

    def __len__(self) -> int:
        """How many rules it holds; a STOP is none."""
        stops = sum(self.grounds[value & GROUND_MASK].bound is Bound.STOP for value in self.subtree.values())
        spans = (*self.prefixes.values(), *self.clients.values())
        return len(self.exact) + len(self.subtree) - stops + sum(len(p.rules) for p in spans)

    @classmethod
    def compile(cls, rules: Iterable[Rule], *, source: Source, canaries: Iterable[Canary] = ()) -> "Layer":
        """A feed's rules and its canaries. Prefixes limited to ports are left out: an address in an answer has none.

        A canary comes before a rule of the same name; one that may not be (`feeds.canary`) is left out.
        """
        grounds: list[Ground] = []
        return cls(source, grounds, numbered(rules, canaries, source, grounds))

    @classmethod
    def of_exceptions(cls, targets: Iterable[Target]) -> "Layer":
        """The operator's own exceptions: passthru, never lapsing, not counted."""
        source = Source("", 0)
        return cls(source, [Ground(source, Action.PASSTHRU, counted=False)], ((target, 0) for target in targets))

    @classmethod
    def of_list(cls, targets: Iterable[Target], *, source: Source) -> "Layer":
        """A plain list: nxdomain, never lapsing, no decision."""
        return cls(source, [Ground(source, Action.NXDOMAIN)], ((target, 0) for target in targets))

    def by_name(self, key: bytes, hour: int) -> Hit | None:
        """The exact rule at the name, else the subtree rule of its nearest ancestor or itself, if in force."""
        if self.exact:
            value = self.exact.get(key)
            if value is not None:
                ground = self.grounds[value & GROUND_MASK]
                if hour < ground.expires:
                    return Hit(ground, value >> GROUND_BITS, key, True)
        find, size = self.subtree.get, len(key)
        while len(key) > 1:
            value = find(key)
            if value is not None:
                ground = self.grounds[value & GROUND_MASK]
                if hour < ground.expires:
                    if ground.bound and (ground.bound is Bound.STOP or len(key) == size):
                        return None
                    return Hit(ground, value >> GROUND_BITS, key)
            key = key[key[0] + 1 :]
        return None

    def by_client(self, version: int, address: int, hour: int) -> Hit | None:
        """The longest prefix of clients in force that holds the address."""
        spans = self.clients.get(version)
        return as_client(spans.find(address, self.grounds, hour)) if spans else None

    def by_addresses(self, addresses: Iterable[tuple[int, int]], hour: int) -> Hit | None:
        """The nearest over all (version, address); see `nearest`."""
        return nearest(addresses, lambda version, address: self._by_address(version, address, hour))

    def _by_address(self, version: int, address: int, hour: int) -> Hit | None:
        prefixes = self.prefixes.get(version)
        return prefixes.find(address, self.grounds, hour) if prefixes else None


def _by_version(prefixes: Mapping[Prefix, int]) -> dict[int, PrefixSpans]:
    return {
        version: PrefixSpans((prefix, value) for prefix, value in prefixes.items() if prefix.version == version)
        for version in {prefix.version for prefix in prefixes}
    }


def records_text(records: Iterable[LocalRecord]) -> str:
    """Records as the `data` of a Ground: base64 of type, TTL and size (u16, u32, u16, big-endian) and RDATA of each."""
    return b64encode(b"".join(_record.pack(r.rtype, r.ttl, len(r.rdata)) + r.rdata for r in records)).decode()


def records_of(text: str) -> tuple[LocalRecord, ...]:
    """The reverse of `records_text`."""
    data, at, found = b64decode(text), 0, []
    while at < len(data):
        rtype, ttl, size = _record.unpack_from(data, at)
        at += _record.size + size
        found.append(LocalRecord(rtype, ttl, data[at - size : at]))
    return tuple(found)


def client_address(host: str) -> tuple[int, int]:
    """Version and number of an address as text; an IPv4 address written as IPv6 (RFC 4291) is one of IPv4."""
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if address.version == 6 else None
    return (4, int(mapped)) if mapped is not None else (address.version, int(address))


def as_client(hit: Hit | None) -> Hit | None:
    """The same, as a rule about who asks."""
    return hit._replace(matched=ClientPrefix(hit.matched)) if hit and isinstance(hit.matched, Prefix) else hit


def nearest(addresses: Iterable[tuple[int, int]], find: Callable[[int, int], Hit | None]) -> Hit | None:
    """Of all (version, address) the one under the longest prefix; an IPv4 length counts 96 more, as in RPZ."""
    best: Hit | None = None
    best_rank = (0, 0)
    for version, address in addresses:
        hit = find(version, address)
        if hit is not None and isinstance(hit.matched, Prefix):
            rank = (-hit.matched.length - (96 if version == 4 else 0), address)
            if best is None or rank < best_rank:
                best, best_rank = hit, rank
    return best


def wire(text: str) -> bytes:
    """The wire form of a canonical name; `DomainName.wire` does the same, four times slower."""
    octets = _LENGTH_OCTETS
    return "".join([octets[len(label)] + label for label in text.split(".")]).encode("ascii") + b"\0"


def numbered(
    rules: Iterable[Rule], canaries: Iterable[Canary], source: Source, grounds: list[Ground]
) -> Iterator[tuple[Target, int]]:
    """Each target with its value; fills `grounds`."""
    known: dict[tuple[object, ...], int] = {}
    for rule in rules:
        target = rule.target
        if rule.limits.protocol and isinstance(target, Prefix):
            continue
        key = (rule.action, rule.data, rule.category, rule.decision, rule.expires)
        index = known.get(key)
        if index is None:
            index = known[key] = len(grounds)
            grounds.append(Ground(source, rule.action, rule.data, rule.category, rule.decision, rule.expires))
        yield target, int(rule.entry.rpartition(":")[2]) << GROUND_BITS | index
    for canary in canaries:
        made = canary_rule(canary, source.authority)
        if made is not None:
            grounds.append(Ground(source, made.action, made.data, counted=False))
            yield made.target, len(grounds) - 1
