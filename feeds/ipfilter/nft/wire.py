"""Messages of netlink as nf_tables speaks it: linux/netlink.h, linux/netfilter/nfnetlink.h and nf_tables.h.

A message is a header and attributes; an attribute is its length, its kind and a value, which may be attributes again.
Headers are in the machine's byte order, values of nf_tables in the network's.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator

_NETLINK_NETFILTER = 12
NFPROTO_INET = 1
REQUEST, ACK, DUMP, CREATE = 0x1, 0x4, 0x300, 0x400
_ERROR, _DONE = 2, 3
# Somebody changed something while it was listed: what was listed is no state that there ever was.
_INTERRUPTED = 0x10
NESTED = 0x8000
_KIND = 0x3FFF
_NF_TABLES = 10 << 8
_SOCKET_BYTES = 4 << 20
_ANSWER_BYTES = 1 << 18
_ANSWER_SECONDS = 10.0
# A dump of a full set of IPv6 takes some 600.
_MOST_ANSWERS = 1 << 20


class Interrupted(OSError):
    """What was listed changed meanwhile."""


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def of_nf_tables(kind: int, flags: int, body: bytes = b"", family: int = NFPROTO_INET) -> bytes:
    """A message of nf_tables: its kind (NFT_MSG_...) and, after the family, attributes."""
    return message(_NF_TABLES | kind, flags, struct.pack(">BBH", family, 0, 0) + body)


def attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of each; raises ValueError for what is no list of attributes."""
    place = 0
    while place < len(body):
        if place + 4 > len(body):
            raise ValueError("an attribute without a head")
        size, kind = struct.unpack_from("=HH", body, place)
        if size < 4 or place + size > len(body):
            raise ValueError("an attribute past the end")
        yield kind & _KIND, body[place + 4 : place + size]
        place += size + 3 & ~3


def link() -> socket.socket:
    """A socket to nf_tables; raises OSError."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    try:
        made.settimeout(_ANSWER_SECONDS)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        made.bind((0, 0))
    except OSError:
        made.close()
        raise
    return made


def answers(talking: socket.socket, asked: bytes) -> Iterator[bytes]:
    """The attributes of each message that answers a dump, or a single question; raises OSError where it says no."""
    talking.send(asked)
    listing = bool(struct.unpack_from("=H", asked, 6)[0] & DUMP == DUMP)
    for _turn in range(_MOST_ANSWERS):
        for kind, flags, body in _split(talking.recv(_ANSWER_BYTES)):
            if flags & _INTERRUPTED:
                raise Interrupted
            if kind == _DONE:
                return
            if kind == _ERROR:
                check(body)
                return
            yield body[4:]
            if not listing:
                return
    raise OSError(errno.EIO, "an answer without an end")


def acknowledged(talking: socket.socket) -> None:
    """Wait until what was sent is acknowledged; raises OSError for the first answer that says no."""
    for _turn in range(_MOST_ANSWERS):
        for kind, _flags, body in _split(talking.recv(_ANSWER_BYTES)):
            if kind == _ERROR:
                check(body)
                return
    raise OSError(errno.EIO, "an answer without an end")


def check(body: bytes) -> None:
    """Raise the OSError that an answer of kind NLMSG_ERROR carries; zero is none."""
    (code,) = struct.unpack_from("=i", body)
    if code:
        raise OSError(-code, os.strerror(-code))


def _split(answer: bytes) -> Iterator[tuple[int, int, bytes]]:
    place = 0
    while place + 16 <= len(answer):
        size, kind, flags = struct.unpack_from("=IHH", answer, place)
        if size < 16 or place + size > len(answer):
            raise OSError("a message past the end")
        yield kind, flags, answer[place + 16 : place + size]
        place += size + 3 & ~3
