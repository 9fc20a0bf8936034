"""What comes before HTTP/2's states: whole frames within bounds, each of them paid for. Pure."""

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
MAX_FRAME_BYTES: Final = 16_384  # the least that must be taken (RFC 9113 section 4.2), and the most that is
MAX_HEADER_BYTES: Final = 6_144  # of one header block, compressed, whatever the frames it comes in
MAX_SETTINGS: Final = 32  # in one frame
MAX_SETTINGS_FRAMES: Final = 16  # in a connection's life
START: Final = 400
EARNED: Final = 10
PAID_OCTETS: Final = 512

HEADERS, SETTINGS, CONTINUATION = 1, 4, 9
# Error codes (RFC 9113 section 7).
NO_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 6, 7, 8, 11


class Unbearable(Exception):
    """The connection must end, with this error code."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


class NotHttp2(Exception):
    """It does not begin as HTTP/2 does. `start`: its first octets."""

    def __init__(self, start: bytes) -> None:
        super().__init__("no preface of HTTP/2")
        self.start = start


class Purse:
    """What a connection may still send: a frame costs 1 for each 512 octets begun, an answer sent whole earns 10.

    One rule for all frames that cost little to send and ask for nothing: RST_STREAM (CVE-2023-44487), SETTINGS, PING,
    PRIORITY, CONTINUATION, WINDOW_UPDATE by single octets, empty DATA. A query costs two or three; a hundred of them
    may be on their way before the first is answered.
    """

    def __init__(self) -> None:
        self.left = START

    def pay(self, size: int) -> None:
        """For a frame with so many octets. Raises Unbearable when too little is left."""
        cost = 1 + size // PAID_OCTETS
        if cost > self.left:
            raise Unbearable("many frames and few queries", ENHANCE_YOUR_CALM)
        self.left -= cost

    def earn(self) -> None:
        """An answer has gone out whole."""
        self.left = min(START, self.left + EARNED)


class Frames:
    """Octets in, frames out. Holds what one read brought and at most one unfinished frame."""

    def __init__(self) -> None:
        self.purse = Purse()
        self._buffer = bytearray()
        self._begun = False
        self._header_bytes = 0
        self._settings_frames = 0

    def feed(self, data: bytes) -> None:
        """More octets have come."""
        self._buffer += data

    def following(self) -> bytes | None:
        """The next whole frame, before all others the preface; None until there is one. Raises Unbearable, NotHttp2."""
        buffer = self._buffer
        if not self._begun:
            return self._preface()
        if len(buffer) < HEAD_BYTES:
            return None
        size, kind = int.from_bytes(buffer[:3], "big"), buffer[3]
        # Judged by its length, before its octets are waited for.
        self._bound(kind, size)
        if len(buffer) < HEAD_BYTES + size:
            return None
        self.purse.pay(size)
        self._note(kind, size)
        frame = bytes(buffer[: HEAD_BYTES + size])
        del buffer[: HEAD_BYTES + size]
        return frame

    def _preface(self) -> bytes | None:
        start = bytes(self._buffer[: len(PREFACE)])
        if not PREFACE.startswith(start):
            raise NotHttp2(start)
        if len(start) < len(PREFACE):
            return None
        self._begun = True
        del self._buffer[: len(PREFACE)]
        return PREFACE

    def _bound(self, kind: int, size: int) -> None:
        if size > MAX_FRAME_BYTES:
            raise Unbearable("a frame longer than was agreed", FRAME_SIZE_ERROR)
        begun = self._header_bytes if kind == CONTINUATION else 0
        if kind in (HEADERS, CONTINUATION) and begun + size > MAX_HEADER_BYTES:
            raise Unbearable("a header block too long", ENHANCE_YOUR_CALM)
        if kind == SETTINGS and (size > 6 * MAX_SETTINGS or self._settings_frames >= MAX_SETTINGS_FRAMES):
            raise Unbearable("settings without end", ENHANCE_YOUR_CALM)

    def _note(self, kind: int, size: int) -> None:
        if kind == HEADERS:
            self._header_bytes = size
        elif kind == CONTINUATION:
            self._header_bytes += size
        elif kind == SETTINGS and size:
            # An acknowledgement is empty, and comes once for ours.
            self._settings_frames += 1
