"""How a process leaves a UDP port to others without losing a packet."""

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

LAST_READINGS = 64  # of a socket that is given up, each of up to `PACKETS_PER_TURN`
DISCARD = 9


def take_no_more(sock: socket.socket) -> None:
    """Let the kernel give new packets to the other sockets at this address; those in the buffer stay to be read.

    A connected socket gets packets from its peer alone, and nobody sends from the port of discard; answers can still
    be sent by it to anybody.
    """
    host, _port, *scope = sock.getsockname()
    if ip_address(host).is_unspecified:
        host = "::1" if sock.family == socket.AF_INET6 else "127.0.0.1"
    with suppress(OSError):
        sock.connect((host, DISCARD, *scope))


def read_out(sock: socket.socket, read: Callable[[], None]) -> None:
    """Read what is left in its buffer."""
    for _reading in range(LAST_READINGS):
        if not has_packet(sock):
            return
        read()


def has_packet(sock: socket.socket) -> bool:
    """Is there something to be read? Its number may be above 1,024, where select(2) ends."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
