"""Which zones are served to whom, from a TOML file.

catalog = "catalog.blocker"         # a catalog zone (RFC 9432) that lists the others; may be left out

[zone."rpz.blocker"]
flavour = "full"                    # or "names"; or categories, such as "csam+malware"

[secondary.resolver-1]              # the name that status, metrics and logs use
address = ["192.0.2.53"]            # from where it may ask; empty or left out: from anywhere, with key or certificate
notify = ["192.0.2.53:53"]          # who is told of a change
key = "resolver-1"                  # TSIG
algorithm = "hmac-sha256"           # or hmac-sha512
secret_file = "resolver-1.secret"   # base64; relative to this file
certificate = "resolver-1.pem"      # which it shows over TLS; relative to this file

A secondary needs an address, a key or a certificate; where it has several, all must hold. Of a certificate the public
key counts, as in RFC 7858 section 4.2: the secondary may renew the certificate for the same key without a word to us,
and no authority of certificates, nor its dates, is believed.
"""

import base64
import binascii
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

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
_SECONDARY_WORDS = frozenset({"address", "notify", "key", "algorithm", "secret_file", "certificate"})
T = TypeVar("T")


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
    catalog: DomainName | None = None


def read_settings(path: Path) -> Settings:
    """Raises Rejected with every fault of the file, each once, with its place."""
    data = read_toml(path)
    faults = Faults()
    faults.unknown("", data, {"zone", "secondary", "catalog"})
    catalog = faults.read("catalog", lambda: _zone_name(str(data["catalog"]))) if "catalog" in data else None
    zones = [_zone(faults, *one) for one in faults.sections(data, "zone")]
    secondaries = [_secondary(faults, *one, path.parent) for one in faults.sections(data, "secondary")]
    named = [zone.name.text for zone in zones if zone] + ([catalog.text] if catalog else [])
    faults.shared("zone", named, _("two zones have the name {value}"))
    keys = [one.key.name.to_text(omit_final_dot=True) for one in secondaries if one and one.key]
    faults.shared("secondary", keys, _("two secondaries share the key {value}"))
    pins = [one.certificate.hex() for one in secondaries if one and one.certificate]
    faults.shared("secondary", pins, _("two secondaries share the certificate with the pin {value}"))
    if faults.found:
        raise rejected(path, _("it has faults"), faults.found)
    return Settings(tuple(filter(None, zones)), tuple(filter(None, secondaries)), catalog)


def pin(der: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo of an X.509 certificate in DER; raises ValueError where it is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.hashes import SHA256, Hash
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import load_der_x509_certificate

    try:
        key = load_der_x509_certificate(der).public_key()
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    made = Hash(SHA256())
    made.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return made.finalize()


class Faults:
    """Of a settings file; gathers what is wrong while the rest is read on."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, place: str, why: str) -> None:
        self.found.append(Problem(place, "zone.settings", why))

    def read(self, place: str, read: Callable[[], T]) -> T | None:
        """What `read` returns, or None with its ValueError or Failure noted."""
        try:
            return read()
        except Failure as error:
            self.add(place, error.what)
        except ValueError as error:
            self.add(place, str(error))
        return None

    def unknown(self, place: str, values: dict[str, Any], words: Iterable[str]) -> None:
        for word in sorted(values.keys() - words):
            self.add(place, _("unknown setting: {name}").format(name=word))

    def sections(self, data: dict[str, Any], word: str) -> list[tuple[str, str, dict[str, Any]]]:
        """Place, name and settings of each section `[word.NAME]`."""
        table = data.get(word)
        if not isinstance(table, dict) or not table:
            self.add(word, _("there must be at least one section [{word}.NAME]").format(word=word))
            return []
        for name in [name for name, values in table.items() if not isinstance(values, dict)]:
            self.add(f"{word}.{name}", _("it must be a section"))
        return [(f"{word}.{name}", name, values) for name, values in table.items() if isinstance(values, dict)]

    def texts(self, place: str, values: dict[str, Any], word: str, read: Callable[[str], T]) -> list[T]:
        """Each text of a list, read; those with a fault are noted and left out."""
        found = values.get(word, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            self.add(f"{place}.{word}", _("it must be a list of texts"))
            return []
        made = (self.read(f"{place}.{word}", lambda one=one: read(one)) for one in found)  # type: ignore[misc]
        return [one for one in made if one is not None]

    def shared(self, place: str, values: list[str], why: str) -> None:
        for value in sorted({value for value in values if values.count(value) > 1}):
            self.add(place, why.format(value=value))


def _zone(faults: Faults, place: str, name: str, values: dict[str, Any]) -> Zone | None:
    faults.unknown(place, values, _ZONE_WORDS)
    flavour = values.get("flavour", "full")
    if flavour not in FLAVOURS:
        faults.read(f"{place}.flavour", lambda: _categories(flavour))
    parsed = faults.read(place, lambda: _zone_name(name))
    return Zone(parsed, str(flavour)) if parsed else None


def _zone_name(text: str) -> DomainName:
    parsed = DomainName.parse(text).name
    if len(parsed.text) > MAX_ZONE_CHARACTERS:
        raise ValueError(_("a zone's name may have {n} characters").format(n=MAX_ZONE_CHARACTERS))
    return parsed


def _categories(flavour: object) -> frozenset[Category]:
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


def _secondary(faults: Faults, place: str, name: str, values: dict[str, Any], folder: Path) -> Secondary | None:
    faults.unknown(place, values, _SECONDARY_WORDS)
    addresses = frozenset(faults.texts(place, values, "address", _address))
    notify = tuple(faults.texts(place, values, "notify", _endpoint))
    key = read_key(faults, place, values, folder)
    certificate = None
    if "certificate" in values:
        certificate = faults.read(f"{place}.certificate", lambda: read_pin(folder, values["certificate"]))
    if not (values.get("address") or values.keys() & {"key", "algorithm", "secret_file", "certificate"}):
        faults.add(place, _("it needs an address, a key or a certificate"))
    return Secondary(name, addresses, notify, key, certificate)


def read_key(faults: Faults, place: str, values: dict[str, Any], folder: Path) -> dns.tsig.Key | None:
    """The TSIG key of a section, from `key`, `algorithm` and `secret_file`; what is wrong with it is noted."""
    if "key" not in values:
        if values.keys() & {"algorithm", "secret_file"}:
            faults.add(place, _('a secret needs the name of its key: key = "..."'))
        return None
    name = faults.read(f"{place}.key", lambda: _key_name(values["key"]))
    algorithm = values.get("algorithm", "hmac-sha256")
    if str(algorithm) not in MAC_BYTES:
        faults.add(f"{place}.algorithm", _("it must be one of: {names}").format(names=", ".join(MAC_BYTES)))
    secret = faults.read(f"{place}.secret_file", lambda: _secret(folder, values.get("secret_file")))
    return dns.tsig.Key(name, secret, str(algorithm)) if name is not None and secret is not None else None


def _key_name(text: object) -> dns.name.Name:
    try:
        if isinstance(text, str) and text.strip("."):
            return dns.name.from_text(text.lower())
    except dns.exception.DNSException:
        pass
    raise ValueError(_("«{text}» is no name of a key").format(text=text))


def _secret(folder: Path, file: object) -> bytes:
    try:
        secret = base64.b64decode(_file(folder, file).strip(), validate=True)
    except binascii.Error:
        raise ValueError(_("{path} is not base64").format(path=file)) from None
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(_("the secret must have at least {n} octets").format(n=MIN_SECRET_BYTES))
    return secret


def read_pin(folder: Path, file: object) -> bytes:
    """The pin of the certificate in a file; raises ValueError."""
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificate

    data = _file(folder, file)
    try:
        return pin(load_pem_x509_certificate(data).public_bytes(Encoding.DER))
    except ValueError:
        raise ValueError(_("{path} is not a certificate in PEM").format(path=file)) from None


def _file(folder: Path, file: object) -> bytes:
    if not isinstance(file, str) or not file:
        raise ValueError(_("it must name a file"))
    try:
        return (folder / file).read_bytes()
    except OSError as error:
        raise ValueError(_("{path} cannot be read: {why}").format(path=file, why=error.strerror)) from None


def _address(text: str) -> str:
    try:
        found = ip_address(text)
    except ValueError:
        raise ValueError(_("«{text}» is not an IP address").format(text=text)) from None
    return str(getattr(found, "ipv4_mapped", None) or found)


def _endpoint(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    try:
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ValueError
        return str(ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError:
        raise ValueError(_("«{text}» is not ADDRESS:PORT, such as 192.0.2.53:53").format(text=text)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of the file; raises Rejected where it cannot be read or is none."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise rejected(path, _("it cannot be read: {why}").format(why=error.strerror)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise rejected(path, _("it is not TOML: {why}").format(why=error)) from None


def rejected(path: Path, why: str, problems: list[Problem] | None = None) -> Rejected:
    """The one error for a settings file that cannot be used."""
    return Rejected(
        _("{path}: {why}").format(path=path, why=why),
        rule="zone.settings",
        kept=_("nothing is served"),
        then=_("correct the file and try again"),
        problems=problems or (),
    )
