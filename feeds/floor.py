"""The structural limits that no rule may cross, checked by the authority and again by every ISP on every pull.

Nothing here can be overridden. The list of ICANN suffixes comes with the `publicsuffixlist` package; special-purpose
names and address space are IANA's registries (RFC 6761, RFC 6890), written out below because Python 3.11's
`is_global` is wrong in ten of them.
"""

from bisect import bisect_right
from functools import lru_cache

from publicsuffixlist import PublicSuffixList

from feeds.language import N_
from feeds.prefix import Prefix
from feeds.rule import NameTarget, Target

WIDEST = {4: 24, 6: 48}

FLOOR_WORDS = {
    "floor.single-label": N_("a single label is a top-level domain; blocking it would block a whole country or class"),
    "floor.icann-suffix": N_("this is a public suffix under which independent owners register names"),
    "floor.special-use": N_("this name is reserved by the Internet standards (RFC 6761) and is not on the Internet"),
    "floor.infrastructure": N_("this name belongs to the infrastructure of the DNS itself"),
    "floor.special-purpose": N_("this address space is reserved by the Internet standards and is not on the Internet"),
    "floor.unallocated": N_("this address space is not allocated to anybody"),
    "floor.too-wide": N_("wider than /24 (IPv4) or /48 (IPv6): it would hit thousands of others"),
    "floor.training": N_("a training register takes only names under .example and .test and documentation prefixes"),
}

SPECIAL_USE_NAMES = frozenset({"test", "example", "invalid", "localhost", "local", "onion", "alt", "internal"})
TRAINING_NAMES = frozenset({"test", "example"})
DNS_INFRASTRUCTURE = ("root-servers.net", "gtld-servers.net")

# IANA IPv4 and IPv6 Special-Purpose Address Registries, with multicast and class E.
SPECIAL_PURPOSE_BLOCKS = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
    192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24
    203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    64:ff9b::/96 64:ff9b:1::/48 2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20
"""
SPECIAL_PURPOSE = tuple(map(Prefix.of_text, SPECIAL_PURPOSE_BLOCKS.split()))
DOCUMENTATION = tuple(
    map(Prefix.of_text, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"))
)
# Of IPv6 only this is allocated to registries for global unicast (RFC 4291 section 2.4, IANA).
GLOBAL_UNICAST_6 = Prefix.of_text("2000::/3")


def crossed(target: Target, training: bool = False) -> str | None:
    """The id of the limit that `target` crosses (a key of FLOOR_WORDS), or None."""
    if isinstance(target, NameTarget):
        return _crossed_by_name(target.name.text, training)
    return _crossed_by_prefix(target, training)


def _crossed_by_name(name: str, training: bool) -> str | None:
    _head, dot, _rest = name.partition(".")
    if not dot:
        return "floor.single-label"
    top = name.rpartition(".")[2]
    if training:
        return None if top in TRAINING_NAMES else "floor.training"
    if top in SPECIAL_USE_NAMES:
        return "floor.special-use"
    if top == "arpa":
        return "floor.infrastructure"
    if name.endswith(DNS_INFRASTRUCTURE) and any(name == n or name.endswith("." + n) for n in DNS_INFRASTRUCTURE):
        return "floor.infrastructure"
    return "floor.icann-suffix" if is_icann_suffix(name) else None


def _crossed_by_prefix(prefix: Prefix, training: bool) -> str | None:
    if prefix.length < WIDEST[prefix.version]:
        return "floor.too-wide"
    if training:
        return None if any(p.covers(prefix) for p in DOCUMENTATION) else "floor.training"
    starts, spans = _special(prefix.version)
    place = bisect_right(starts, prefix.last) - 1
    if place >= 0 and spans[place] >= prefix.network:
        return "floor.special-purpose"
    if prefix.version == 6 and not GLOBAL_UNICAST_6.covers(prefix):
        return "floor.unallocated"
    return None


def is_icann_suffix(name: str) -> bool:
    """Is this name itself a suffix of the public suffix list's ICANN section? (`com.vn`, `hanoi.vn`)"""
    found: str | None = _icann().publicsuffix(name, accept_unknown=True)
    return found == name


@lru_cache(1)
def _icann() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True)


@lru_cache(2)
def _special(version: int) -> tuple[list[int], list[int]]:
    blocks = sorted((p.network, p.last) for p in SPECIAL_PURPOSE if p.version == version)
    return [first for first, _last in blocks], [last for _first, last in blocks]
