"""Domain names as the register and the feed hold them: lower-case A-labels, no final dot.

`DomainName(text)` checks the one canonical form and nothing else is ever stored. `DomainName.parse` reads what
people paste and says what it dropped. Bounds: RFC 1035 section 2.3.4 (63 and 255 octets, so 253 characters of
text); letters, digits, hyphen and underscore, since the DNS carries names that are no host names (RFC 2181
section 11) and crime uses them. Order: RFC 4034 section 6.1.
"""

import re
import unicodedata
from dataclasses import dataclass

import idna

from feeds.errors import Rejected
from feeds.language import _

MAX_TEXT = 253
_CANONICAL = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")
_ADDRESS_LIKE = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)\Z")
# What officers' sources put around a name so that nobody clicks on it, and what copying from a page leaves in it.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufe00-\ufe0f]")
_DEFANGED_DOT = re.compile(r"\s*(?:\[\s*(?:\.|dot)\s*\]|\(\s*(?:\.|dot)\s*\)|\{\s*(?:\.|dot)\s*\})\s*", re.I)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{1,20})(?:\[:\]|:)//", re.I)
_NOT_IN_A_LABEL = re.compile(r"\s|[\x00-\x7f](?<![A-Za-z0-9_-])")
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})


@dataclass(frozen=True, slots=True)
class DomainName:
    """One name. `text` is canonical: `xn--v-d-iia7i.vn`, `_dmarc.example`. The root is not a DomainName."""

    text: str

    def __post_init__(self) -> None:
        text = self.text
        if len(text) > MAX_TEXT or _CANONICAL.match(text) is None:
            raise Rejected(_("«{text}» is not a domain name in canonical form").format(text=text), rule="name.form")

    def __str__(self) -> str:
        return self.text

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, the top-level one last."""
        return tuple(self.text.split("."))

    @property
    def sort_key(self) -> str:
        """Sorts as RFC 4034 section 6.1 does; a name stands directly before the names below it."""
        return reversed_key(self.text)

    @property
    def wire(self) -> bytes:
        """Uncompressed wire form with the root label (RFC 1035 section 3.1)."""
        return b"".join(bytes((len(label),)) + label.encode("ascii") for label in self.labels) + b"\0"

    @property
    def unicode(self) -> str:
        """The name as a person reads it; labels that no IDNA rule can decode stay as they are."""
        return ".".join(_u_label(label) for label in self.labels)

    def parents(self) -> tuple[str, ...]:
        """The texts of its proper ancestors, nearest first, without the root."""
        labels = self.labels
        return tuple(".".join(labels[i:]) for i in range(1, len(labels)))

    @classmethod
    def parse(cls, text: str) -> "ParsedName":
        """Read what people paste: URLs, `evil[.]com`, capitals, NFD, full-width dots, invisible characters.

        Raises Rejected with the reason and, where there is one, the place in the text.
        """
        if _CANONICAL.match(text) is not None and "xn--" not in text and len(text) <= MAX_TEXT:
            return ParsedName(_checked(text, text), False, ())
        return _parse(text)


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What was read. `dropped` are parts of the input that a name cannot carry, each `kind: text`.

    `wildcard`: it was written `*.name` or `||name^`, so the writer means the names below, too.
    `path_dropped`: the writer pointed at one page; blocking the name blocks the whole host, so it must be confirmed.
    `notes` are sentences about the name itself.
    """

    name: DomainName
    wildcard: bool
    dropped: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def path_dropped(self) -> bool:
        return any(part.startswith(("path:", "query:")) for part in self.dropped)


def reversed_key(text: str) -> str:
    """Sort key of a canonical name's text (see `DomainName.sort_key`)."""
    return "\0".join(text.split(".")[::-1])


def _u_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        try:
            shown = label[4:].encode("ascii").decode("punycode")
        except (UnicodeError, ValueError):
            return label
        return shown if shown.isprintable() else label


def _checked(text: str, typed: str) -> DomainName:
    if _ADDRESS_LIKE.match(text):
        raise Rejected(
            _("«{text}» is a number or an address, not a domain name").format(text=typed), rule="name.address"
        )
    return DomainName(text)


def _parse(typed: str) -> ParsedName:
    dropped: list[str] = []
    notes: list[str] = []
    text = unicodedata.normalize("NFC", typed)
    if len(text) > 4096:
        raise Rejected(_("this is {n} characters long, no name or link is").format(n=len(text)), rule="name.length")
    cleaned = _INVISIBLE.sub("", text)
    if cleaned != text:
        dropped.append("invisible: " + " ".join(f"U+{ord(c):04X}" for c in text if _INVISIBLE.match(c)))
        text = cleaned
    text = text.strip().strip("\"'<>«»“”‘’`,;").strip()
    if not text:
        raise Rejected(_("there is no name here"), rule="name.empty")
    text = _DEFANGED_DOT.sub(".", text)
    scheme = _SCHEME.match(text)
    if scheme:
        dropped.append("scheme: " + scheme.group(1))
        text = text[scheme.end() :]
    elif text.startswith("//"):
        text = text[2:]
    wildcard = False
    if text.startswith("||"):
        wildcard, text = True, text[2:].removesuffix("^")
    for mark, kind in (("#", "fragment"), ("?", "query")):
        text, found, rest = text.partition(mark)
        if found and rest:
            dropped.append(f"{kind}: {rest}")
    slash = min((i for i in (text.find("/"), text.find("\\")) if i >= 0), default=-1)
    if slash >= 0:
        if text[slash + 1 :]:
            dropped.append("path: " + text[slash:])
        text = text[:slash]
    if "@" in text:
        user, _at, text = text.rpartition("@")
        dropped.append("user: " + user.split(":")[0])
    if text.startswith("["):
        raise Rejected(_("«{text}» is an address, not a domain name").format(text=text), rule="name.address")
    host, colon, port = text.rpartition(":")
    if colon:
        if not (port.isascii() and port.isdigit() and host):
            raise Rejected(
                _("«{text}»: after the colon there must be a port number (character {place})").format(
                    text=typed.strip(), place=len(host) + 1
                ),
                rule="name.port",
            )
        dropped.append("port: " + port)
        text = host
    text = text.translate(_DOTS)
    if text.startswith("*."):
        wildcard, text = True, text[2:]
    if text in ("", ".", "*"):
        raise Rejected(_("«{text}» is the root of all names").format(text=typed.strip()), rule="name.root")
    text = text.removesuffix(".")
    labels: list[str] = []
    place = 1
    for label in text.split("."):
        labels.append(_a_label(label, place, typed.strip(), notes))
        place += len(label) + 1
    whole = ".".join(labels)
    if len(whole) > MAX_TEXT:
        raise Rejected(
            _("«{text}» has {n} characters; a name has at most {max}").format(
                text=typed.strip(), n=len(whole), max=MAX_TEXT
            ),
            rule="name.length",
        )
    return ParsedName(_checked(whole, typed.strip()), wildcard, tuple(dropped), tuple(notes))


def _a_label(label: str, place: int, typed: str, notes: list[str]) -> str:
    """One label in A-label form; `place` is where it starts, counted from 1, in the name without its trimmings."""
    where = _("«{text}», character {place}: ").format(text=typed, place=place)
    if not label:
        raise Rejected(where + _("two dots with nothing between them"), rule="name.empty-label")
    bad = _NOT_IN_A_LABEL.search(label)
    if bad:
        where = _("«{text}», character {place}: ").format(text=typed, place=place + bad.start())
        shown = _("a space") if bad.group().isspace() else repr(bad.group())[1:-1]
        raise Rejected(where + _("{c} cannot be part of a name").format(c=shown), rule="name.character")
    if label.isascii():
        low = label.lower()
        if len(low) > 63:
            raise Rejected(where + _("a label has at most 63 characters"), rule="name.label-length")
        if low.startswith("xn--"):
            _note_foreign(low, notes)
        return low
    try:
        made = idna.encode(label, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        reason = str(error) or type(error).__name__
        raise Rejected(where + _("not allowed in a name: {reason}").format(reason=reason), rule="name.idna") from error
    if "." in made or not made:
        raise Rejected(where + _("this label is written with a character that stands for a dot"), rule="name.dot")
    return made


def _note_foreign(label: str, notes: list[str]) -> None:
    try:
        idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        # Such names are registered under some top-level domains (emoji), so the register must be able to hold them.
        notes.append(_("«{label}» is not valid under IDNA 2008").format(label=label))
