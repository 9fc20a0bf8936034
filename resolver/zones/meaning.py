"""What a zone's records mean: triggers and actions (draft-vixie-dnsop-dns-rpz sections 3 and 4); pure.

Zone semantics (RFC 4592). A name that is there, be it only for what stands below it, is matched by no wildcard above
it, and the names below it only by a wildcard right below it. So `*.P` becomes a rule that holds below P alone, and
each name that is there between a rule and the next wildcard above it becomes a stop.

A record that means nothing here is left out and counted by its reason, and the rest counts: nobody shall be able to
switch a zone off with one bad line.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from feeds.errors import Rejected
from feeds.language import N_
from feeds.message.building import encode_name
from feeds.message.words import AAAA, CNAME, IN, SOA, A, Record
from feeds.prefix import Prefix
from feeds.rule import Action
from resolver.policy import AnyTarget, Bound, ClientPrefix, Ground, LocalRecord, Source, WireName, records_text
from resolver.policy.layer import WILDCARD

# Why a record was left out: ids for metrics and `--json`, with their words.
REASONS: Final = {
    "outside": N_("it is not of this zone"),
    "class": N_("its class is not IN"),
    "name": N_("its name is too long, or * stands where it may not"),
    "prefix": N_("it is no prefix of 1 to 32 or 128 bits"),
    "type": N_("no policy can be made of its type"),
    "data": N_("its data are malformed"),
    "action": N_("its action is not known"),
    "trigger": N_("its trigger is not known"),
    "nsdname": N_("names of name servers are not looked at"),
    "nsip": N_("addresses of name servers are not looked at"),
    "duplicate": N_("it was there already"),
    "conflict": N_("CNAME and other records are at one name"),
    "size": N_("there are too many records at one name"),
    "syntax": N_("it cannot be read"),
    "directive": N_("files are not included, and records not generated"),
}
MAX_LOCAL_RECORDS: Final = 64
MAX_LOCAL_BYTES: Final = 8192
OVERRIDE_TTL_SECONDS: Final = 300

_ACTIONS: Final = {
    b"\0": Action.NXDOMAIN,
    WILDCARD + b"\0": Action.NODATA,
    encode_name("rpz-passthru"): Action.PASSTHRU,
    encode_name("rpz-drop"): Action.DROP,
    encode_name("rpz-tcp-only"): Action.TCP_ONLY,
}
_RESERVED: Final = b"rpz-"
_UNUSED: Final = {b"rpz-nsdname": "nsdname", b"rpz-nsip": "nsip"}
# NS, SOA, SIG, KEY, NXT, DNAME, OPT, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM; and what is no data (RFC 6895).
_NO_DATA: Final = frozenset({0, 2, 6, 24, 25, 30, 39, 41, 43, 46, 47, 48, 50, 51, *range(128, 256)})
_ADDRESS_BYTES: Final = {A: 4, AAAA: 16}
_WORD: Final = re.compile("[0-9a-f]{1,4}")


class Unusable(Exception):
    """The record means nothing; the reason is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Meaning:
    """Gathers a zone's records, then tells its rules.

    `zone` is its name, `override` what all rules are to do, `skipped` counts what means nothing.
    """

    def __init__(self, zone: bytes, override: tuple[Action, str] | None, skipped: Counter[str]) -> None:
        self.zone = zone
        self.soa: Record | None = None
        self.skipped = skipped
        self._override = override
        # By name (wire, relative to the zone, `*` kept) or prefix: an action, or the records to answer.
        self._rules: dict[bytes | Prefix | ClientPrefix, Action | list[LocalRecord]] = {}

    def add(self, record: Record) -> None:
        """Take one record; one that means nothing is counted in `skipped`."""
        try:
            self._add(record)
        except Unusable as why:
            self.skipped[why.reason] += 1

    def rules(self, source: Source, grounds: list[Ground]) -> Iterator[tuple[AnyTarget, int]]:
        """Each target with the index of its Ground, which is put into `grounds`."""
        known: dict[tuple[Action, str, Bound], int] = {}

        def ground(action: Action, data: str, bound: Bound) -> int:
            index = known.get((action, data, bound))
            if index is None:
                index = known[action, data, bound] = len(grounds)
                grounds.append(Ground(source, action, data, bound=bound, as_records=bool(data)))
            return index

        names: list[bytes] = []
        for target, meant in self._rules.items():
            action, data = self._override or (
                (meant, "") if isinstance(meant, Action) else (Action.LOCAL, records_text(meant))
            )
            if not isinstance(target, bytes):
                yield target, ground(action, data, Bound.NONE)
            elif target[:2] == WILDCARD:
                names.append(target)
                yield WireName(target[2:]), ground(action, data, Bound.BELOW)
            else:
                names.append(target)
                yield WireName(target, exact=True), ground(action, data, Bound.NONE)
        stop = -1
        for name in _stops(names):
            stop = ground(Action.PASSTHRU, "", Bound.STOP) if stop < 0 else stop
            yield WireName(name), stop

    def _add(self, record: Record) -> None:
        if record.rclass != IN:
            raise Unusable("class")
        owner = record.owner
        size = len(owner) - len(self.zone)
        if size < 0 or owner[size:] != self.zone:
            raise Unusable("outside")
        labels = _labels(owner[:size])
        if not labels:
            if record.rtype == SOA and self.soa is None:
                self.soa = record
            return
        target = _target(labels)
        name = owner[:size] + b"\0"
        if record.rtype == CNAME:
            self._alias(target, name, record)
        else:
            self._data(target, record)

    def _alias(self, target: bytes | Prefix | ClientPrefix, name: bytes, record: Record) -> None:
        pointed = record.rdata.lower()
        # An alias to itself is how PASSTHRU was written first.
        action = Action.PASSTHRU if pointed == name else _ACTIONS.get(pointed)
        meant: Action | list[LocalRecord] = [LocalRecord(CNAME, record.ttl, record.rdata)] if action is None else action
        if action is None and (_labels(pointed[:-1]) or [b""])[-1].startswith(_RESERVED):
            raise Unusable("action")
        if target in self._rules:
            raise Unusable("duplicate" if _is_alias(self._rules[target]) else "conflict")
        self._rules[target] = meant

    def _data(self, target: bytes | Prefix | ClientPrefix, record: Record) -> None:
        if record.rtype in _NO_DATA:
            raise Unusable("type")
        _check(record)
        held = self._rules.get(target, [])
        if isinstance(held, Action) or _is_alias(held):
            raise Unusable("conflict")
        made = LocalRecord(record.rtype, record.ttl, record.rdata)
        if any(one.rtype == made.rtype and one.rdata == made.rdata for one in held):
            raise Unusable("duplicate")
        if len(held) >= MAX_LOCAL_RECORDS or sum(len(one.rdata) for one in held) + len(made.rdata) > MAX_LOCAL_BYTES:
            raise Unusable("size")
        self._rules[target] = [*held, made]


def override_of(text: str) -> tuple[Action, str] | None:
    """What a zone's rules are to do whatever they say (BIND's `policy`): action and data; None for `given`.

    `nxdomain`, `nodata`, `passthru`, `drop`, `tcp-only`, `cname NAME`. Raises ValueError for anything else.
    """
    word, _space, name = text.strip().lower().partition(" ")
    if word == "given" and not name:
        return None
    if word == "cname" and name.strip():
        return Action.LOCAL, records_text([LocalRecord(CNAME, OVERRIDE_TTL_SECONDS, encode_name(name.strip()))])
    action = Action(word.replace("-", "_"))
    if name or action is Action.LOCAL:
        raise ValueError(text)
    return action, ""


def _is_alias(meant: Action | list[LocalRecord]) -> bool:
    return isinstance(meant, Action) or any(one.rtype == CNAME for one in meant)


def _labels(name: bytes) -> list[bytes]:
    """The labels of a name without its root. Raises Unusable where the last one is cut, and so ends in another name."""
    labels, at = [], 0
    while at < len(name):
        end = at + 1 + name[at]
        labels.append(name[at + 1 : end])
        at = end
    if at != len(name):
        raise Unusable("outside")
    return labels


def _target(labels: list[bytes]) -> bytes | Prefix | ClientPrefix:
    """What makes the rule match; labels are relative to the zone."""
    last = labels[-1]
    if last.startswith(_RESERVED):
        if last == b"rpz-ip":
            return _prefix(labels[:-1])
        if last == b"rpz-client-ip":
            return ClientPrefix(_prefix(labels[:-1]))
        raise Unusable(_UNUSED.get(last, "trigger"))
    if labels == [b"*"] or b"*" in labels[1:]:
        raise Unusable("name")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _prefix(labels: list[bytes]) -> Prefix:
    """`24.0.2.0.192`: length, then the octets backwards; or words of 16 bits, with `zz` for a run of zeros."""
    try:
        length, *parts = [label.decode("ascii") for label in labels]
        if len(parts) == 4 and "zz" not in parts:
            octets = [int(part) for part in reversed(parts) if _is_number(part, 3)]
            version, network = 4, int.from_bytes(bytes(octets)) if len(octets) == 4 else -1
        else:
            version, network = 6, _words(parts[::-1])
        bits = int(length) if _is_number(length, 3) else 0
        if not bits:
            raise ValueError
        return Prefix(version, network, bits)
    except (ValueError, Rejected):
        raise Unusable("prefix") from None


def _words(parts: list[str]) -> int:
    zeros = parts.count("zz")
    words = [int(part, 16) for part in parts if _WORD.fullmatch(part)]
    if zeros > 1 or len(words) + zeros != len(parts) or (len(words) != 8 if not zeros else len(words) > 7):
        raise ValueError
    at = parts.index("zz") if zeros else 8
    whole = words[:at] + [0] * (8 - len(words)) + words[at:]
    return int.from_bytes(b"".join(word.to_bytes(2) for word in whole))


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= most


def _check(record: Record) -> None:
    """Would a client's library read it? Raises Unusable."""
    size = _ADDRESS_BYTES.get(record.rtype)
    if size is not None:
        if len(record.rdata) != size:
            raise Unusable("data")
        return
    try:
        rtype = dns.rdatatype.RdataType.make(record.rtype)
        dns.rdata.from_wire(dns.rdataclass.IN, rtype, record.rdata, 0, len(record.rdata))
    except Exception:
        # dnspython raises whatever its parser of that type meets: struct.error, ValueError and more.
        raise Unusable("data") from None


def _stops(names: Iterable[bytes]) -> Iterator[bytes]:
    """The names that are there, at or above `names`, with a wildcard above and none right below them."""
    names = list(names)
    below = {name[2:] for name in names if name[:2] == WILDCARD}
    seen: set[bytes] = set()
    for name in names:
        here = name[2:] if name[:2] == WILDCARD else name
        path: list[bytes] = [] if here in below else [here]
        above = here[here[0] + 1 :]
        while len(above) > 1 and above not in below and above not in seen:
            path.append(above)
            above = above[above[0] + 1 :]
        if len(above) > 1:
            fresh = [one for one in path if one not in seen]
            seen.update(fresh)
            yield from fresh
