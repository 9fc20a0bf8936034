"""Which lists the guard reads, and for which of its rules.

Three origins: `pymispwarninglists` (its JSON files only; its search is slow and knows neither prefixes nor parents),
`publicsuffixlist`, and this project's hand lists in `blocker/guard/data`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from feeds.errors import Unavailable
from feeds.language import _

HAND = Path(__file__).parent.parent / "data"
MISP, PSL, OWN = "pymispwarninglists", "publicsuffixlist", "blocker"


@dataclass(frozen=True, slots=True)
class Source:
    """One list and what it is used for.

    `covers`: an item means the names below it, too.
    """

    key: str
    rule: str
    origin: str = MISP
    covers: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """What a list holds now."""

    source: Source
    title: str
    version: str
    day: date | None
    items: list[str]


def _many(rule: str, keys: str, *, origin: str = MISP, covers: bool = False) -> tuple[Source, ...]:
    return tuple(Source(key, rule, origin, covers) for key in keys.split())


# Order matters within a rule: evidence names the first list that matches, so the most telling comes first.
NAMES: tuple[Source, ...] = (
    *_many("guard.vietnam", "vietnam", origin=OWN, covers=True),
    *_many("guard.dns-infrastructure", "dns-infrastructure", origin=OWN, covers=True),
    *_many("guard.public-resolver", "resolvers", origin=OWN, covers=True),
    *_many("guard.public-resolver", "public-dns-hostname"),
    *_many("guard.captive-portal", "captive-portals", origin=OWN),
    *_many("guard.captive-portal", "captive-portals"),
    *_many("guard.certificate-status", "certificate-status", origin=OWN, covers=True),
    *_many("guard.certificate-status", "crl-hostname"),
    *_many("guard.public-suffix", "private-suffixes private-wildcards", origin=PSL),
    *_many("guard.infrastructure", "infrastructure", origin=OWN),
    *_many("guard.infrastructure", "url-shortener link-in-bio dynamic-dns lots-project public-ipfs-gateways google"),
    *_many("guard.infrastructure", "microsoft microsoft-office365 microsoft-win10-connection-endpoints"),
    *_many("guard.institution", "bank-website university_domains"),
    Source("cisco_top1000", "guard.popular-top"),
    Source("alexa", "guard.popular-top"),
    Source("moz-top500", "guard.popular-top"),
    Source("cisco_top5k", "guard.popular-top"),
    Source("tranco10k", "guard.popular-top"),
    Source("cisco_top10k", "guard.popular-top"),
    Source("majestic_million", "guard.popular-top"),
    Source("cisco_top20k", "guard.popular"),
    Source("tranco", "guard.popular"),
    Source("google-chrome-crux-1million", "guard.popular"),
    *_many("guard.parked", "parking-domain-ns"),
)

RANGES: tuple[Source, ...] = (
    *_many("guard.dns-infrastructure", "dns-infrastructure", origin=OWN),
    *_many("guard.public-resolver", "resolvers", origin=OWN),
    *_many("guard.public-resolver", "public-dns-v4 public-dns-v6"),
    *_many("guard.certificate-status", "crl-ip"),
    *_many("guard.shared-address", "cloudflare akamai fastly stackpath zscaler ovh-cluster"),
    *_many("guard.shared-address", "amazon-aws google-gcp microsoft-azure microsoft-azure-china"),
    *_many("guard.shared-address", "microsoft-azure-germany microsoft-azure-us-gov microsoft-office365-ip"),
    *_many("guard.shared-address", "microsoft-office365-cn apple github wikimedia google-gmail-sending-ips"),
    *_many("guard.shared-address", "googlebot smtp-sending-ips smtp-receiving-ips"),
    *_many("guard.datacentre", "vpn-ipv4 vpn-ipv6"),
    *_many("guard.parked", "parking-domain umbrella-blockpage-v4"),
    *_many("guard.sinkhole", "sinkholes"),
)


def mask(rule: str) -> int:
    """The lists of names that a rule of the guard reads: bit n is `NAMES[n]`."""
    return sum(1 << number for number, source in enumerate(NAMES) if source.rule == rule)


def read(source: Source) -> Content:
    """The list as it is installed; raises Unavailable if its package lacks it."""
    if source.origin == OWN:
        return _read_hand(source)
    if source.origin == PSL:
        return _read_suffixes(source)
    return _read_misp(source)


def icann_suffixes() -> tuple[frozenset[str], frozenset[str]]:
    """The ICANN section: suffixes, and the bases of its wildcards."""
    rules = list(_suffix_rules("ICANN"))
    return (
        frozenset(r for r in rules if not r.startswith(("*.", "!"))),
        frozenset(r[2:] for r in rules if r.startswith("*.")),
    )


def folder(package: str) -> Path:
    """Where an installed package lies; found without importing it."""
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise Unavailable(
            _("the package {name} is not installed, so the guard has no data").format(name=package),
            then=_("install the program's requirements again"),
        )
    return Path(places[0])


def _read_misp(source: Source) -> Content:
    path = folder(MISP) / "data" / "misp-warninglists" / "lists" / source.key / "list.json"
    try:
        data = json.loads(path.read_bytes())
        version = str(data["version"])
        return Content(source, str(data["name"]).strip(), version, _day(version), list(data["list"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            _("the list {name} of {package} cannot be read: {why}").format(name=source.key, package=MISP, why=error),
            then=_("install the program's requirements again"),
        ) from error


def _read_hand(source: Source) -> Content:
    """Comments are dropped; a file for two kinds of items is read twice, and each kind picks its own."""
    lines = (HAND / f"{source.key}.txt").read_text("utf-8").splitlines()
    items = [item for line in lines if (item := line.partition("#")[0].strip())]
    found = re.search(r"Date: (\d{4}-\d\d-\d\d)", "\n".join(lines[:12]))
    day = date.fromisoformat(found.group(1)) if found else None
    return Content(source, f"{source.key}.txt", str(day or ""), day, items)


def _read_suffixes(source: Source) -> Content:
    wild = source.key == "private-wildcards"
    items = [
        r.removeprefix("*.") for r in _suffix_rules("PRIVATE") if not r.startswith("!") and r.startswith("*.") == wild
    ]
    day = suffix_list_day()
    return Content(source, "Public Suffix List, private section", str(day or ""), day, items)


def _suffix_path() -> Path:
    return folder(PSL) / "public_suffix_list.dat"


def suffix_list_day() -> date | None:
    """The day the public suffix list says it was made."""
    with _suffix_path().open(encoding="utf-8") as file:
        found = re.search(r"VERSION: (\d{4}-\d\d-\d\d)", file.read(4096))
    return date.fromisoformat(found.group(1)) if found else None


def _suffix_rules(section: str) -> Iterator[str]:
    inside = False
    with _suffix_path().open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("// ==="):
                inside = f"BEGIN {section}" in line
            elif inside and (rule := line.split("//")[0].strip()):
                yield rule.lower()


def _day(version: str) -> date | None:
    """Most versions are dates (20251223); some are mere counters."""
    try:
        return date.fromisoformat(version) if len(version) == 8 and version.startswith("20") else None
    except ValueError:
        return None
