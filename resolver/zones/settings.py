"""Which foreign zones are enforced, where they come from, and what the operator makes of their rules.

How a primary is spoken to stands in a TOML file, since no secret belongs on a command line:

[zone."rpz.example"]
key = "resolver-1"                  # TSIG
algorithm = "hmac-sha256"           # or hmac-sha512
secret_file = "resolver-1.secret"   # base64; relative to this file
certificate = "primary.pem"         # over TLS, and this is the key that it must have; relative to this file
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dns.tsig

from feeds.language import _
from feeds.message.building import encode_name
from feeds.transfer.settings import Faults, read_key, read_pin, read_toml, rejected

GIVEN: Final = "given"
DISABLED: Final = "disabled"
MAX_PROBLEM_CHARACTERS: Final = 1000
_WORDS = frozenset({"key", "algorithm", "secret_file", "certificate"})
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a primary is to prove: that it has the TSIG key, and the key of a certificate with this pin (over TLS)."""

    key: dns.tsig.Key | None = None
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class Primary:
    """From where a zone is transferred; the first address that serves it counts."""

    addresses: tuple[Address, ...]
    key: dns.tsig.Key | None = None
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class ForeignZone:
    """A zone from the file `path`, or as it was last transferred from `primary`.

    `name` is text in lower case without the final dot. `policy` is `given`, `disabled` or what `meaning.override_of`
    reads.
    """

    name: str
    path: Path | None = None
    primary: Primary | None = None
    policy: str = GIVEN

    @property
    def wire(self) -> bytes:
        return encode_name(self.name)

    @property
    def part(self) -> str:
        """Its name among the parts of a load."""
        return f"zone {self.name}"

    @property
    def enforced(self) -> bool:
        """A disabled zone is read and told about, and matches nothing."""
        return self.policy != DISABLED

    def source(self, folder: Path | None) -> Path | None:
        """The file that its records stand in; None where nothing keeps them."""
        return self.path or (folder / f"{self.name}.records" if folder is not None else None)

    def kept(self, folder: Path | None) -> Path | None:
        """Where its image is kept, which says what this policy makes of it."""
        return folder / f"{self.name}-{self.policy.replace(' ', '-')}.image" if folder is not None else None

    def checked(self, folder: Path | None) -> Path | None:
        """Whose time is when the primary last confirmed or changed the zone, and whose text why it cannot now."""
        return folder / f"{self.name}.checked" if folder is not None and self.primary is not None else None

    def problem(self, folder: Path | None) -> str:
        """Why the primary's zone cannot be had now, as its keeper noted it."""
        checked = self.checked(folder)
        try:
            return checked.read_text("utf-8")[:MAX_PROBLEM_CHARACTERS] if checked is not None else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def token(self, folder: Path | None) -> object:
        """Another one when there is something new to load or to tell; None where its file is not there."""
        source = self.source(folder)
        try:
            found = source.stat() if source is not None else None
        except OSError:
            found = None
        if found is None:
            return self.problem(folder) or None
        return found.st_ino, found.st_size, found.st_mtime_ns, self.problem(folder)


def read_credentials(path: Path) -> dict[str, Credentials]:
    """By zone; raises Rejected with every fault of the file, each with its place."""
    data = read_toml(path)
    faults, found = Faults(), {}
    faults.unknown("", data, {"zone"})
    for place, name, values in faults.sections(data, "zone"):
        found[name.lower().removesuffix(".")] = _credentials(faults, place, values, path.parent)
    if faults.found:
        raise rejected(path, _("it has faults"), faults.found)
    return found


def _credentials(faults: Faults, place: str, values: dict[str, Any], folder: Path) -> Credentials:
    faults.unknown(place, values, _WORDS)
    key, pin = read_key(faults, place, values, folder), None
    if "certificate" in values:
        pin = faults.read(f"{place}.certificate", lambda: read_pin(folder, values["certificate"]))
    return Credentials(key, pin)
