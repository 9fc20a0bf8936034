"""What the lane leaves to Python comes over a socket of this process: datagrams with their sender before them.

layer u8, address size u8, control size u8, zero, ground + 1 u32 (0: nothing is to be taught), zero u32;
the sender's sockaddr, the control message that says which of our addresses was asked, the packet
"""

import socket
from collections.abc import Callable
from struct import Struct
from time import monotonic
from typing import Any

from resolver.server import DatagramClient, DatagramListener, Edge

_head = Struct("=BBBBI4x")
_port = Struct("!H")
_ipv6 = Struct("=I16sI")
_control = Struct("=Qii")
MOST_BYTES = 8192
_A_QUERY, _AN_ANSWER = 0, 1
# A burst that Python cannot take at once; what is beyond is lost, as in the buffer of any socket.
ROOM_BYTES = 1 << 20


def pair() -> tuple[socket.socket, socket.socket]:
    """(Python's end, the lane's end)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM_BYTES)
    return ours, theirs


class OddListener(DatagramListener):
    """The queries of one UDP socket that the lane leaves to us. `teach` is told (layer, ground) that it asks about."""

    def __init__(
        self,
        sock: socket.socket,
        ends: tuple[socket.socket, socket.socket],
        edge: Edge,
        teach: Callable[[int, int], None],
    ) -> None:
        super().__init__(sock, edge)
        # The lane's end stays open as long as ours: the thread that hears the upstreams may write to it when the one
        # that reads this socket has ended, and by then its number could be another file's.
        self.odd, self._theirs = ends
        self._teach = teach

    def fileno(self) -> int:
        return self.odd.fileno()

    def following(self) -> tuple[bytes, DatagramClient]:
        """The next packet; raises OSError when there is none."""
        data = self.odd.recv(MOST_BYTES)
        layer, address_bytes, control_bytes, kind, ground = _head.unpack_from(data)
        while kind != _A_QUERY:
            start = _head.size + ground
            key, session = data[_head.size : start], self._edge.session
            if kind == _AN_ANSWER:
                session.adopt(key, layer, data[start:], monotonic())
            else:
                session.asking.doubt(key)
            data = self.odd.recv(MOST_BYTES)
            layer, address_bytes, control_bytes, kind, ground = _head.unpack_from(data)
        start = _head.size + address_bytes
        address = socket_address(data[_head.size : start])
        end = start + control_bytes
        route = way_back(data[start:end]) if control_bytes else None
        if ground:
            self._teach(layer, ground - 1)
        return data[end:], DatagramClient(self._sock, address, route)


def socket_address(data: bytes) -> tuple[Any, ...]:
    """A sockaddr_in or sockaddr_in6 as the socket module gives it."""
    (port,) = _port.unpack_from(data, 2)
    if len(data) < 28:
        return socket.inet_ntoa(data[4:8]), port
    flow, address, scope = _ipv6.unpack_from(data, 4)
    return socket.inet_ntop(socket.AF_INET6, address), port, socket.ntohl(flow), scope


def way_back(data: bytes) -> list[tuple[int, int, bytes]]:
    """The control message with which an answer leaves from the address that was asked (ip(7), ipv6(7))."""
    size, level, kind = _control.unpack_from(data)
    value = data[_control.size : size]
    if level == socket.IPPROTO_IP:
        # By which interface is the routing table's choice.
        value = bytes(4) + value[4:]
    return [(level, kind, value)]
