"""`GET /metrics` over HTTP, in the loop of the process that looks after the others; nothing here ever waits.

Twisted's server cannot be used there: its reactor, once made, would be shared with every process forked later.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from time import monotonic
from typing import Final

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
MAX_CONNECTIONS: Final = 50
MAX_REQUEST_BYTES: Final = 8192
PATIENCE_SECONDS: Final = 5.0
PATH: Final = b"/metrics"

# Called with the page when it is made.
Respond = Callable[[bytes], None]


class MetricsPort:
    """A listening socket and its connections. `wanted` is asked for the page and answers when it has it."""

    def __init__(self, sock: socket.socket, selector: BaseSelector, wanted: Callable[[Respond], None]) -> None:
        self._sock = sock
        self._selector = selector
        self._wanted = wanted
        self._open: set[_Connection] = set()
        selector.register(sock, EVENT_READ, self._accept)

    def turn(self, now: float) -> None:
        """Close what takes too long."""
        for connection in [one for one in self._open if now > one.until]:
            connection.close()

    def close(self) -> None:
        """Close all; nothing is registered any more."""
        for connection in list(self._open):
            connection.close()
        self._selector.unregister(self._sock)
        self._sock.close()

    def leave(self) -> None:
        """In a child: close our copies, which harms no connection."""
        for connection in self._open:
            connection.sock.close()
        self._sock.close()

    def _accept(self, _events: int) -> None:
        try:
            sock, _address = self._sock.accept()
        except OSError:
            return
        if len(self._open) >= MAX_CONNECTIONS:
            sock.close()
            return
        self._open.add(_Connection(sock, self._selector, self._wanted, self._open.discard))


class _Connection:
    """One request, one response."""

    def __init__(
        self,
        sock: socket.socket,
        selector: BaseSelector,
        wanted: Callable[[Respond], None],
        closed: Callable[["_Connection"], None],
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.until = monotonic() + PATIENCE_SECONDS
        self._selector = selector
        self._wanted = wanted
        self._closed = closed
        self._read = bytearray()
        self._write = memoryview(b"")
        selector.register(sock, EVENT_READ, self._readable)

    def _readable(self, _events: int) -> None:
        try:
            data = self.sock.recv(MAX_REQUEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._read += data
        if not data or len(self._read) > MAX_REQUEST_BYTES:
            self.close()
        elif b"\r\n\r\n" in self._read:
            self._selector.unregister(self.sock)
            self._requested(bytes(self._read.partition(b"\r\n")[0]).split(b" "))

    def _requested(self, words: list[bytes]) -> None:
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            self._respond(b"400 Bad Request", b"")
        elif words[0] not in (b"GET", b"HEAD"):
            self._respond(b"405 Method Not Allowed", b"", b"Allow: GET, HEAD\r\n")
        elif words[1].partition(b"?")[0] != PATH:
            self._respond(b"404 Not Found", b"")
        else:
            bare = words[0] == b"HEAD"
            self._wanted(lambda page: self._respond(b"200 OK", page, b"Content-Type: %b\r\n" % CONTENT_TYPE, bare))

    def _respond(self, status: bytes, body: bytes, fields: bytes = b"", bare: bool = False) -> None:
        if self.sock.fileno() < 0:
            return
        head = b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, fields, len(body))
        self._write = memoryview(head + (b"" if bare else body))
        self._selector.register(self.sock, EVENT_WRITE, self._writable)
        self._writable(EVENT_WRITE)

    def _writable(self, _events: int) -> None:
        try:
            self._write = self._write[self.sock.send(self._write) :]
        except BlockingIOError:
            return
        except OSError:
            self._write = memoryview(b"")
        if not self._write:
            self.close()

    def close(self) -> None:
        self._closed(self)
        with suppress(KeyError, ValueError):
            self._selector.unregister(self.sock)
        self.sock.close()
