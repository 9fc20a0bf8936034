"""What differs between the release that the feed carries and the rules of a new one.

A release is sorted lines, so the two are compared as lines: only the old release's are held, and only what differs
becomes rules again. Two sets of a million rules would take several times the memory and the time.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import zstandard

from feeds.canonical import CHUNK_BYTES, decompressing, rule_line, rule_of_line
from feeds.errors import Untrusted
from feeds.language import _
from feeds.manifest import Manifest
from feeds.rule import Rule, hour_text

_EXPIRY = 8  # its place among the fields of a canonical rule line


@dataclass(frozen=True, slots=True)
class Difference:
    """Both in canonical order; a rule that changed stands once in each."""

    removed: tuple[Rule, ...]
    added: tuple[Rule, ...]

    def __bool__(self) -> bool:
        return bool(self.removed or self.added)


def release_lines(packed: bytes, manifest: Manifest) -> list[bytes]:
    """The rule lines of a compressed release; raises Untrusted unless it is the one the manifest describes."""
    state, pieces = hashlib.sha256(), []
    left = manifest.size + 1
    try:
        stream = decompressing(io.BytesIO(packed))
        while left > 0 and (chunk := stream.read(min(CHUNK_BYTES, left))):
            state.update(chunk)
            pieces.append(chunk)
            left -= len(chunk)
    except zstandard.ZstdError:
        pieces.clear()
    if left != 1 or state.hexdigest() != manifest.digest:
        raise Untrusted(
            _("the release {n} in the feed's directory is damaged").format(n=manifest.serial),
            kept=_("nothing was changed"),
            then=_("restore the feed's directory from a backup; an older copy will do"),
        )
    return b"".join(pieces).partition(b"\n\n")[2].split(b"\n")[:-1]


def rules_of(lines: Iterable[bytes]) -> tuple[Rule, ...]:
    """The rules of canonical lines."""
    return tuple(rule_of_line(line.decode()) for line in lines)


def lapsed(lines: Iterable[bytes], hour: int) -> tuple[list[bytes], list[bytes]]:
    """The lines still in force at `hour` (since 1970) and those that have lapsed."""
    # Hours are written with a fixed width, so that their text sorts as they do.
    now = hour_text(hour).encode()
    live: list[bytes] = []
    gone: list[bytes] = []
    for line in lines:
        (live if line.split(b"\t", _EXPIRY + 1)[_EXPIRY] > now else gone).append(line)
    return live, gone


def difference(lines: Sequence[bytes], rules: Iterable[Rule]) -> Difference:
    """From the release whose rule lines these are to `rules`, which stand in canonical order."""
    gone = set(lines)
    added = []
    for rule in rules:
        line = rule_line(rule).encode()
        if line in gone:
            gone.discard(line)
        else:
            added.append(rule)
    return Difference(tuple(sorted(rules_of(gone), key=lambda rule: rule.key)), tuple(added))
