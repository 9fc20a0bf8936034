"""Reading a zone file (RFC 1035 section 5), line by line within bounds; a line that cannot be read is counted.

dnspython's reader gives up at the first fault and takes a minute for what a list of a million names is here read in a
few seconds. So lines are taken apart here, the usual one (a CNAME) by one expression, and only the data of other
types are dnspython's to read.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, Final

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.ttl

from feeds.errors import Rejected
from feeds.language import _
from feeds.message.building import encode_name
from feeds.message.words import CNAME, IN, MAX_NAME_BYTES, SOA, Record

MAX_LINE_BYTES: Final = 1 << 17
MAX_RECORDS: Final = 5_000_000
MAX_ZONE_BYTES: Final = 1 << 30
DEFAULT_TTL_SECONDS: Final = 300
MAX_TTL_SECONDS: Final = 0x7FFFFFFF

_USUAL = re.compile(
    rb"([\w*.@/-]*)[ \t]+(?:(\d{1,10})[ \t]+)?(?:IN[ \t]+)?(?:(\d{1,10})[ \t]+)?"
    rb"CNAME[ \t]+([\w*.@-]+)",
    re.IGNORECASE | re.ASCII,
)
_TOKEN = re.compile(rb'[ \t]*("(?:[^"\\]|\\.)*"|(?:[^ \t"\\]|\\.)+)', re.DOTALL)
_CLASSES = {b"IN": 1, b"CH": 3, b"HS": 4, b"CS": 2}


class _Unreadable(Exception):
    """The line is none of a zone file; the reason is one of `meaning.REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_master(file: BinaryIO, zone: bytes, skipped: Counter[str]) -> Iterator[Record]:
    """The records of a file whose origin is `zone` (wire name, lower case); raises Rejected where it is too large."""
    reader = _Reader(zone)
    for count, line in enumerate(_lines(file, skipped)):
        if count >= MAX_RECORDS:
            raise Rejected(_("the zone has more than {n} records").format(n=MAX_RECORDS), rule="zone.size")
        try:
            record = reader.usual(line) or reader.any(line)
        except _Unreadable as why:
            skipped[why.reason] += 1
        else:
            if record is not None:
                yield record


class _Reader:
    """What one line leaves to the next: origin, owner and TTL."""

    def __init__(self, zone: bytes) -> None:
        self._origin = zone
        self._owner = b""
        self._ttl = DEFAULT_TTL_SECONDS
        self._ttl_set = False

    def usual(self, line: bytes) -> Record | None:
        """Most lines by far: an owner, CNAME and its target, nothing escaped or quoted."""
        found = _USUAL.fullmatch(line)
        if found is None:
            return None
        owner, before, behind, target = found.groups()
        return Record(self._named(owner), CNAME, IN, self._timed(before or behind), self._name(target))

    def any(self, line: bytes) -> Record | None:
        """Any other line: None where it holds no record."""
        if line[:1] == b"$":
            self._directive(line.split())
            return None
        tokens = _TOKEN.match(line)
        owner = b""
        at = 0
        if line[:1] not in b" \t" and tokens is not None:
            owner, at = tokens[1], tokens.end()
        ttl, rclass = b"", IN
        while (token := _TOKEN.match(line, at)) is not None:
            word = token[1].upper()
            at = token.end()
            if word in _CLASSES:
                rclass = _CLASSES[word]
            elif word[:1].isdigit():
                ttl = token[1]
            else:
                break
        else:
            if line.strip():
                raise _Unreadable("syntax")
            return None
        name = self._named(owner)
        rtype = _type(word)
        if rclass != IN:
            return Record(name, rtype, rclass, 0, b"")
        rdata = self._data(rtype, line[at:])
        made = Record(name, rtype, IN, self._timed(ttl), rdata)
        if rtype == SOA and not self._ttl_set:
            # RFC 1035 section 5.2: until `$TTL` came (RFC 2308 section 4), the SOA's last field was the default.
            self._ttl = min(int.from_bytes(rdata[-4:]), MAX_TTL_SECONDS)
        return made

    def _directive(self, words: list[bytes]) -> None:
        word = words[0].upper()
        if word == b"$ORIGIN" and len(words) >= 2:
            self._origin = self._name(words[1])
        elif word == b"$TTL" and len(words) >= 2:
            self._ttl, self._ttl_set = _seconds(words[1]), True
        else:
            raise _Unreadable("directive")

    def _named(self, owner: bytes) -> bytes:
        if owner:
            self._owner = b""
            self._owner = self._name(owner).lower()
        if not self._owner:
            raise _Unreadable("syntax")
        return self._owner

    def _timed(self, ttl: bytes | None) -> int:
        return _seconds(ttl) if ttl else self._ttl

    def _name(self, text: bytes) -> bytes:
        """The wire name of what is written, relative to the origin unless it ends in a dot."""
        if text == b"@":
            return self._origin
        try:
            if b"\\" in text or b'"' in text:
                name = dns.name.from_text(text.decode("latin-1"), dns.name.Name([b""]) if _whole(text) else None)
                wire = b"".join(bytes((len(label),)) + label for label in name.labels)
            else:
                wire = encode_name(text.decode("ascii"))
                wire = wire if _whole(text) else wire[:-1]
        except Exception:
            # dnspython and the codec each have errors of their own.
            raise _Unreadable("name") from None
        if not _whole(text):
            wire += self._origin
        if len(wire) > MAX_NAME_BYTES:
            raise _Unreadable("name")
        return wire

    def _data(self, rtype: int, text: bytes) -> bytes:
        if rtype == CNAME:
            words = text.split()
            if len(words) != 1:
                raise _Unreadable("data")
            return self._name(words[0])
        try:
            origin, _end = dns.name.from_wire(self._origin, 0)
            kind = dns.rdatatype.RdataType.make(rtype)
            rdata = dns.rdata.from_text(dns.rdataclass.IN, kind, text.decode("latin-1"), origin, False)
            return rdata.to_wire() or b""
        except Exception:
            # dnspython raises whatever its parser of that type meets: struct.error, ValueError and more.
            raise _Unreadable("data") from None


def _whole(text: bytes) -> bool:
    """Does the name end in a dot that is no part of a label?"""
    if not text.endswith(b"."):
        return False
    rest = text[:-1]
    return (len(rest) - len(rest.rstrip(b"\\"))) % 2 == 0


def _type(word: bytes) -> int:
    known = _TYPES.get(word)
    if known is None:
        try:
            known = int(dns.rdatatype.from_text(word.decode("ascii")))
        except Exception:
            raise _Unreadable("syntax") from None
        _TYPES[word] = known
    return known


_TYPES: dict[bytes, int] = {}


def _seconds(text: bytes) -> int:
    """`300`, `1h30m`; what is past the most is none (RFC 2181 section 8)."""
    try:
        seconds = int(text) if text.isdigit() else dns.ttl.from_text(text.decode("ascii"))
    except ValueError:
        raise _Unreadable("syntax") from None
    except dns.ttl.BadTTL:
        raise _Unreadable("syntax") from None
    return seconds if seconds <= MAX_TTL_SECONDS else 0


def _lines(file: BinaryIO, skipped: Counter[str]) -> Iterator[bytes]:
    """Lines as parentheses join them, without comments (where they do not hinder), within MAX_LINE_BYTES each."""
    held, depth, left = bytearray(), 0, MAX_ZONE_BYTES
    while line := file.readline(MAX_LINE_BYTES):
        left -= len(line)
        if left < 0:
            raise Rejected(_("the zone has more than {n} bytes").format(n=MAX_ZONE_BYTES), rule="zone.size")
        if not line.endswith(b"\n") and len(line) == MAX_LINE_BYTES:
            skipped["syntax"] += 1
            while (line := file.readline(MAX_LINE_BYTES)) and not line.endswith(b"\n"):
                left -= len(line)
            held.clear()
            depth = 0
            continue
        if not depth and not (b"(" in line or b")" in line or b'"' in line or b"\\" in line):
            plain = line.partition(b";")[0].rstrip()
            if plain:
                yield plain
            continue
        cut, depth = _uncommented(line, depth)
        held += cut
        if depth < 0 or len(held) > MAX_LINE_BYTES:
            skipped["syntax"] += 1
        elif not depth and held.strip():
            yield bytes(held.rstrip())
        if depth <= 0 or len(held) > MAX_LINE_BYTES:
            held.clear()
            depth = 0
    if depth:
        skipped["syntax"] += 1


def _uncommented(line: bytes, depth: int) -> tuple[bytes, int]:
    """A line with its comment cut off and its parentheses turned to blanks; and how many of them are open then."""
    out, quoted, at = bytearray(), False, 0
    line = line.rstrip(b"\r\n")
    while at < len(line):
        char = line[at : at + 1]
        if char == b"\\":
            out += line[at : at + 2]
            at += 2
            continue
        if char == b'"':
            quoted = not quoted
        elif not quoted and char == b";":
            break
        elif not quoted and char in b"()":
            depth += 1 if char == b"(" else -1
            char = b" "
            if depth < 0:
                break
        out += char
        at += 1
    return bytes(out) + b" ", depth
