"""What is enforced: targets, actions, limits, and the Rule that ties them to an entry and its decision."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from feeds.errors import Rejected
from feeds.language import N_, _
from feeds.name import DomainName
from feeds.prefix import Prefix

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_SERIAL = 4_294_966  # an RPZ zone's SOA serial is a thousand times this and has 32 bits


class Serial(int):
    """Number of a release: 1, 2, 3 ...; never reused, never backwards."""

    def __new__(cls, value: int) -> "Serial":
        if not 1 <= value <= MAX_SERIAL:
            raise Rejected(_("a serial is a number from 1 to {max}").format(max=MAX_SERIAL), rule="serial.range")
        return super().__new__(cls, value)


class Category(StrEnum):
    """The closed list of crimes. There is none for opinion, press or politics, and no free-text one."""

    PHISHING = "phishing"
    MALWARE = "malware"
    BOTNET = "botnet"
    FRAUD = "fraud"
    CSAM = "csam"
    GAMBLING = "gambling"
    ILLEGAL_TRADE = "illegal_trade"
    SPAM = "spam"
    COURT_ORDER = "court_order"


CATEGORY_WORDS = {
    Category.PHISHING: N_("phishing"),
    Category.MALWARE: N_("malware"),
    Category.BOTNET: N_("botnet control"),
    Category.FRAUD: N_("fraud"),
    Category.CSAM: N_("child sexual abuse material"),
    Category.GAMBLING: N_("illegal gambling"),
    Category.ILLEGAL_TRADE: N_("illegal trade"),
    Category.SPAM: N_("spam landing page"),
    Category.COURT_ORDER: N_("court ruling"),
}


class Action(StrEnum):
    """What a resolver does with a match; RPZ's words (draft-vixie-dnsop-dns-rpz section 3)."""

    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    PASSTHRU = "passthru"
    DROP = "drop"
    TCP_ONLY = "tcp_only"
    LOCAL = "local"


class Scope(StrEnum):
    """`exact`: this name alone. `subtree`: this name and every name below it."""

    EXACT = "exact"
    SUBTREE = "subtree"


@dataclass(frozen=True, slots=True)
class NameTarget:
    """A domain name with its scope."""

    name: DomainName
    scope: Scope

    def __str__(self) -> str:
        return self.name.text if self.scope is Scope.SUBTREE else f"={self.name.text}"


Target = NameTarget | Prefix


@dataclass(frozen=True, slots=True)
class Limits:
    """Restriction of a prefix to a protocol and ports. `ports` are sorted, disjoint (low, high) pairs; () is all."""

    protocol: str = ""
    ports: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        good = self.protocol in ("", "tcp", "udp") and (bool(self.protocol) or not self.ports)
        last = -1
        for low, high in self.ports:
            good = good and 1 <= low <= high <= 65535 and low > last + 1
            last = high
        if not good:
            raise Rejected(
                _("a limit is tcp or udp and ports from 1 to 65535, as in tcp/80,443,8000-8100"), rule="limits.form"
            )

    def __str__(self) -> str:
        if not self.protocol:
            return "-"
        ports = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in self.ports)
        return f"{self.protocol}/{ports}" if ports else self.protocol

    @classmethod
    def parse(cls, text: str) -> "Limits":
        """Read `-`, `tcp`, `udp/53`, `tcp/443,80,8000-8100`; neighbouring and overlapping ranges are joined."""
        text = text.strip().lower()
        if text in ("", "-"):
            return NO_LIMITS
        protocol, slash, rest = text.partition("/")
        found = re.fullmatch(r"\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*", rest.replace(" ", ""))
        if slash and found is None:
            raise Rejected(
                _("«{text}»: ports are written as 80,443 or 8000-8100").format(text=text), rule="limits.form"
            )
        pairs = [tuple(map(int, part.split("-"))) for part in found.group().split(",")] if found else []
        return cls(protocol, _joined((pair[0], pair[-1]) for pair in pairs))


NO_LIMITS = Limits()
_ENTRY = re.compile(r"[a-z0-9][a-z0-9-]{0,31}:[1-9][0-9]{0,11}\Z")
_AUTHORITY = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
_EXTRA_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}\Z")
_HOUR = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d)Z\Z")


@dataclass(frozen=True, slots=True)
class Rule:
    """What is enforced of an entry.

    `data` belongs to action `local`: addresses separated by commas, or one name (a CNAME); empty otherwise.
    `entry` is `authority:number`. `decision` is the decision's notation. `expires` is in whole hours since
    1970-01-01T00Z; the rule is in force while now < expires. `extra` are fields of a later version whose keys
    begin with a small letter, kept as they came (see `feeds.canonical`).
    """

    target: Target
    action: Action
    entry: str
    category: Category
    decision: str
    expires: int
    data: str = ""
    limits: Limits = NO_LIMITS
    extra: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        check_entry(self.entry)
        if not good_text(self.decision, 200):
            raise Rejected(_("entry {entry} names no decision").format(entry=self.entry), rule="rule.decision")
        if not 0 < self.expires < 3_000_000:
            raise Rejected(_("entry {entry} has no valid expiry").format(entry=self.entry), rule="rule.expiry")
        if self.data or self.action is Action.LOCAL:
            _check_local(self)
        if self.limits is not NO_LIMITS and self.limits.protocol and isinstance(self.target, NameTarget):
            raise Rejected(
                _("entry {entry}: only prefixes can be limited to ports").format(entry=self.entry), rule="rule.limits"
            )
        for key, value in self.extra:
            if _EXTRA_KEY.match(key) is None or not good_text(value, 1000, empty=True):
                raise Rejected(_("entry {entry} has a malformed field").format(entry=self.entry), rule="rule.extra")

    @property
    def authority(self) -> str:
        return self.entry.partition(":")[0]

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two rules claim the same thing; sorts names first (RFC 4034 order), then prefixes."""
        target = self.target
        if isinstance(target, NameTarget):
            return (0, target.name.sort_key, target.scope)
        return (1, target.version, target.network, target.length, self.limits.protocol, self.limits.ports)

    def in_force(self, now: datetime) -> bool:
        """Has the rule not yet lapsed at `now`?"""
        return hours(now) < self.expires


def hours(moment: datetime) -> int:
    """Whole hours since 1970-01-01T00Z, rounded down."""
    return int((moment - EPOCH) // timedelta(hours=1))


def hours_up(moment: datetime) -> int:
    """Whole hours since 1970-01-01T00Z, rounded up: an entry is never cut short of its expiry."""
    return -int((EPOCH - moment) // timedelta(hours=1))


def moment_of(hour: int) -> datetime:
    """The moment of a number of hours since 1970-01-01T00Z."""
    return EPOCH + timedelta(hours=hour)


@lru_cache(4096)
def hour_text(hour: int) -> str:
    """`2026-11-24T05Z`"""
    return moment_of(hour).strftime("%Y-%m-%dT%HZ")


@lru_cache(4096)
def hour_of_text(text: str) -> int:
    """The reverse of `hour_text`; raises Rejected."""
    found = _HOUR.match(text)
    try:
        if found:
            return hours(datetime(*map(int, found.groups()), tzinfo=UTC))  # type: ignore[misc, arg-type]
    except ValueError:
        pass
    raise Rejected(_("«{text}» is not an hour of the form 2026-11-24T05Z").format(text=text), rule="rule.expiry")


def check_entry(text: str) -> str:
    """An entry's id, `authority:number`. Returns it or raises Rejected."""
    if _ENTRY.match(text) is None:
        raise Rejected(_("«{text}» is not an entry id").format(text=text), rule="rule.entry")
    return text


def check_authority(text: str) -> str:
    """An authority's id: small letters, digits, hyphens, at most 32. Returns it or raises Rejected."""
    if _AUTHORITY.match(text) is None:
        raise Rejected(
            _("«{text}»: an authority's id is 1 to 32 small letters, digits and hyphens").format(text=text),
            rule="authority.form",
        )
    return text


@lru_cache(4096)
def good_text(text: str, most: int, empty: bool = False) -> bool:
    """NFC, printable, no tab or line break, at most `most` characters, and not blank unless `empty`."""
    return (
        len(text) <= most
        and (empty or bool(text.strip()))
        and (text.isascii() or unicodedata.is_normalized("NFC", text))
        and (text.isprintable() or all(c.isprintable() or c == "\u00a0" for c in text))
    )


def _joined(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    out: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return tuple(out)


def _check_local(rule: Rule) -> None:
    """`local` needs data and nothing else may have any."""
    parts = rule.data.split(",")
    try:
        if rule.action is not Action.LOCAL or (isinstance(rule.target, Prefix) and not rule.data):
            raise Rejected("")
        if len(parts) > 8 or ",".join(map(_local_part, parts)) != rule.data or len(set(parts)) != len(parts):
            raise Rejected("")
        if len(parts) > 1 and any(not p[-1:].isdigit() and ":" not in p for p in parts):
            raise Rejected("")
    except Rejected:
        raise Rejected(
            _("entry {entry}: action local needs addresses or one name, and no other action takes data").format(
                entry=rule.entry
            ),
            rule="rule.data",
        ) from None


def _local_part(text: str) -> str:
    try:
        return DomainName.parse(text).name.text
    except Rejected:
        return str(Prefix.of_text(f"{text}/{128 if ':' in text else 32}")).partition("/")[0]
