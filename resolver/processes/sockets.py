"""What a lane listens on. Each lane has sockets of its own at the same addresses (SO_REUSEPORT): the kernel gives each
client to one of them, and the share of a dead lane to the living, since nobody else holds its sockets.
"""

import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from feeds.errors import Unavailable
from feeds.language import _
from resolver.processes.settings import Settings
from resolver.server import (
    Edge,
    StreamListener,
    is_local,
    tcp_socket,
    udp_socket,
)
from resolver.upstream import Address


@dataclass(frozen=True, slots=True)
class Sockets:
    """Bound, not yet read from."""

    datagrams: tuple[socket.socket, ...]
    streams: tuple[socket.socket, ...]
    tls: tuple[socket.socket, ...]
    https: tuple[socket.socket, ...]

    @classmethod
    def bound(cls, settings: Settings, *, shared: bool = True) -> "Sockets":
        """Raises Unavailable. Not `shared`: only where nobody else listens, not even another of ours."""
        datagrams: list[socket.socket] = []
        streams: list[socket.socket] = []
        tls: list[socket.socket] = []
        https: list[socket.socket] = []
        try:
            for address in settings.listen:
                with _refused(address):
                    datagrams.append(udp_socket(*address, shared=shared))
                    streams.append(tcp_socket(address[0], datagrams[-1].getsockname()[1], shared=shared))
            for addresses, sockets in ((settings.tls, tls), (settings.https, https)):
                for address in addresses:
                    with _refused(address):
                        sockets.append(tcp_socket(*address, shared=shared))
        except Unavailable:
            for sock in (*datagrams, *streams, *tls, *https):
                sock.close()
            raise
        return cls(tuple(datagrams), tuple(streams), tuple(tls), tuple(https))

    def close(self) -> None:
        for sock in (*self.datagrams, *self.streams, *self.tls, *self.https):
            sock.close()


class _refused:
    """Says what was to be bound and why it cannot be."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            host, port = self._address
            raise Unavailable(
                _("cannot listen on {address} port {port}: {why}").format(address=host, port=port, why=error.strerror),
                then=_("stop what listens there, or give another --listen; ports below 1024 need root"),
            ) from None


def listen_streams(
    sockets: Sockets, settings: Settings, edge: Edge, connections: Counter[str], reactor: Any
) -> Callable[[], None]:
    """Accept TCP, TLS and HTTPS connections from now on; `connections` counts the open ones.

    Returns what ends the accepting.
    """
    every = [(sock, plain) for sock in sockets.streams]
    if settings.credentials is not None:
        every += [(sock, settings.credentials.over_tls) for sock in sockets.tls]
        every += [(sock, settings.credentials.over_https) for sock in sockets.https]
    ports = []
    for sock, dressed in every:
        listener = StreamListener(edge, settings.streams, connections, reactor, is_local(sock))
        ports.append(reactor.adoptStreamPort(sock.fileno(), sock.family, dressed(listener)))
        # The port has a copy of its own.
        sock.close()

    def end() -> None:
        for port in ports:
            # Who waits to be accepted would be reset; who comes later meets another lane.
            port.doRead()
            port.stopListening()

    return end


def plain(listener: StreamListener) -> Any:
    """A listener as it is."""
    return listener
