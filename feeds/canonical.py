"""Release and Delta <-> bytes. One release has exactly one byte form, and its digest is SHA-256 over it.

Form (version 1), UTF-8, lines ended by LF, fields separated by TAB:

    blocker-release 1                         blocker-delta 1
    authority  ID                             authority  ID
    serial  N                                 from  N
    rules  COUNT                              to  N
                                              removed  COUNT
                                              added  COUNT
    (an empty line, then a line a rule)       (an empty line, then `-` or `+` before each rule, removed ones first)

    rule: KIND TARGET LIMITS ACTION DATA ENTRY CATEGORY DECISION EXPIRY [KEY=VALUE ...]

KIND is exact, subtree or prefix; EXPIRY is an hour, `2026-11-24T05Z`. Rules rise in `Rule.key`. Further fields are
for later versions: a key that begins with a small letter may be carried on unread and survives a round trip; one
that begins with a capital changes the rule's meaning, so a reader that does not know it refuses the whole file.
"""

import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import zstandard

from feeds.delta import Delta
from feeds.errors import Failure, Untrusted
from feeds.language import _
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.release import Release
from feeds.rule import (
    NO_LIMITS,
    Action,
    Category,
    Limits,
    NameTarget,
    Rule,
    Scope,
    Serial,
    hour_of_text,
    hour_text,
)

VERSION = 1
MAX_LINE_BYTES = 8192
CHUNK_BYTES = 1 << 18
MAX_RELEASE_BYTES = 1 << 30
MAX_RULES = 10_000_000
ZSTD_LEVEL = 9

_SCOPES = {str(scope): scope for scope in Scope}
_ACTIONS = {str(action): action for action in Action}
_CATEGORIES = {str(category): category for category in Category}


def rule_line(rule: Rule) -> str:
    """The canonical line of a rule, without its line end."""
    target = rule.target
    if isinstance(target, NameTarget):
        start = f"{target.scope}\t{target.name.text}\t-"
    else:
        start = f"prefix\t{target}\t{rule.limits}"
    ground = f"{rule.entry}\t{rule.category}\t{rule.decision}\t{hour_text(rule.expires)}"
    line = f"{start}\t{rule.action}\t{rule.data}\t{ground}"
    for key, value in rule.extra:
        line += f"\t{key}={value}"
    return line


def rule_of_line(line: str) -> Rule:
    """The reverse of `rule_line`; raises Rejected or Untrusted for anything but a canonical line."""
    fields = line.split("\t")
    if len(fields) < 9:
        raise Untrusted(_("a rule has {n} fields instead of 9").format(n=len(fields)))
    kind, target_text, limits_text, action_text, data, entry, category_text, decision, expiry = fields[:9]
    action, category = _ACTIONS.get(action_text), _CATEGORIES.get(category_text)
    if action is None or category is None:
        raise Untrusted(
            _("«{word}» is no action or category that this version knows").format(
                word=category_text if action else action_text
            )
        )
    scope = _SCOPES.get(kind)
    target: NameTarget | Prefix
    if scope is not None:
        target = NameTarget(DomainName(target_text), scope)
    elif kind == "prefix":
        target = Prefix.of_text(target_text)
    else:
        raise Untrusted(_("«{word}» is no kind of target that this version knows").format(word=kind))
    limits = NO_LIMITS
    if limits_text != "-":
        limits = Limits.parse(limits_text)
        if str(limits) != limits_text:
            raise Untrusted(_("«{text}» is not in canonical form").format(text=limits_text))
    extra = tuple(_extra(field) for field in fields[9:]) if len(fields) > 9 else ()
    return Rule(target, action, entry, category, decision, hour_of_text(expiry), data, limits, extra)


def release_chunks(release: Release) -> Iterator[bytes]:
    """The canonical bytes of a release, in pieces of about a quarter of a megabyte."""
    head = (
        f"blocker-release {VERSION}\nauthority\t{release.authority}\nserial\t{int(release.serial)}\n"
        f"rules\t{len(release.rules)}\n\n"
    )
    yield from _chunks(head, (rule_line(rule) + "\n" for rule in release.rules))


def delta_chunks(delta: Delta) -> Iterator[bytes]:
    """The canonical bytes of a delta."""
    head = (
        f"blocker-delta {VERSION}\nauthority\t{delta.authority}\nfrom\t{int(delta.from_serial)}\n"
        f"to\t{int(delta.to_serial)}\nremoved\t{len(delta.removed)}\nadded\t{len(delta.added)}\n\n"
    )

    def lines() -> Iterator[str]:
        for rule in delta.removed:
            yield f"-\t{rule_line(rule)}\n"
        for rule in delta.added:
            yield f"+\t{rule_line(rule)}\n"

    yield from _chunks(head, lines())


@dataclass(frozen=True, slots=True)
class Digest:
    """SHA-256 (hexadecimal) and length of canonical bytes."""

    sha256: str
    size: int


def digest(release: Release) -> Digest:
    """The release's digest and size."""
    return digest_of(release_chunks(release))


def digest_of(chunks: Iterable[bytes]) -> Digest:
    """Digest and size of bytes given in pieces."""
    state, size = hashlib.sha256(), 0
    for chunk in chunks:
        state.update(chunk)
        size += len(chunk)
    return Digest(state.hexdigest(), size)


def read_release(stream: BinaryIO, max_bytes: int = MAX_RELEASE_BYTES) -> Release:
    """Read canonical bytes, not more than `max_bytes`; raises Untrusted for anything else."""
    reader = _Reader(stream, max_bytes)
    reader.head("blocker-release")
    authority = reader.field("authority")
    serial, count = reader.number("serial"), reader.number("rules")
    reader.blank()
    rules = tuple(reader.rules(count, ""))
    reader.end()
    with reader.place():
        return Release(authority, Serial(serial), rules)


def read_rules(stream: BinaryIO, max_bytes: int = MAX_RELEASE_BYTES) -> Iterator[Rule]:
    """The rules of a release's canonical bytes one by one, so that they need never be in memory together.

    Raises Untrusted like `read_release`, but only when it comes to the place, and does not look at the rules' order:
    for bytes whose digest was checked when they were accepted, and is checked again by whoever reads.
    """
    reader = _Reader(stream, max_bytes)
    reader.head("blocker-release")
    reader.field("authority")
    reader.number("serial")
    count = reader.number("rules")
    reader.blank()
    yield from reader.rules(count, "")
    reader.end()


def read_delta(stream: BinaryIO, max_bytes: int = MAX_RELEASE_BYTES) -> Delta:
    """Read a delta's canonical bytes, not more than `max_bytes`; raises Untrusted for anything else."""
    reader = _Reader(stream, max_bytes)
    reader.head("blocker-delta")
    authority = reader.field("authority")
    old, new = reader.number("from"), reader.number("to")
    gone, come = reader.number("removed"), reader.number("added")
    reader.blank()
    removed, added = tuple(reader.rules(gone, "-\t")), tuple(reader.rules(come, "+\t"))
    reader.end()
    with reader.place():
        # A Release's constructor checks order and ownership; a delta's halves obey the same rules.
        Release(authority, Serial(max(old, 1)), removed)
        Release(authority, Serial(new), added)
        if not old < new:
            raise Untrusted(_("a delta must run upwards"))
        return Delta(authority, Serial(old), Serial(new), removed, added)


def compress(chunks: Iterable[bytes], size: int) -> bytes:
    """zstd frame of `size` bytes given in pieces, with its content size and checksum."""
    out = io.BytesIO()
    packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
    with packer.stream_writer(out, size=size, closefd=False) as writer:
        for chunk in chunks:
            writer.write(chunk)
    return out.getvalue()


def decompressing(stream: BinaryIO) -> BinaryIO:
    """A reader of the plain bytes of a zstd file. What it yields is bounded by whoever reads it."""
    # 2**27 is the largest window the format's own tools accept by default; it bounds memory, not output.
    return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(stream, closefd=False)


def _chunks(head: str, lines: Iterable[str]) -> Iterator[bytes]:
    held, size = [head], len(head)
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield "".join(held).encode()
            held, size = [], 0
    if held:
        yield "".join(held).encode()


def _extra(field: str) -> tuple[str, str]:
    key, equals, value = field.partition("=")
    if not equals or not key[:1].islower():
        raise Untrusted(
            _("field «{key}» changes what the rule means, and this version does not know it").format(key=key[:40])
        )
    return key, value


class _Reader:
    """Lines of a stream, bounded in line and total length; every fault becomes Untrusted with its place."""

    def __init__(self, stream: BinaryIO, max_bytes: int) -> None:
        self._line_no = 0
        self._lines = self._split(stream, max_bytes)

    def _split(self, stream: BinaryIO, max_bytes: int) -> Iterator[str]:
        left, rest = max_bytes, b""
        while True:
            try:
                chunk = stream.read(min(CHUNK_BYTES, left + 1))
            except (zstandard.ZstdError, zlib.error, EOFError) as error:
                raise self._fault(_("the compressed data is damaged")) from error
            left -= len(chunk)
            if left < 0:
                raise self._fault(_("it is larger than the {n} bytes that were announced").format(n=max_bytes))
            if not chunk:
                break
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            if len(rest) > MAX_LINE_BYTES or any(len(line) > MAX_LINE_BYTES for line in lines):
                raise self._fault(_("a line is too long"))
            try:
                for line in lines:
                    self._line_no += 1
                    yield line.decode()
            except UnicodeDecodeError:
                raise self._fault(_("it is not UTF-8 text")) from None
        if rest:
            raise self._fault(_("it is cut off"))

    def _fault(self, what: str) -> Untrusted:
        return Untrusted(_("line {n}: {what}").format(n=self._line_no, what=what))

    def place(self) -> "_Place":
        return _Place(self)

    def line(self) -> str:
        line = next(self._lines, None)
        if line is None:
            raise self._fault(_("it is cut off"))
        return line

    def head(self, kind: str) -> None:
        word, _space, version = self.line().partition(" ")
        if word != kind:
            raise self._fault(_("this is no {kind} file").format(kind=kind))
        if version != str(VERSION):
            raise self._fault(_("format version «{v}» needs a newer program").format(v=version[:20]))

    def field(self, name: str) -> str:
        word, _tab, value = self.line().partition("\t")
        if word != name:
            raise self._fault(_("«{name}» is missing").format(name=name))
        return value

    def number(self, name: str) -> int:
        value = self.field(name)
        if not (value.isascii() and value.isdigit()) or len(value) > 10 or str(int(value)) != value:
            raise self._fault(_("«{name}» is not a number").format(name=name))
        if int(value) > MAX_RULES:
            raise self._fault(_("«{name}» is beyond every limit").format(name=name))
        return int(value)

    def blank(self) -> None:
        if self.line():
            raise self._fault(_("there is a header line that this version does not know"))

    def rules(self, count: int, mark: str) -> Iterator[Rule]:
        skip = len(mark)
        with self.place():
            for _n in range(count):
                line = self.line()
                if not line.startswith(mark):
                    raise Untrusted(_("a rule is missing"))
                yield rule_of_line(line[skip:])

    def end(self) -> None:
        if next(self._lines, None) is not None:
            raise self._fault(_("there is more than was announced"))


class _Place:
    """Turns any Failure inside into Untrusted that names the line."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Failure) and not error.what.startswith(_("line {n}: {what}")[:5]):
            raise self._reader._fault(error.what) from error
