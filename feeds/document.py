"""The line form of small signed documents: a kind and version, named fields, an empty line, then lines of items.

    blocker-officer-change 1
    authority  so-tttt              (fields separated by TAB, lines ended by LF, UTF-8, values NFC and printable)
    number  3

    ...

One document has exactly one byte form: the fields stand in the order their kind prescribes, none left out.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from feeds.errors import Untrusted
from feeds.language import _
from feeds.rule import good_text

VERSION = 1
MAX_VALUE = 2000
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
_MOMENT_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")


def compose(kind: str, fields: Iterable[tuple[str, str]], lines: Iterable[str] = ()) -> bytes:
    """The bytes of a document; `lines` come without their line ends."""
    head = "".join(f"{name}\t{value}\n" for name, value in fields)
    body = "\n".join(lines)
    return f"{kind} {VERSION}\n{head}\n{body}{chr(10) if body else ''}".encode()


def parse(data: bytes, kind: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Values of the fields `names` and the lines after them; raises Untrusted for any other form."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Untrusted(_("this is no {kind}: it is not UTF-8 text").format(kind=kind)) from None
    lines = text.split("\n")
    if lines.pop() != "" or lines[:1] != [f"{kind} {VERSION}"]:
        raise Untrusted(_("this is no {kind} of version {n}").format(kind=kind, n=VERSION))
    values = []
    for place, name in enumerate(names, 1):
        word, tab, value = lines[place].partition("\t") if place < len(lines) else ("", "", "")
        if word != name or not tab or not good_text(value, MAX_VALUE, empty=True):
            raise Untrusted(_("this {kind} lacks a proper field «{name}»").format(kind=kind, name=name))
        values.append(value)
    if lines[len(names) + 1 : len(names) + 2] != [""]:
        raise Untrusted(_("this {kind} has a field that this version does not know").format(kind=kind))
    return values, lines[len(names) + 2 :]


def sha256_of(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def moment_text(moment: datetime) -> str:
    """`2026-11-24T05:39:31Z`; fractions of a second are cut off."""
    return moment.astimezone(UTC).strftime(_MOMENT)


def moment_of_text(text: str) -> datetime:
    """The reverse of `moment_text`; raises Untrusted."""
    try:
        if _MOMENT_FORM.match(text):
            return datetime.strptime(text, _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise Untrusted(_("«{text}» is not a time of the form 2026-11-24T05:39:31Z").format(text=text[:40]))


def number_of_text(text: str, most: int = 1 << 40) -> int:
    """A whole number from 0 to `most` without leading zeros; raises Untrusted."""
    if not (text.isascii() and text.isdigit()) or len(text) > 13 or str(int(text)) != text or int(text) > most:
        raise Untrusted(_("«{text}» is not a whole number").format(text=text[:40]))
    return int(text)
