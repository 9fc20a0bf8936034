"""A client of HTTP/2 without a socket, and the ways to send what no honest client sends."""

import base64
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from hyperframe.frame import Frame, GoAwayFrame

from resolver.https.exchange import Exchange

DNS_MESSAGE = "application/dns-message"


class Browser:
    """What it was told, by stream: `headers`, `bodies`, `whole`, `resets` (error codes); `goaway` is an error code."""

    def __init__(self, *, reads: bool = True) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.reads = reads
        self.headers: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.whole: set[int] = set()
        self.resets: dict[int, int] = {}
        self.goaway: int | None = None
        self.settings: dict[int, int] = {}

    def get(self, message: bytes, *, path: str = "", whole: bool = True) -> int:
        """The stream of a request by GET."""
        encoded = base64.urlsafe_b64encode(message).rstrip(b"=").decode()
        return self.request("GET", path or f"/dns-query?dns={encoded}", end=whole)

    def post(self, message: bytes, *, media_type: str = DNS_MESSAGE, path: str = "/dns-query") -> int:
        """The stream of a request by POST."""
        stream = self.request("POST", path, ("content-type", media_type), end=False)
        self.h2.send_data(stream, message, end_stream=True)
        return stream

    def request(self, method: str, path: str, *fields: tuple[str, str], end: bool = True) -> int:
        stream: int = self.h2.get_next_available_stream_id()
        first = [(":method", method), (":scheme", "https"), (":authority", "dns.example"), (":path", path)]
        self.h2.send_headers(stream, [*first, *fields], end_stream=end)
        return stream

    def out(self, *frames: Frame) -> bytes:
        """What it has to send, and then these frames, whatever the rules say."""
        return bytes(self.h2.data_to_send()) + b"".join(frame.serialize() for frame in frames)

    def hear(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self._heard(event)

    def status(self, stream: int) -> str:
        return self.headers[stream][":status"]

    def _heard(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            self.headers[event.stream_id] = {str(name): str(value) for name, value in event.headers}
        elif isinstance(event, DataReceived):
            self.bodies[event.stream_id] += event.data
            if self.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.whole.add(event.stream_id)
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
        elif isinstance(event, ConnectionTerminated):
            self.goaway = int(event.error_code or 0)
        elif isinstance(event, RemoteSettingsChanged):
            self.settings |= {int(key): changed.new_value for key, changed in event.changed_settings.items()}


def talk(browser: Browser, exchange: Exchange, mind: Callable[[bytes], bytes | None], *frames: Any) -> list[bytes]:
    """Both say all that they have to say; each query is answered at once. The queries are returned."""
    queries: list[bytes] = []
    exchange.feed(browser.out(*frames))
    for _turn in range(10):
        while (found := exchange.step()) is not None:
            for stream, message in found:
                queries.append(message)
                exchange.answer(stream, mind(message))
        data = exchange.outgoing()
        if data:
            browser.hear(data)
        more = browser.out()
        if not more:
            break
        exchange.feed(more)
    return queries


def frames_of(data: bytes) -> list[Frame]:
    """What a server's octets are, frame by frame."""
    frames = []
    while data:
        frame, size = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + size]))
        frames.append(frame)
        data = data[9 + size :]
    return frames


def goaway_of(data: bytes) -> int | None:
    """The error code that a server's octets end with."""
    last = frames_of(data)[-1]
    return last.error_code if isinstance(last, GoAwayFrame) else None
