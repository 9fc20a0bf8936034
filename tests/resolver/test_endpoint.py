"""`GET /metrics` in a loop that never waits: one request, one response, in bounded time and memory."""

import socket
from collections.abc import Iterator
from selectors import DefaultSelector
from time import monotonic

import pytest

from resolver.endpoint import MAX_CONNECTIONS, PATIENCE_SECONDS, MetricsPort, Respond
from resolver.server import tcp_socket


class Server:
    """The endpoint in this process; `page` comes when `answers` is true, else when `respond` is called."""

    def __init__(self) -> None:
        self.page = b"# a page\n"
        self.answers = True
        self.asked: list[Respond] = []
        self.selector = DefaultSelector()
        sock = tcp_socket("127.0.0.1", 0)
        self.address = sock.getsockname()
        self.port = MetricsPort(sock, self.selector, self._wanted)

    def _wanted(self, respond: Respond) -> None:
        self.asked.append(respond)
        if self.answers:
            respond(self.page)

    def turns(self, times: int = 5) -> None:
        for _turn in range(times):
            for key, events in self.selector.select(0.01):
                key.data(events)

    def asks(self, request: bytes) -> bytes:
        with socket.create_connection(self.address) as client:
            client.sendall(request)
            return self.reads(client)

    def reads(self, client: socket.socket) -> bytes:
        client.settimeout(0.01)
        found = bytearray()
        for _turn in range(2000):
            self.turns(1)
            try:
                data = client.recv(65_536)
            except TimeoutError:
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                return bytes(found)
            found += data
        raise AssertionError(found)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.port.close()
    made.selector.close()


def test_a_page_is_given_with_its_length_and_type(server):
    head, _blank, body = server.asks(b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: %d" % len(server.page) in head
    assert b"text/plain; version=0.0.4" in head
    assert body == server.page


def test_a_large_page_arrives_whole(server):
    server.page = bytes(8 << 20)
    assert server.asks(b"GET /metrics HTTP/1.0\r\n\r\n").endswith(server.page)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metricsx HTTP/1.1\r\n\r\n", b"404"),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /metrics SMTP/1.1\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
    ],
)
def test_what_is_not_there_or_no_request_is_refused(server, request_, status):
    assert server.asks(request_).split(b" ")[1] == status
    assert server.asked == []


def test_head_is_answered_without_the_page(server):
    found = server.asks(b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert b"Content-Length: %d" % len(server.page) in found
    assert found.endswith(b"\r\n\r\n")


def test_a_page_may_come_later_and_find_nobody(server):
    server.answers = False
    with socket.create_connection(server.address) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        server.turns()
        server.asked[0](server.page)
        assert server.reads(client).endswith(server.page)
    with socket.create_connection(server.address) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        server.turns()
    server.port.turn(monotonic() + PATIENCE_SECONDS + 1)
    server.asked[1](server.page)
    server.turns()


def test_who_sends_too_much_or_takes_too_long_is_closed(server):
    assert server.asks(b"GET /" + bytes(20_000)) == b""
    with socket.create_connection(server.address) as client:
        client.sendall(b"GET /metr")
        server.turns()
        server.port.turn(monotonic() + PATIENCE_SECONDS + 1)
        assert server.reads(client) == b""


def test_only_so_many_are_let_in(server):
    held = [socket.create_connection(server.address) for _ in range(MAX_CONNECTIONS + 3)]
    try:
        server.turns(MAX_CONNECTIONS + 10)
        assert server.reads(held[-1]) == b""
        held[0].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert server.reads(held[0]).endswith(server.page)
    finally:
        for one in held:
            one.close()
