"""Changing single elements of nftables sets, straight through netlink (AF_NETLINK, NETLINK_NETFILTER).

nft(8) reads a whole interval set before it adds or deletes one element: 14 s for a hundred of 168,000. The kernel
needs none of that. One batch is one transaction: it is carried out whole, or the kernel says no and nothing changed.

Messages: linux/netlink.h, linux/netfilter/nfnetlink.h and nf_tables.h. An interval is two elements, its first address
and, flagged INTERVAL_END, the one after its last; an interval that ends with the last address of all has no end.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from feeds.errors import Unavailable
from feeds.ipfilter.intervals import Intervals
from feeds.ipfilter.wanted import BITS
from feeds.language import _

_NETLINK_NETFILTER = 12
_NFPROTO_INET = 1
_SUBSYSTEM = 10 << 8
_NEW_ELEMENTS, _DELETE_ELEMENTS = _SUBSYSTEM | 12, _SUBSYSTEM | 14
_NEW_GENERATION, _GET_GENERATION = _SUBSYSTEM | 15, _SUBSYSTEM | 16
_BATCH_BEGIN, _BATCH_END, _ERROR = 16, 17, 2
_REQUEST, _ACK, _CREATE = 0x1, 0x4, 0x400
_NESTED = 0x8000
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_ELEMENT_KEY, _ELEMENT_FLAGS, _ELEMENT_TIMEOUT = 1, 3, 4
_INTERVAL_END = struct.pack(">I", 1)
# The length of an attribute has sixteen bits; an element of IPv6 takes up to 52 bytes, and an interval is two.
_MOST_IN_MESSAGE = 500
# Beyond this, loading all anew costs no more.
MOST_CHANGES = 5_000
_SOCKET_BYTES = 4 << 20
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Edit:
    """Intervals to take out of a set, each exactly as the set holds it, and to put in.

    `lifetimes` are the seconds that each of `added` lasts, None for ever.
    """

    name: str
    removed: Intervals
    added: Intervals
    lifetimes: Sequence[int | None]


def generation() -> int | None:
    """The number of the rule set, which rises with every change of it by anybody; None where it cannot be had."""
    try:
        with _link() as link:
            link.send(_message(_GET_GENERATION, _REQUEST, struct.pack(">BBH", 0, 0, 0)))
            answer = link.recv(1 << 16)
    except OSError:
        return None
    # Header 16, family 4, then the attribute NFTA_GEN_ID, which comes first.
    size, kind = struct.unpack_from("=IH", answer)
    found: int | None = struct.unpack_from(">I", answer, 24)[0] if kind == _NEW_GENERATION and size >= 28 else None
    return found


def send(table: str, edits: Iterable[Edit], generation: int) -> None:
    """Carry out all edits of sets of `table` (family inet) in one transaction, if the rule set is still of that number.

    Raises Unavailable; nothing is changed then.
    """
    try:
        with _link() as link:
            link.send(batch(table, edits, generation))
            _check(link)
    except OSError as error:
        raise Unavailable(
            _("the kernel refuses to change the sets: {why}").format(why=os.strerror(error.errno or errno.EIO)),
            kept=_("the filter in the kernel is as it was"),
            then=_("look at `blocker ip plan {target}`").format(target="nftables"),
        ) from None


def batch(table: str, edits: Iterable[Edit], generation: int) -> bytes:
    """The bytes of one transaction. What goes is said first, so that what comes may overlap it."""
    held = list(edits)
    subsystem = struct.pack(">BBH", 0, 0, 10)
    made = [_message(_BATCH_BEGIN, _REQUEST, subsystem + _attribute(1, struct.pack(">I", generation)))]
    for edit in held:
        made += _messages(_DELETE_ELEMENTS, _REQUEST, table, edit.name, edit.removed, [None] * len(edit.removed))
    for edit in held:
        made += _messages(_NEW_ELEMENTS, _REQUEST | _CREATE, table, edit.name, edit.added, edit.lifetimes)
    # Only the end is acknowledged; a message that fails is answered by itself.
    made.append(_message(_BATCH_END, _REQUEST | _ACK, subsystem))
    return b"".join(made)


def _link() -> socket.socket:
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    try:
        link.settimeout(_ANSWER_SECONDS)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        link.bind((0, 0))
    except OSError:
        link.close()
        raise
    return link


def _check(link: socket.socket) -> None:
    """Read answers until the end of the batch is acknowledged; raises OSError for the first that says no."""
    while True:
        answer = link.recv(1 << 16)
        place = 0
        while place + 20 <= len(answer):
            size, kind, _flags, _number, _port, code = struct.unpack_from("=IHHIIi", answer, place)
            if kind == _ERROR and code:
                raise OSError(-code, os.strerror(-code))
            if kind == _ERROR:
                return
            place += max(20, size + 3 & ~3)


def _messages(
    kind: int, flags: int, table: str, name: str, intervals: Intervals, lifetimes: Sequence[int | None]
) -> Iterator[bytes]:
    version = int(name[-1])
    for start in range(0, len(intervals), _MOST_IN_MESSAGE):
        part = zip(
            intervals[start : start + _MOST_IN_MESSAGE], lifetimes[start : start + _MOST_IN_MESSAGE], strict=True
        )
        elements = b"".join(
            element for (first, last), seconds in part for element in _elements(version, first, last, seconds)
        )
        body = _attribute(_LIST_TABLE, table.encode() + b"\0") + _attribute(_LIST_SET, name.encode() + b"\0")
        body += _attribute(_LIST_ELEMENTS | _NESTED, elements)
        yield _message(kind, flags, struct.pack(">BBH", _NFPROTO_INET, 0, 0) + body)


def _elements(version: int, first: int, last: int, seconds: int | None) -> Iterator[bytes]:
    size = BITS[version] // 8
    lasting = b"" if seconds is None else _attribute(_ELEMENT_TIMEOUT, struct.pack(">Q", seconds * 1000))
    yield _element(first.to_bytes(size), lasting)
    if last + 1 < 1 << BITS[version]:
        yield _element((last + 1).to_bytes(size), _attribute(_ELEMENT_FLAGS, _INTERVAL_END))


def _element(key: bytes, rest: bytes) -> bytes:
    return _attribute(1 | _NESTED, _attribute(_ELEMENT_KEY | _NESTED, _attribute(1, key)) + rest)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body
