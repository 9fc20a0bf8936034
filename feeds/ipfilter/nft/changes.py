"""Changing single elements of nftables maps, straight through netlink.

nft(8) reads a whole interval map before it adds or deletes one element: 14 s for a hundred of 168,000. The kernel
needs none of that. One batch is one transaction: it is carried out whole, or the kernel says no and nothing changed.

An interval is two elements, its first address and, flagged INTERVAL_END, the one after its last; an interval that
ends with the last address of all has no end.
"""

import errno
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from feeds.errors import Unavailable
from feeds.ipfilter.filter import BITS, Filter
from feeds.ipfilter.intervals import Intervals, Span, cut, differing, intersect
from feeds.ipfilter.lifetime import Lasting
from feeds.ipfilter.nft import wire
from feeds.ipfilter.nft.layout import MAPS, TABLE
from feeds.language import _

_NEW_ELEMENTS, _DELETE_ELEMENTS, _GET_GENERATION = 12, 14, 16
_BATCH_BEGIN, _BATCH_END = 16, 17
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_ELEMENT_KEY, _ELEMENT_FLAGS, _ELEMENT_TIMEOUT, _ELEMENT_OBJECT = 1, 3, 4, 9
_INTERVAL_END = struct.pack(">I", 1)
# The length of an attribute has sixteen bits; an element of IPv6 takes up to 76 bytes, and an interval is two.
_MOST_IN_MESSAGE = 400
# Beyond this, loading all anew costs no more.
MOST_CHANGES = 5_000


@dataclass(frozen=True, slots=True)
class Element:
    """One interval of a map; `counter` and `lifetime_seconds` (None for ever) count only where it is put in."""

    span: Span
    counter: str = ""
    lifetime_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """Elements to take out of a map, each exactly as the map holds it, and to put in."""

    name: str
    removed: list[Element]
    added: list[Element]


def edits_of(held: Filter, wanted: Filter, lasting: Lasting) -> list[Edit] | None:
    """What takes the maps of whole addresses from one to the other.

    None where that is too much, or the maps with ports differ, too.
    """
    before, after = dict(held.by_category()), dict(wanted.by_category())
    if any(_boxes(before.get(name)) != _boxes(after.get(name)) for name in {*before, *after}):
        return None
    edits = [Edit(name, [], []) for name, about in MAPS.items() if not about.protocol]
    for version in BITS:
        for name in sorted({*before, *after}):
            old, new = (parts.get(name, Filter()).whole(version) for parts in (before, after))
            gone, come = differing(old, new)
            lives: list[tuple[int | None, Intervals]] = [(None, come)]
            if lasting:
                lives = [(seconds, intersect(come, part.whole(version))) for seconds, part in lasting]
            for edit in edits:
                about = MAPS[edit.name]
                if about.version == version:
                    edit.removed.extend(map(Element, cut(gone, about.first, about.last)))
                    for life, spans in lives:
                        pieces = cut(spans, about.first, about.last)
                        edit.added.extend(Element(span, f"{name}{version}", life) for span in pieces)
    if sum(len(edit.removed) + len(edit.added) for edit in edits) > MOST_CHANGES:
        return None
    return edits


def generation() -> int | None:
    """The number of the rule set, which rises with every change of it by anybody; None where it cannot be had."""
    try:
        with wire.link() as link:
            for body in wire.answers(link, wire.of_nf_tables(_GET_GENERATION, wire.REQUEST, family=0)):
                return int(struct.unpack(">I", dict(wire.attributes(body))[1])[0])
    except (OSError, ValueError, KeyError, struct.error):
        pass
    return None


def send(edits: Iterable[Edit], generation: int) -> None:
    """Carry out all edits of our table in one transaction, if the rule set is still of that number.

    Raises Unavailable; nothing is changed then.
    """
    try:
        with wire.link() as link:
            link.send(batch(edits, generation))
            wire.acknowledged(link)
    except OSError as error:
        raise Unavailable(
            _("the kernel refuses to change the sets: {why}").format(why=os.strerror(error.errno or errno.EIO)),
            kept=_("the filter is as it was"),
            then=_("look at `blocker ip plan {target}`").format(target="nftables"),
        ) from None


def batch(edits: Iterable[Edit], generation: int) -> bytes:
    """The bytes of one transaction. What goes is said first, so that what comes may overlap it."""
    held = list(edits)
    subsystem = struct.pack(">BBH", 0, 0, 10)
    begin = subsystem + wire.attribute(1, struct.pack(">I", generation))
    made = [wire.message(_BATCH_BEGIN, wire.REQUEST, begin)]
    for edit in held:
        made += _messages(_DELETE_ELEMENTS, wire.REQUEST, edit.name, edit.removed)
    for edit in held:
        made += _messages(_NEW_ELEMENTS, wire.REQUEST | wire.CREATE, edit.name, edit.added)
    # Only the end is acknowledged; a message that fails is answered by itself.
    made.append(wire.message(_BATCH_END, wire.REQUEST | wire.ACK, subsystem))
    return b"".join(made)


def _boxes(part: Filter | None) -> object:
    return (part.tcp4, part.tcp6, part.udp4, part.udp6) if part else ((), (), (), ())


def _messages(kind: int, flags: int, name: str, elements: Sequence[Element]) -> Iterator[bytes]:
    version = MAPS[name].version
    head = wire.attribute(_LIST_TABLE, _text(TABLE)) + wire.attribute(_LIST_SET, _text(name))
    for start in range(0, len(elements), _MOST_IN_MESSAGE):
        part = elements[start : start + _MOST_IN_MESSAGE]
        listed = b"".join(piece for element in part for piece in _pieces(version, element))
        yield wire.of_nf_tables(kind, flags, head + wire.attribute(_LIST_ELEMENTS | wire.NESTED, listed))


def _pieces(version: int, element: Element) -> Iterator[bytes]:
    size = BITS[version] // 8
    first, last = element.span
    rest = b""
    if element.lifetime_seconds is not None:
        rest += wire.attribute(_ELEMENT_TIMEOUT, struct.pack(">Q", element.lifetime_seconds * 1000))
    if element.counter:
        rest += wire.attribute(_ELEMENT_OBJECT, _text(element.counter))
    yield _piece(first.to_bytes(size), rest)
    if last + 1 < 1 << BITS[version]:
        yield _piece((last + 1).to_bytes(size), wire.attribute(_ELEMENT_FLAGS, _INTERVAL_END))


def _piece(key: bytes, rest: bytes) -> bytes:
    held = wire.attribute(_ELEMENT_KEY | wire.NESTED, wire.attribute(1, key))
    return wire.attribute(1 | wire.NESTED, held + rest)


def _text(text: str) -> bytes:
    return text.encode() + b"\0"
