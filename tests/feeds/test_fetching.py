"""Fetching: every bound, no redirect, no way out of the feed."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, SlowRetrievalError

from feeds.errors import Rejected
from feeds.fetching import Bounds, Fetcher, check_url
from tests.feeds.web import answering, reply

QUICK = Bounds(gap_seconds=0.5, request_seconds=1.0, pull_seconds=2.0, min_bytes_per_second=1000, grace_seconds=0.3)


def get(url: str, bounds: Bounds = QUICK, most: int = 1 << 20) -> bytes:
    return Fetcher(bounds).download_bytes(url, most)


def always(data: bytes) -> Callable[[bytes, socket.socket], None]:
    return lambda _head, peer: peer.sendall(data)


def test_a_file_is_fetched_and_the_connection_kept() -> None:
    ports = set()

    def answer(_head: bytes, peer: socket.socket) -> None:
        ports.add(peer.getpeername()[1])
        peer.sendall(reply(b"hello"))

    with answering(answer) as url:
        fetcher = Fetcher(QUICK)
        assert [fetcher.download_bytes(url + "x", 10) for _n in range(3)] == [b"hello"] * 3
        assert fetcher.received_bytes == 15
        fetcher.close()
    assert len(ports) == 1


def test_a_connection_that_the_server_closed_meanwhile_is_made_anew() -> None:
    def answer(_head: bytes, peer: socket.socket) -> None:
        peer.sendall(reply(b"hello"))
        peer.close()

    with answering(answer) as url:
        fetcher = Fetcher(QUICK)
        assert [fetcher.download_bytes(url + "x", 10) for _n in range(3)] == [b"hello"] * 3


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_no_redirect_is_followed(status: str) -> None:
    asked = []

    def answer(head: bytes, peer: socket.socket) -> None:
        asked.append(head)
        peer.sendall(reply(b"", status, Location="/elsewhere"))

    with answering(answer) as url, pytest.raises(DownloadHTTPError, match="redirects to /elsewhere"):
        get(url + "x")
    assert len(asked) == 1


def test_an_error_status_is_told() -> None:
    with answering(always(reply(b"no", "404 Not Found"))) as url, pytest.raises(DownloadHTTPError) as caught:
        get(url + "x")
    assert caught.value.status_code == 404


def test_more_bytes_than_allowed_are_not_read() -> None:
    with answering(always(reply(b"x" * 100_000))) as url, pytest.raises(DownloadLengthMismatchError):
        get(url + "x", most=99_999)


def test_an_endless_answer_is_cut_off() -> None:
    def answer(_head: bytes, peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            peer.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with answering(answer) as url, pytest.raises(DownloadLengthMismatchError):
        get(url + "x", most=10_000_000)


@pytest.mark.parametrize("part", ["head", "body", "nothing"])
def test_a_byte_now_and_then_does_not_hold_us(part: str) -> None:
    def answer(_head: bytes, peer: socket.socket) -> None:
        if part == "nothing":
            time.sleep(5)
        if part == "body":
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        else:
            peer.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _n in range(100):
            peer.sendall(b"x")
            time.sleep(0.05)

    began = time.monotonic()
    with answering(answer) as url, pytest.raises(SlowRetrievalError):
        get(url + "x")
    assert time.monotonic() - began < 3


def test_all_requests_of_a_pull_share_its_time() -> None:
    now = [0.0]
    with answering(always(reply(b"hello"))) as url:
        fetcher = Fetcher(QUICK, clock=lambda: now[0])
        fetcher.begin()
        fetcher.download_bytes(url + "x", 10)
        now[0] = 3.0
        with pytest.raises(SlowRetrievalError, match="pull took longer"):
            fetcher.download_bytes(url + "x", 10)
        fetcher.begin()
        assert fetcher.download_bytes(url + "x", 10) == b"hello"


def test_a_cut_off_answer_is_not_taken_for_whole() -> None:
    def answer(_head: bytes, peer: socket.socket) -> None:
        peer.sendall(reply(b"hel", length=5))
        peer.close()

    with answering(answer) as url, pytest.raises(DownloadError, match=r"cut off|IncompleteRead"):
        get(url + "x")


def test_what_is_not_http_is_an_error_and_no_crash() -> None:
    headers = b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n"
    for data in (b"\x00" * 100, b"HTTP/9 what\r\n\r\n", headers, b"HTTP/1.1 200 OK\r\nLost: ", b""):

        def answer(_head: bytes, peer: socket.socket, data: bytes = data) -> None:
            peer.sendall(data)
            peer.close()

        with answering(answer) as url, pytest.raises(DownloadError):
            get(url + "x")


def test_encoded_bytes_are_not_decoded_behind_the_bounds() -> None:
    with answering(always(reply(b"x", Content_Encoding="gzip"))) as url, pytest.raises(DownloadError, match="encodes"):
        get(url + "x")


def test_nobody_listening_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match="Connection refused"):
        get(f"http://127.0.0.1:{port}/x")


def test_polling_sends_the_etag_and_understands_not_modified() -> None:
    def answer(head: bytes, peer: socket.socket) -> None:
        known = b'If-None-Match: "7"' in head
        peer.sendall(reply(b"", "304 Not Modified", ETag='"7"') if known else reply(b"new", ETag='"7"'))

    with answering(answer) as url:
        fetcher = Fetcher(QUICK)
        first = fetcher.poll(url, "", 100)
        assert (first.body, first.etag) == (b"new", '"7"')
        assert fetcher.poll(url, first.etag, 100).body is None


@pytest.mark.parametrize("path", ["/../etc/passwd", "/metadata/%2e%2e/x", "/a/..", "/a/%2E./b"])
def test_no_path_leads_upwards(tmp_path: Path, path: str) -> None:
    with pytest.raises(DownloadError, match="upwards"):
        get(tmp_path.as_uri() + path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "feed.example",
        "ftp://feed.example/",
        "https:///x",
        "file://host/x",
        "https://a/?q=1",
        "https://u@a/",
        "https://a/../b",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Rejected, match="no address of a feed"):
        check_url(url)


def test_an_address_gets_its_final_slash() -> None:
    assert check_url("https://feed.example/a") == "https://feed.example/a/"
    assert check_url("file:///srv/feed/") == "file:///srv/feed/"
