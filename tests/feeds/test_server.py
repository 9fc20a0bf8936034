"""`feed serve`: files, ETags, ranges, gzip, the change hint, and nothing else."""

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from feeds.client import pull
from feeds.fetching import Fetcher
from feeds.server import BoundedSite
from feeds.store import Store
from tests.feeds.tuf_feed import NOW, TufFeed, many

BLOCKER = "from blocker.cli import main; main()"
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> TufFeed:
    made = TufFeed(tmp_path_factory.mktemp("feed"))
    made.publish(many(500))
    (made.path / ".secret").write_text("x")
    (made.path / "metadata" / ".hidden.json").write_text("x")
    (made.path / "metadata" / "out.json").symlink_to("/etc/passwd")
    return made


@pytest.fixture(scope="module")
def served(feed: TufFeed) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKER, "feed", "serve", str(feed.path), "--listen", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    text = ""
    while not text.rstrip().endswith("}"):
        line = process.stdout.readline()
        assert line, text
        text += line
    port = int(json.loads(text)["urls"][0].rstrip("/").rpartition(":")[2])
    yield process, port
    process.terminate()
    process.wait(10)


@pytest.fixture
def port(served: tuple[subprocess.Popen[str], int]) -> int:
    return served[1]


def ask(port: int, path: str, method: str = "GET", seconds: float = 10, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, dict(response.headers), body


def test_a_client_pulls_from_it(feed: TufFeed, port: int, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s", url=f"http://127.0.0.1:{port}/", root=feed.anchor, training=True)
    assert pull(store, Fetcher(), NOW).accepted.release() == feed.releases[-1]


def test_files_have_an_etag_and_are_not_sent_twice(feed: TufFeed, port: int) -> None:
    status, headers, body = ask(port, "/metadata/timestamp.json")
    assert (status, body) == (200, (feed.path / "metadata/timestamp.json").read_bytes())
    assert headers["Cache-Control"] == "no-cache"
    assert ask(port, "/metadata/timestamp.json", If_None_Match=headers["ETag"])[::2] == (304, b"")
    assert ask(port, "/metadata/timestamp.json", If_None_Match='"other"')[0] == 200
    assert "immutable" in ask(port, "/metadata/1.root.json")[1]["Cache-Control"]


def test_head_says_what_get_would_send(port: int) -> None:
    status, headers, body = ask(port, "/metadata/timestamp.json", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) == len(ask(port, "/metadata/timestamp.json")[2])


def test_ranges_are_served_of_the_same_file_only(feed: TufFeed, port: int) -> None:
    file = feed.target_file("release.zst")
    path, whole = "/" + str(file.relative_to(feed.path)), file.read_bytes()
    etag = ask(port, path)[1]["ETag"]
    status, headers, body = ask(port, path, Range="bytes=10-19")
    assert (status, body, headers["Content-Range"]) == (206, whole[10:20], f"bytes 10-19/{len(whole)}")
    assert ask(port, path, Range="bytes=-5")[2] == whole[-5:]
    assert ask(port, path, Range=f"bytes={len(whole) - 3}-")[2] == whole[-3:]
    assert ask(port, path, Range="bytes=5-9", If_Range=etag)[0] == 206
    assert ask(port, path, Range="bytes=5-9", If_Range='"other"')[::2] == (200, whole)
    assert ask(port, path, Range=f"bytes={len(whole)}-")[0] == 416
    assert ask(port, path, Range="bytes=1-2,4-5")[::2] == (200, whole)
    assert ask(port, path, Range="bytes=x-y")[0] == 200


def test_json_is_packed_for_those_who_ask_and_zst_is_not(feed: TufFeed, port: int) -> None:
    file = feed.target_file("manifest.json")
    path = "/" + str(file.relative_to(feed.path))
    status, headers, body = ask(port, path, Accept_Encoding="br, gzip")
    assert (status, headers["Content-Encoding"], headers["Vary"]) == (200, "gzip", "Accept-Encoding")
    assert gzip.decompress(body) == file.read_bytes()
    assert headers["ETag"] != ask(port, path)[1]["ETag"]
    assert ask(port, path, Accept_Encoding="gzip", If_None_Match=headers["ETag"])[0] == 304
    assert "Content-Encoding" not in ask(port, path, Accept_Encoding="gzip;q=0")[1]
    release = "/" + str(feed.target_file("release.zst").relative_to(feed.path))
    assert "Content-Encoding" not in ask(port, release, Accept_Encoding="gzip")[1]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metadata",
        "/metadata/",
        "/.secret",
        "/metadata/.hidden.json",
        "/metadata/out.json",
        "/../../etc/passwd",
        "/metadata/%2e%2e/%2e%2e/etc/passwd",
        "/metadata//timestamp.json",
        "/metadata/timestamp.json%00",
        "/%ff",
        "/metadata/timestamp.json/x",
    ],
)
def test_nothing_but_the_feeds_files_is_shown(port: int, path: str) -> None:
    assert ask(port, path)[::2] == (404, b"no such file\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_no_other_method_does_anything(port: int, method: str) -> None:
    status, headers, _body = ask(port, "/metadata/timestamp.json", method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_large_body_is_not_taken(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            peer.sendall(b"x" * 65536 * 1000)


def test_the_hint_is_given_within_a_second_of_a_change_and_not_before(feed: TufFeed, port: int) -> None:
    status, headers, _body = ask(port, "/hint")
    assert status == 200
    changed: list[float] = []

    def change() -> None:
        time.sleep(0.7)
        changed.append(time.monotonic())
        feed.sign()

    began = time.monotonic()
    thread = threading.Thread(target=change)
    thread.start()
    status, after, _body = ask(port, "/hint", If_None_Match=headers["ETag"])
    told = time.monotonic()
    thread.join()
    assert status == 200
    assert after["ETag"] != headers["ETag"]
    assert told - began > 0.6
    assert told - changed[0] < 1.0


def test_one_address_cannot_take_all_connections_and_a_proxy_on_this_machine_may(tmp_path: Path) -> None:
    site = BoundedSite(Resource(), most=10, most_of_one=3)

    def opened(host: str) -> object:
        return site.buildProtocol(IPv4Address("TCP", host, 1234))

    mine = [opened("192.0.2.1") for _n in range(5)]
    assert [made is not None for made in mine] == [True, True, True, False, False]
    assert opened("192.0.2.2") is not None, "others are not shut out"
    mine[0].connectionLost(Failure(ConnectionLost()))  # type: ignore[attr-defined]
    assert opened("192.0.2.1") is not None, "who leaves makes room"
    assert all(opened("127.0.0.1") for _n in range(6))
    assert opened("127.0.0.1") is None, "ten are all there are"


def test_an_address_in_use_is_told_in_a_sentence(feed: TufFeed, port: int) -> None:
    found = subprocess.run(
        [sys.executable, "-c", BLOCKER, "feed", "serve", str(feed.path), "--listen", f"127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert found.returncode == 1
    assert "cannot listen on" in found.stderr
    assert "Traceback" not in found.stderr


def test_it_ends_cleanly_and_has_logged_no_address(served: tuple[subprocess.Popen[str], int]) -> None:
    """The last test of this file: it ends the server."""
    process, _port = served
    process.send_signal(signal.SIGTERM)
    rest, _none = process.communicate(timeout=10)
    assert process.returncode == 0
    assert rest == ""
