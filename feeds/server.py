"""A web server for a feed's static files, for small set-ups, with the change hint that lets followers wake at once.

    GET /PATH    a file of the feed: ETag, If-None-Match, one range, gzip for JSON; nothing else is shown
    GET /hint    answered when timestamp.json no longer has the ETag in If-None-Match, at the latest after 50 seconds
                 (304): unsigned, so it may only wake a follower, which then asks and verifies as ever

No listing, no other method, no client address in any log. Peers are bounded in number, header and answer time.
"""

# Twisted declares only some of its functions.
# mypy: disallow-untyped-calls=False

import gzip
import os
import re
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO

from twisted.internet.task import LoopingCall
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.static import NoRangeStaticProducer, SingleRangeStaticProducer

HINT = "hint"
TIMESTAMP_PATH = Path("metadata/timestamp.json")
HINT_SECONDS = 50.0
WATCH_SECONDS = 0.2
IDLE_SECONDS = 30
ANSWER_SECONDS = 900.0
MAX_CONNECTIONS = 4096
MAX_OF_ONE_ADDRESS = 128
MAX_WAITING = 2048
MAX_BODY_BYTES = 16_384
MAX_GZIP_BYTES = 8 << 20
GZIP_CACHE_BYTES = 32 << 20

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\Z")
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})\Z")
_TYPES = {".json": "application/json", ".zst": "application/zstd"}
# TUF names these after their version or hash: they never change.
_FIXED = re.compile(r"metadata/\d+\.[a-z]+\.json|targets/(?:[a-z]+/)?[0-9a-f]{64}\.[A-Za-z0-9._-]+")


class FeedRequest(Request):
    """A request whose body is not kept: none is needed, and a large one ends the connection."""

    _body_bytes = 0

    def handleContentChunk(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > MAX_BODY_BYTES and self.channel is not None:
            self.channel.loseConnection()

    def gotLength(self, length: int | None) -> None:
        super().gotLength(0)


class BoundedSite(Site):
    """A site with so many connections at most, in all and from one address, that keeps no body and writes no log.

    Loopback may have all of them: a proxy on this machine speaks for everybody.
    """

    requestFactory = FeedRequest
    displayTracebacks = False
    noisy = False

    def __init__(self, root: Resource, most: int, most_of_one: int) -> None:
        super().__init__(root, timeout=IDLE_SECONDS)
        self._most = most
        self._most_of_one = most_of_one
        self._open: Counter[str] = Counter()

    def buildProtocol(self, addr: Any) -> Any:
        host = addr.host
        alone = not ip_address(host.partition("%")[0]).is_loopback
        if self._open.total() >= self._most or (alone and self._open[host] >= self._most_of_one):
            return None
        made: Any = super().buildProtocol(addr)
        if made is not None:
            self._open[host] += 1
            closed = made.connectionLost

            def lost(reason: object) -> None:
                self._open[host] -= 1
                if not self._open[host]:
                    del self._open[host]
                closed(reason)

            made.connectionLost = lost
        return made

    def log(self, request: Any) -> None:
        """Nothing: a line would hold who asked."""


class FeedSite(BoundedSite):
    """The site over one directory. `close` ends the watch."""

    def __init__(self, directory: Path, reactor: Any) -> None:
        self.hint = Hint(directory / TIMESTAMP_PATH, reactor)
        super().__init__(Files(directory, self.hint, reactor), MAX_CONNECTIONS, MAX_OF_ONE_ADDRESS)

    def close(self) -> None:
        """Stop watching; answer those who wait."""
        self.hint.close()


class Hint:
    """Who waits for the next timestamp.json, and the look at the file that ends their waiting."""

    def __init__(self, path: Path, reactor: Any) -> None:
        self._path = path
        self._reactor = reactor
        self._waiting: dict[Any, Any] = {}
        self._seen = etag_of(path)
        self._watch = LoopingCall(self.look)
        self._watch.clock = reactor

    def wait(self, request: Any) -> int | bytes:
        """Answer now or hold the request."""
        known = request.getHeader("if-none-match") or ""
        self.look()
        if known != self._seen:
            return self._say(request, 200)
        if len(self._waiting) >= MAX_WAITING:
            request.setResponseCode(503)
            request.setHeader("Retry-After", "60")
            return b""
        timer = self._reactor.callLater(HINT_SECONDS, self._end, request, 304)
        self._waiting[request] = timer
        request.notifyFinish().addBoth(lambda _result: self._forget(request))
        if not self._watch.running:
            self._watch.start(WATCH_SECONDS)
        return NOT_DONE_YET

    def look(self) -> None:
        """Has the file changed? Then everybody who waits is told."""
        now = etag_of(self._path)
        if now == self._seen:
            return
        self._seen = now
        for request in list(self._waiting):
            self._end(request, 200)

    def close(self) -> None:
        """Answer all who wait and look no more."""
        for request in list(self._waiting):
            self._end(request, 304)

    def _say(self, request: Any, code: int) -> bytes:
        request.setResponseCode(code)
        request.setHeader("Cache-Control", "no-store")
        request.setHeader("ETag", self._seen)
        return b"" if code == 304 else b"changed\n"

    def _end(self, request: Any, code: int) -> None:
        if request not in self._waiting:
            return
        self._forget(request)
        request.write(self._say(request, code))
        request.finish()

    def _forget(self, request: Any) -> None:
        timer = self._waiting.pop(request, None)
        if timer is not None and timer.active():
            timer.cancel()
        if not self._waiting and self._watch.running:
            self._watch.stop()


@dataclass
class _Packed:
    """gzip forms of JSON files by ETag, bounded."""

    held: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    size: int = 0

    def get(self, etag: str, file: BinaryIO) -> bytes:
        if etag in self.held:
            self.held.move_to_end(etag)
            return self.held[etag]
        data = gzip.compress(file.read(), 6, mtime=0)
        self.held[etag] = data
        self.size += len(data)
        while self.size > GZIP_CACHE_BYTES and len(self.held) > 1:
            self.size -= len(self.held.popitem(last=False)[1])
        return data


class Files(Resource):
    """Every file under one directory whose name a feed may use."""

    isLeaf = True

    def __init__(self, directory: Path, hint: Hint, reactor: Any) -> None:
        super().__init__()
        self._directory = directory.resolve()
        self._hint = hint
        self._reactor = reactor
        self._packed = _Packed()

    def render(self, request: Any) -> int | bytes:
        """Answer GET and HEAD; 405 for any other method."""
        request.setHeader("X-Content-Type-Options", "nosniff")
        if request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(405)
            request.setHeader("Allow", "GET, HEAD")
            return b"only GET and HEAD\n"
        segments = [part.decode("utf-8", "replace") for part in request.postpath or []]
        if segments == [HINT] and request.method == b"GET":
            return self._hint.wait(request)
        file = self._opened(segments)
        if file is None:
            request.setResponseCode(404)
            return b"no such file\n"
        return self._answer(request, file, "/".join(segments))

    def _opened(self, segments: list[str]) -> BinaryIO | None:
        if not segments or not all(_SEGMENT.match(part) for part in segments):
            return None
        path = self._directory.joinpath(*segments)
        try:
            if not path.resolve().is_relative_to(self._directory) or not path.is_file():
                return None
            return path.open("rb")
        except OSError:
            return None

    def _answer(self, request: Any, file: BinaryIO, name: str) -> int | bytes:
        found = os.fstat(file.fileno())
        size, etag = found.st_size, _etag(found)
        kind = _TYPES.get(name[name.rfind(".") :], "application/octet-stream")
        request.setHeader("Content-Type", kind)
        request.setHeader("Accept-Ranges", "bytes")
        request.setHeader(
            "Cache-Control", "public, max-age=31536000, immutable" if _FIXED.fullmatch(name) else "no-cache"
        )
        span = _span(request, size, etag)
        packed = None
        if kind == "application/json":
            request.setHeader("Vary", "Accept-Encoding")
            if span is None and size <= MAX_GZIP_BYTES and _takes_gzip(request):
                packed = self._packed.get(etag, file)
                etag = f'{etag[:-1]}-gzip"'
        request.setHeader("ETag", etag)
        if _known(request, etag):
            file.close()
            request.setResponseCode(304)
            return b""
        if packed is not None:
            file.close()
            request.setHeader("Content-Encoding", "gzip")
            request.setHeader("Content-Length", str(len(packed)))
            return b"" if request.method == b"HEAD" else packed
        first, length = (0, size) if span is None else span
        if length < 0:
            file.close()
            request.setResponseCode(416)
            request.setHeader("Content-Range", f"bytes */{size}")
            return b""
        if span is not None:
            request.setResponseCode(206)
            request.setHeader("Content-Range", f"bytes {first}-{first + length - 1}/{size}")
        request.setHeader("Content-Length", str(length))
        if request.method == b"HEAD" or length == 0:
            file.close()
            return b""
        self._bound(request)
        if span is None:
            NoRangeStaticProducer(request, file).start()
        else:
            SingleRangeStaticProducer(request, file, first, length).start()
        return NOT_DONE_YET

    def _bound(self, request: Any) -> None:
        """A reader slower than this holds its connection no longer."""

        def abort() -> None:
            if request.channel is not None:
                request.channel.forceAbortClient()

        timer = self._reactor.callLater(ANSWER_SECONDS, abort)
        request.notifyFinish().addBoth(lambda _result: timer.cancel() if timer.active() else None)


def etag_of(path: Path) -> str:
    """The ETag under which this server shows the file; empty where there is none."""
    try:
        return _etag(path.stat())
    except OSError:
        return ""


def _etag(found: os.stat_result) -> str:
    # The inode tells two files apart that were renamed into place within one tick of the clock.
    return f'"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"'


def _known(request: Any, etag: str) -> bool:
    """RFC 9110 section 13.1.2."""
    tags = [tag.strip().removeprefix("W/") for tag in (request.getHeader("if-none-match") or "").split(",")]
    return etag in tags or tags == ["*"]


def _takes_gzip(request: Any) -> bool:
    words = [word.strip().replace(" ", "") for word in (request.getHeader("accept-encoding") or "").lower().split(",")]
    return any(word == "gzip" or (word.startswith("gzip;q=") and not word.startswith("gzip;q=0")) for word in words)


def _span(request: Any, size: int, etag: str) -> tuple[int, int] | None:
    """First byte and length of the one range asked for; length -1 where it cannot be had; None for the whole file.

    RFC 9110 section 14.2: several ranges, or one of another state of the file, may be answered with the whole.
    """
    found = _RANGE.match(request.getHeader("range") or "")
    if found is None or request.method == b"HEAD" or (request.getHeader("if-range") or etag) != etag:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        start = max(size - int(last), 0)
        return (start, size - start) if int(last) and size else (0, -1)
    if int(first) >= size or (last and int(last) < int(first)):
        return (0, -1)
    return int(first), min(int(last) if last else size - 1, size - 1) - int(first) + 1


def serve(directory: Path, host: str, port: int, reactor: Any) -> int:
    """Listen until the reactor stops; returns the port. Raises Twisted's CannotListenError."""
    site = FeedSite(directory, reactor)
    listening = reactor.listenTCP(port, site, backlog=256, interface=host)
    reactor.addSystemEventTrigger("before", "shutdown", site.close)
    return int(listening.getHost().port)
