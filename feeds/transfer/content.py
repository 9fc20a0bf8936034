"""A release at an hour as the records of an RPZ zone, in wire form: a pure function of the two, in a stream.

A record is kept as bytes: the owner's labels relative to the zone, a zero octet, the type, the RDATA. Records rise in
`order`.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from ipaddress import ip_address
from struct import Struct

from feeds.manifest import CHANGE_KINDS, Manifest, change_kind
from feeds.message.building import encode_name, soa_rdata
from feeds.message.words import AAAA, CNAME, NS, PTR, SOA, TXT, A
from feeds.name import DomainName
from feeds.render import rpz
from feeds.render.form import count
from feeds.rule import Action, Category, NameTarget, Rule

_type = Struct("!H").pack
_TYPES = {"A": A, "AAAA": AAAA, "CNAME": CNAME}
_LOCALHOST = encode_name("localhost")
_RPZ_IP = b"\x06rpz-ip\0"
NS_RECORD = b"\0" + _type(NS) + _LOCALHOST


class Picked(Iterator[Rule]):
    """Those of a release's rules that a zone shows at `hour` (since 1970): in force, of its categories (none: all).

    When it has ended, `lapsed` holds the distinct expiry hours already passed among the zone's rules, `next_lapse` the
    next one (None: no rule), and `left_out` counts the rules that have lapsed.
    """

    def __init__(self, rules: Iterable[Rule], hour: int, categories: frozenset[Category], names_only: bool) -> None:
        self.lapsed: set[int] = set()
        self.next_lapse: int | None = None
        self.left_out: dict[str, int] = {}
        self._rules = self._pick(rules, hour, categories, names_only)

    def __next__(self) -> Rule:
        return next(self._rules)

    def _pick(
        self, rules: Iterable[Rule], hour: int, categories: frozenset[Category], names_only: bool
    ) -> Iterator[Rule]:
        for rule in rules:
            if categories and rule.category not in categories:
                continue
            shown = not names_only or isinstance(rule.target, NameTarget)
            if rule.expires > hour:
                if shown and (self.next_lapse is None or rule.expires < self.next_lapse):
                    self.next_lapse = rule.expires
                yield rule
            elif shown:
                self.lapsed.add(rule.expires)
                count(self.left_out, "expired")


def kinds_shown(categories: frozenset[Category], names_only: bool) -> tuple[str, ...]:
    """The kinds of rules (`feeds.manifest.change_kind`) that a zone shows."""
    shown = categories or frozenset(Category)
    names = {change_kind(category, True) for category in shown}
    prefixes = set() if names_only else {change_kind(category, False) for category in shown}
    return tuple(kind for kind in CHANGE_KINDS if kind in names | prefixes)


def zone_records(
    rules: Iterable[Rule], manifest: Manifest, zone: DomainName, names_only: bool, left_out: dict[str, int]
) -> Iterator[bytes]:
    """All records of the zone but its SOA; `rules` in canonical order, what cannot be said is counted in `left_out`."""
    yield NS_RECORD
    tails: dict[tuple[Action, str], tuple[bytes, ...]] = {}
    last, wire = "", b"\0"
    for owner, rule in rpz.policies(rules, manifest, zone, names_only, left_out):
        # A wildcard follows its name.
        if owner[:2] == "*." and owner[2:] == last:
            start = b"\x01*" + wire
        else:
            start = wire = encode_name(owner)
            last = owner
        kind = rule.action, rule.data
        if kind not in tails:
            tails[kind] = tuple(_tail(*pair) for pair in rpz.rdatas(rule))
        for tail in tails[kind]:
            yield start + tail


def catalog_records(zones: Iterable[DomainName]) -> Iterator[bytes]:
    """The records of a catalog zone (RFC 9432 section 4) that lists these zones."""
    yield b"\0" + _type(NS) + encode_name("invalid")
    yield encode_name("version") + _type(TXT) + b"\x012"
    # A member keeps its label as long as it keeps its name; canonical order is that of the labels.
    for label, zone in sorted((sha256(zone.wire).hexdigest()[:32], zone) for zone in zones):
        yield encode_name(f"{label}.zones") + _type(PTR) + zone.wire


def soa_record(mailbox: str, serial: int) -> bytes:
    """The SOA; `mailbox` is an RNAME in presentation form."""
    rdata = soa_rdata(
        _LOCALHOST,
        encode_rname(mailbox),
        serial,
        rpz.REFRESH_SECONDS,
        rpz.RETRY_SECONDS,
        rpz.EXPIRE_SECONDS,
        rpz.TTL_SECONDS,
    )
    return b"\0" + _type(SOA) + rdata


def encode_rname(text: str) -> bytes:
    """An RNAME in wire form; `\\.` is a dot inside the first label."""
    labels = text.removesuffix(".").replace("\\.", "\0").split(".")
    parts = [label.replace("\0", ".").encode() for label in labels]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def owner_of(record: bytes) -> bytes:
    """Its owner, relative to the zone, with the zero octet."""
    return record[: record.index(0) + 1]


def order(record: bytes) -> tuple[bool, list[bytes]]:
    """What records rise in: names before addresses, each in canonical order of owners (RFC 4034 section 6.1)."""
    owner = owner_of(record)
    labels, place = [], 0
    while owner[place]:
        labels.append(owner[place + 1 : place + 1 + owner[place]])
        place += owner[place] + 1
    return owner.endswith(_RPZ_IP), labels[::-1]


def differences(old: Iterator[bytes], new: Iterator[bytes], most: int) -> tuple[list[bytes], list[bytes]] | None:
    """Records to take away from `old` and to add to make `new`; None where they are more than `most` together."""
    removed: list[bytes] = []
    added: list[bytes] = []
    a, b = next(old, None), next(new, None)
    while a is not None or b is not None:
        if a == b:
            a, b = next(old, None), next(new, None)
            continue
        if len(removed) + len(added) > most:
            return None
        side = _first(a, b)
        gone: list[bytes] = []
        come: list[bytes] = []
        if side <= 0:
            gone, a = _owned(a, old)
        if side >= 0:
            come, b = _owned(b, new)
        removed += [record for record in gone if record not in come]
        added += [record for record in come if record not in gone]
    return removed, added


def _first(a: bytes | None, b: bytes | None) -> int:
    """Below zero: `a` comes first; above: `b`; zero: they have one owner."""
    if a is None or b is None:
        return 1 if a is None else -1
    left, right = order(a), order(b)
    return (left > right) - (left < right)


def _owned(first: bytes | None, rest: Iterator[bytes]) -> tuple[list[bytes], bytes | None]:
    """The records at the owner of `first`, and the one that follows them."""
    assert first is not None  # noqa: S101 - `_first` chose this side
    owner, group = owner_of(first), [first]
    for record in rest:
        if not record.startswith(owner):
            return group, record
        group.append(record)
    return group, None


def _tail(kind: str, text: str) -> bytes:
    rdata = encode_name(text.removesuffix(".")) if kind == "CNAME" else ip_address(text).packed
    return _type(_TYPES[kind]) + rdata
