"""One connection's HTTP/2 without its socket: octets in, queries out; answers in, octets out. Pure."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack.struct import NeverIndexedHeaderTuple
from hyperframe.frame import GoAwayFrame

from resolver.https.frames import CANCEL, ENHANCE_YOUR_CALM, NO_ERROR, REFUSED_STREAM, Frames, NotHttp2, Unbearable
from resolver.https.freshness import freshness
from resolver.https.request import (
    BAD_REQUEST,
    MAX_QUERY_BYTES,
    MEDIA_TYPE,
    METHOD_NOT_ALLOWED,
    METHODS,
    OK,
    TOO_LARGE,
    Refusal,
    is_query,
    wanted,
)

MAX_STREAMS: Final = 100  # RFC 9113 section 6.5.2 wants no less
MAX_HEADER_LIST_BYTES: Final = 16_384
MAX_UNSENT_BYTES: Final = 1 << 17  # of answers that the client leaves unread; the one that crosses it is kept, too
_HTTP_1: Final = b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CONFIG: Final = H2Configuration(client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False)


class Query(NamedTuple):
    """A DNS message to be answered on that stream."""

    stream: int
    message: bytes


class _Http2(H2Connection):
    # How streams ended is remembered for frames that come late; h2 itself would keep 65,536 of them.
    MAX_CLOSED_STREAMS = 200

    def __init__(self) -> None:
        super().__init__(_CONFIG)
        initial = {
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
        }
        self.local_settings = Settings(client=False, initial_values=initial)
        self.decoder.max_header_list_size = MAX_HEADER_LIST_BYTES


class Exchange:
    """`ended`: what `outgoing` gives is the last. `sent`: answers that went out whole.

    `held`: the socket takes nothing now, so answers are kept back, as they are while HTTP/2's windows are closed.
    """

    def __init__(self) -> None:
        self.ended = False
        self.sent = 0
        self._http2 = _Http2()
        self._http2.initiate_connection()
        self._frames = Frames()
        self._bodies: dict[int, bytearray | bytes] = {}  # of requests that have not ended
        self._asked: set[int] = set()  # streams whose query waits for its answer
        self._given_up = 0  # queries that wait, their streams reset
        self._unsent: dict[int, bytes] = {}
        self._last = b""
        self._leaving = False
        self._held = False

    @property
    def idle(self) -> bool:
        """Is nothing under way?"""
        return not (self._bodies or self._asked or self._unsent)

    def feed(self, data: bytes) -> None:
        """Octets from the client; `step` looks at them. What comes after the end is forgotten."""
        if not self.ended:
            self._frames.feed(data)

    def step(self) -> list[Query] | None:
        """The queries that the next frame completes; None when there is no whole frame."""
        if self.ended:
            return None
        try:
            frame = self._frames.following()
            if frame is None:
                return None
            queries = [self._happened(event) for event in self._http2.receive_data(frame)]
        except NotHttp2 as other:
            self._http2.clear_outbound_data_buffer()
            self.end(_HTTP_1 if other.start[:1].isalpha() else b"")
            return None
        except Unbearable as fault:
            self.end(self._goaway(fault.code))
            return None
        except ProtocolError:
            # h2 has put GOAWAY and its reason among the octets to send.
            self.end()
            return None
        return [query for query in queries if query is not None]

    def answer(self, stream: int, message: bytes | None) -> None:
        """The answer to that stream's query; None: nothing shall be said to it."""
        if stream not in self._asked:
            self._given_up -= 1
            return
        self._asked.remove(stream)
        if self.ended:
            return
        if message is None:
            self._http2.reset_stream(stream, CANCEL)
        elif sum(map(len, self._unsent.values())) > MAX_UNSENT_BYTES:
            self._http2.reset_stream(stream, ENHANCE_YOUR_CALM)
        else:
            self._say(
                stream, OK, len(message), content_type=MEDIA_TYPE, cache_control=b"max-age=%d" % freshness(message)
            )
            self._unsent[stream] = message
            self._pump((stream,))

    def hold(self, held: bool) -> None:
        """The socket takes nothing more for now, or again."""
        self._held = held
        self._pump(tuple(self._unsent))

    def leave(self) -> None:
        """Take no new requests; those under way are still answered (RFC 9113 section 6.8)."""
        if not self._leaving and not self.ended:
            self._leaving = True
            self._last += self._goaway(NO_ERROR)

    def end(self, last: bytes = b"") -> None:
        """Nothing more is taken, and nothing more said but this."""
        self.ended = True
        self._last += last
        self._bodies.clear()
        self._unsent.clear()

    def outgoing(self) -> bytes:
        """What to send now."""
        data, self._last = self._http2.data_to_send() + self._last, b""
        return data

    def _happened(self, event: Event) -> Query | None:
        if isinstance(event, StreamEnded):
            return self._whole(event.stream_id)
        if isinstance(event, RequestReceived):
            self._requested(event.stream_id, event.headers)
        elif isinstance(event, DataReceived):
            self._body(event.stream_id, event.data, event.flow_controlled_length)
        elif isinstance(event, StreamReset):
            self._forget(event.stream_id)
        elif isinstance(event, WindowUpdated):
            self._pump((event.stream_id,) if event.stream_id else tuple(self._unsent))
        elif isinstance(event, RemoteSettingsChanged):
            self._pump(tuple(self._unsent))
        elif isinstance(event, ConnectionTerminated):
            self.end()
        return None

    def _requested(self, stream: int, fields: Iterable[tuple[bytes, bytes]]) -> None:
        # Queries given up count, too: they are still the session's work (CVE-2023-44487).
        if self._leaving or len(self._asked) + self._given_up >= MAX_STREAMS:
            self._http2.reset_stream(stream, REFUSED_STREAM)
            return
        found = wanted(fields)
        if isinstance(found, Refusal):
            self._refuse(stream, found.status)
        else:
            self._bodies[stream] = bytearray() if found.query is None else found.query

    def _body(self, stream: int, data: bytes, flow: int) -> None:
        self._http2.acknowledge_received_data(flow, stream)
        body = self._bodies.get(stream)
        if not isinstance(body, bytearray):
            return
        body += data
        if len(body) > MAX_QUERY_BYTES:
            self._refuse(stream, TOO_LARGE)

    def _whole(self, stream: int) -> Query | None:
        body = self._bodies.pop(stream, None)
        if body is None:
            return None
        message = bytes(body)
        if not is_query(message):
            self._refuse(stream, BAD_REQUEST)
            return None
        self._asked.add(stream)
        return Query(stream, message)

    def _refuse(self, stream: int, status: int) -> None:
        """Say why there is no answer. It earns nothing, so a body that goes on soon ends the connection."""
        self._bodies.pop(stream, None)
        allowed = {"allow": METHODS} if status == METHOD_NOT_ALLOWED else {}
        self._say(stream, status, 0, **allowed)

    def _say(self, stream: int, status: int, size: int, **fields: bytes) -> None:
        # Never indexed: a client may ask for a table of 4 GB, and searching one costs more than these octets.
        named = {b":status": b"%d" % status, b"content-length": b"%d" % size}
        named |= {name.replace("_", "-").encode(): value for name, value in fields.items()}
        self._http2.send_headers(
            stream, [NeverIndexedHeaderTuple(*field) for field in named.items()], end_stream=not size
        )

    def _pump(self, streams: Iterable[int]) -> None:
        """Send of these answers what the client's windows let through."""
        http2 = self._http2
        for stream in streams:
            rest = self._unsent.get(stream, b"")
            while rest and not self._held and not self.ended:
                room = min(http2.local_flow_control_window(stream), http2.max_outbound_frame_size, len(rest))
                if room <= 0:
                    break
                http2.send_data(stream, rest[:room], end_stream=room == len(rest))
                rest = self._unsent[stream] = rest[room:]
                if not rest:
                    del self._unsent[stream]
                    self.sent += 1
                    self._frames.purse.earn()

    def _forget(self, stream: int) -> None:
        self._bodies.pop(stream, None)
        self._unsent.pop(stream, None)
        if stream in self._asked:
            self._asked.remove(stream)
            self._given_up += 1

    def _goaway(self, code: int) -> bytes:
        return bytes(GoAwayFrame(0, last_stream_id=self._http2.highest_inbound_stream_id, error_code=code).serialize())
