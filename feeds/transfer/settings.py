"""Which zones are served to whom, from a TOML file.

[zone."rpz.blocker"]
flavour = "full"                    # or "names"; or categories, such as "csam+malware"

[secondary.resolver-1]              # the name that status, metrics and logs use
address = ["192.0.2.53"]            # from where it may ask; empty or left out: from anywhere, with its key
notify = ["192.0.2.53:53"]          # who is told of a change
key = "resolver-1"                  # TSIG; left out: the address alone lets it in
algorithm = "hmac-sha256"           # or hmac-sha512
secret_file = "resolver-1.secret"   # base64; relative to this file
"""

import base64
import binascii
import tomllib
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.exception
import dns.name
import dns.tsig

from feeds.errors import Failure, Problem, Rejected
from feeds.language import _
from feeds.name import DomainName
from feeds.rule import Category
from feeds.transfer.signing import MAC_BYTES

FLAVOURS = ("full", "names")
# With the zone's name behind them, both records of a subtree rule must fit 255 octets.
MAX_ZONE_CHARACTERS = 30
MIN_SECRET_BYTES = 16
_ZONE_WORDS = frozenset({"flavour"})
_SECONDARY_WORDS = frozenset({"address", "notify", "key", "algorithm", "secret_file"})


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone to serve. `flavour` is one of FLAVOURS, or categories joined by `+`."""

    name: DomainName
    flavour: str

    @property
    def names_only(self) -> bool:
        """Names without addresses."""
        return self.flavour == "names"

    @property
    def categories(self) -> frozenset[Category]:
        """Those whose rules the zone shows; empty: all."""
        return frozenset() if self.flavour in FLAVOURS else _categories(self.flavour)


@dataclass(frozen=True, slots=True)
class Secondary:
    """Who may transfer: all tests hold that are there, `addresses` (empty: any), `key` and `certificate` (a pin)."""

    name: str
    addresses: frozenset[str]
    notify: tuple[tuple[str, int], ...]
    key: dns.tsig.Key | None
    certificate: bytes | None = None

    def admits(self, address: str, certificate: bytes | None) -> bool:
        """Is the other side whom the settings describe, its signature aside?"""
        if not (self.addresses or self.certificate or self.key):
            return False
        return (not self.addresses or address in self.addresses) and self.certificate in (None, certificate)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file."""

    zones: tuple[Zone, ...]
    secondaries: tuple[Secondary, ...]


def read_settings(path: Path) -> Settings:
    """Raises Rejected with every fault of the file."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise _rejected(path, _("it cannot be read: {why}").format(why=error.strerror)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _rejected(path, _("it is not TOML: {why}").format(why=error)) from None
    problems: list[Problem] = []
    for word in sorted(data.keys() - {"zone", "secondary"}):
        problems.append(Problem("", "zone.settings", _("unknown section «{word}»").format(word=word)))
    zones: list[Zone] = []
    secondaries: list[Secondary] = []
    for place, table, read in (("zone", data.get("zone"), _zone), ("secondary", data.get("secondary"), None)):
        if not isinstance(table, dict) or not table:
            problems.append(Problem(place, "zone.settings", _("there must be at least one")))
            continue
        for name, values in table.items():
            try:
                if read is not None:
                    zones.append(read(name, values))
                else:
                    secondaries.append(_secondary(name, values, path.parent))
            except (ValueError, Failure) as error:
                why = error.what if isinstance(error, Failure) else str(error)
                problems.append(Problem(f"{place}.{name}", "zone.settings", why))
    keys = [one.key.name for one in secondaries if one.key]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        problems.append(Problem("secondary", "zone.settings", _("two secondaries share the key {key}").format(key=key)))
    if problems:
        raise _rejected(path, _("it has faults"), problems)
    return Settings(tuple(zones), tuple(secondaries))


def _zone(name: str, values: dict[str, Any]) -> Zone:
    _known(values, _ZONE_WORDS)
    parsed = DomainName.parse(name).name
    if len(parsed.text) > MAX_ZONE_CHARACTERS:
        raise ValueError(_("a zone's name may have {n} characters").format(n=MAX_ZONE_CHARACTERS))
    flavour = values.get("flavour", "full")
    if flavour not in FLAVOURS:
        _categories(flavour)
    return Zone(parsed, flavour)


def _categories(flavour: Any) -> frozenset[Category]:
    """Raises ValueError for what is neither a category nor several, each of them once."""
    words = str(flavour).split("+")
    known = [category.value for category in Category]
    if not set(words) <= set(known) or len(set(words)) < len(words):
        raise ValueError(
            _("flavour must be {flavours}, or categories joined by +, each once: {categories}").format(
                flavours=", ".join(FLAVOURS), categories=", ".join(known)
            )
        )
    return frozenset(map(Category, words))


def _secondary(name: str, values: dict[str, Any], folder: Path) -> Secondary:
    _known(values, _SECONDARY_WORDS)
    addresses = frozenset(str(ip_address(text)) for text in _texts(values, "address"))
    notify = tuple(_endpoint(text) for text in _texts(values, "notify"))
    key = _key(values, folder)
    if key is None and not addresses:
        raise ValueError(_("it needs a key, an address or both"))
    return Secondary(name, addresses, notify, key)


def _key(values: dict[str, Any], folder: Path) -> dns.tsig.Key | None:
    if "key" not in values:
        if values.keys() & {"algorithm", "secret_file"}:
            raise ValueError(_('a secret needs the name of its key: key = "..."'))
        return None
    algorithm, file = values.get("algorithm", "hmac-sha256"), values.get("secret_file")
    if str(algorithm) not in MAC_BYTES:
        raise ValueError(_("algorithm must be one of: {names}").format(names=", ".join(MAC_BYTES)))
    if not isinstance(file, str):
        raise ValueError(_("a key needs its secret_file"))  # noqa: TRY004 - as above
    try:
        secret = base64.b64decode((folder / file).read_bytes().strip(), validate=True)
        key_name = dns.name.from_text(str(values["key"]).lower())
    except OSError as error:
        raise ValueError(_("{path} cannot be read: {why}").format(path=file, why=error.strerror)) from None
    except binascii.Error:
        raise ValueError(_("{path} is not base64").format(path=file)) from None
    except dns.exception.DNSException:
        raise ValueError(_("«{text}» is no name of a key").format(text=values["key"])) from None
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(_("the secret must have at least {n} octets").format(n=MIN_SECRET_BYTES))
    return dns.tsig.Key(key_name, secret, algorithm)


def _known(values: Any, words: frozenset[str]) -> None:
    if not isinstance(values, dict):
        raise ValueError(_("it must be a section"))  # noqa: TRY004 - one family for all faults of the file
    unknown = sorted(values.keys() - words)
    if unknown:
        raise ValueError(_("unknown setting: {names}").format(names=", ".join(unknown)))


def _texts(values: dict[str, Any], word: str) -> list[str]:
    found = values.get(word, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(_("{word} must be a list of texts").format(word=word))
    return found


def _endpoint(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(_("«{text}» is not ADDRESS:PORT, such as 192.0.2.53:53").format(text=text))
    return str(ip_address(host.strip("[]"))), int(port)


def _rejected(path: Path, why: str, problems: list[Problem] | None = None) -> Rejected:
    return Rejected(
        _("{path}: {why}").format(path=path, why=why),
        rule="zone.settings",
        kept=_("nothing is served"),
        then=_("correct the file and try again"),
        problems=problems or (),
    )
