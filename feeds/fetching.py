"""Carrying a feed's bytes over HTTP, HTTPS or from a directory: bounded in time, rate and size, no redirect followed.

What comes is untrusted; `feeds.repository` verifies it. A redirect is refused because the address is the engineer's
choice: whoever can answer for it could otherwise send this machine anywhere inside the ISP's network.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, SlowRetrievalError
from tuf.ngclient import FetcherInterface

from feeds.errors import Rejected
from feeds.language import _

CHUNK_BYTES = 1 << 17


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one download, and one pull of many downloads, may take."""

    gap_seconds: float = 15.0  # to connect, and between two pieces of an answer
    request_seconds: float = 300.0
    pull_seconds: float = 900.0
    min_bytes_per_second: float = 2048.0
    grace_seconds: float = 10.0  # before the rate counts
    max_bytes: int = 512 << 20


BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Poll:
    """An answer to a conditional request. `body` is None where the server says that nothing changed."""

    body: bytes | None
    etag: str


def check_url(url: str) -> str:
    """The feed's URL with its final slash; raises Rejected."""
    parts = urlsplit(url)
    good = (parts.scheme in ("http", "https") and parts.hostname) or (parts.scheme == "file" and not parts.netloc)
    if not good or parts.query or parts.fragment or parts.username or ".." in parts.path.split("/"):
        raise Rejected(
            _("«{url}» is no address of a feed: https://HOST/PATH/ or file:///PATH/ is expected").format(url=url),
            rule="feed.url",
        )
    return url if url.endswith("/") else url + "/"


@dataclass
class Fetcher(FetcherInterface):
    """Fetches for one pull after another; `begin` starts the clock of a pull. Not for two threads at once."""

    bounds: Bounds = BOUNDS
    clock: Callable[[], float] = time.monotonic
    received_bytes: int = 0
    _ends: float = field(default=0.0, repr=False)
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)
    _origin: tuple[str, str] = field(default=("", ""), repr=False)

    def begin(self) -> None:
        """A new pull: its total time starts now."""
        self._ends = self.clock() + self.bounds.pull_seconds
        self.received_bytes = 0

    def close(self) -> None:
        """Close the connection that was kept for the next request."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def poll(self, url: str, etag: str, max_bytes: int) -> Poll:
        """Ask whether `url` changed since `etag`; raises DownloadError."""
        answer = _Answer()
        body = b"".join(self._chunks(url, {"If-None-Match": etag} if etag else {}, max_bytes, answer))
        return Poll(None if answer.status == 304 else body, answer.etag)

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._chunks(url, {}, self.bounds.max_bytes, _Answer())

    def _chunks(self, url: str, headers: Mapping[str, str], max_bytes: int, answer: "_Answer") -> Iterator[bytes]:
        now = self.clock()
        if not self._ends:
            self.begin()
        ends = min(self._ends, now + self.bounds.request_seconds)
        if now >= ends:
            raise SlowRetrievalError(_("the pull took longer than {n} seconds").format(n=self.bounds.pull_seconds))
        parts = urlsplit(url)
        if ".." in unquote(parts.path).split("/"):
            raise DownloadError(_("{url}: a path may not lead upwards").format(url=url))
        source = self._file(parts.path) if parts.scheme == "file" else self._http(url, headers, ends, answer)
        size, began = 0, now
        for chunk in source:
            size += len(chunk)
            self.received_bytes += len(chunk)
            now = self.clock()
            if size > max_bytes:
                self.close()
                raise DownloadLengthMismatchError(_("{url}: more than {n} bytes").format(url=url, n=max_bytes))
            passed = now - began
            if now >= ends or (passed > self.bounds.grace_seconds and size < passed * self.bounds.min_bytes_per_second):
                self.close()
                raise _too_slow(url, size, passed)
            yield chunk

    def _file(self, path: str) -> Iterator[bytes]:
        try:
            with Path(unquote(path)).open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError:
            raise DownloadHTTPError(_("{path}: there is no such file").format(path=path), 404) from None
        except OSError as error:
            raise DownloadError(f"{path}: {error.strerror}") from error

    def _http(self, url: str, headers: Mapping[str, str], ends: float, answer: "_Answer") -> Iterator[bytes]:
        began = self.clock()
        response: http.client.HTTPResponse | None = None
        # A connection kept from the request before may have been closed by the server meanwhile: then once more.
        for fresh in (False, True):
            kept = self._connected(url, fresh, ends)
            connection = self._connection
            assert connection is not None  # noqa: S101 - _connected has just set it
            alarm = threading.Timer(max(ends - self.clock(), 0.01), _cut, [connection])
            alarm.daemon = True
            alarm.start()
            try:
                connection.request("GET", _selector(url, connection), headers={**_HEADERS, **headers})
                response = connection.getresponse()
                if self.clock() >= ends:
                    raise TimeoutError
                self._check(url, response, answer)
                while chunk := response.read1(CHUNK_BYTES):
                    yield chunk
                if self.clock() >= ends:
                    raise TimeoutError
                if response.length:
                    raise DownloadError(_("{url}: the answer is cut off").format(url=url))
                # Only a response that is closed leaves its connection to the next one.
                response.close()
                if response.will_close:
                    self.close()
                return
            except (http.client.HTTPException, OSError) as error:
                self.close()
                if self.clock() >= ends or isinstance(error, TimeoutError):
                    raise _too_slow(url, self.received_bytes, self.clock() - began) from error
                if response is None and kept:
                    continue
                raise DownloadError(_("{url}: {why}").format(url=url, why=_reason(error))) from error
            except BaseException:
                self.close()
                raise
            finally:
                alarm.cancel()

    def _check(self, url: str, response: http.client.HTTPResponse, answer: "_Answer") -> None:
        answer.status, answer.etag = response.status, response.headers.get("ETag", "")[:200]
        if response.status == 304:
            return
        if 300 <= response.status < 400:
            raise DownloadHTTPError(
                _("{url}: the server redirects to {other}, which is not followed").format(
                    url=url, other=response.headers.get("Location", "?")[:200]
                ),
                response.status,
            )
        if response.status != 200:
            raise DownloadHTTPError(
                _("{url}: the server answers {status} {reason}").format(
                    url=url, status=response.status, reason=response.reason[:80]
                ),
                response.status,
            )
        if response.length is None and not response.chunked:
            # The end of such an answer cannot be told from a connection that broke.
            raise DownloadError(_("{url}: the server does not say how long its answer is").format(url=url))
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadError(_("{url}: the server encodes what it was asked to send as it is").format(url=url))

    def _connected(self, url: str, fresh: bool, ends: float) -> bool:
        """Have a connection to the URL's origin; says whether it was there before."""
        parts = urlsplit(url)
        origin = (parts.scheme, parts.netloc)
        if fresh or origin != self._origin:
            self.close()
        if self._connection is not None:
            return True
        seconds = max(min(self.bounds.gap_seconds, ends - self.clock()), 0.01)
        try:
            self._connection = _connect(url, seconds)
        except ssl.SSLError as error:
            raise DownloadError(
                _("{url}: no TLS connection: {why}").format(url=url, why=error.reason or error)
            ) from error
        except TimeoutError as error:
            raise SlowRetrievalError(
                _("{url}: no connection within {n} seconds").format(url=url, n=round(seconds))
            ) from error
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise DownloadError(_("{url}: no connection: {why}").format(url=url, why=_reason(error))) from error
        self._origin = origin
        return False


@dataclass
class _Answer:
    """What the head of an answer said."""

    status: int = 0
    etag: str = ""


_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"blocker/{version('blocker')}"}


def _connect(url: str, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    via = urlsplit(proxy) if proxy else parts
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            via.hostname or host, via.port or (3128 if proxy else 443), timeout=seconds, context=context
        )
        if proxy:
            connection.set_tunnel(host, parts.port or 443)
    else:
        connection = http.client.HTTPConnection(
            via.hostname or host, via.port or (3128 if proxy else 80), timeout=seconds
        )
        connection.absolute_form = bool(proxy)  # type: ignore[attr-defined]
    connection.connect()
    return connection


def _selector(url: str, connection: http.client.HTTPConnection) -> str:
    """What the request line names: the path, or the whole URL to a plain proxy (RFC 9112 section 3.2)."""
    return url if getattr(connection, "absolute_form", False) else urlsplit(url).path


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a request whose time is over, wherever it hangs."""
    with suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)


def _too_slow(url: str, size: int, seconds: float) -> SlowRetrievalError:
    return SlowRetrievalError(_("{url}: too slow: {n} bytes in {s} seconds").format(url=url, n=size, s=round(seconds)))


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
