"""A web server in a thread that answers as a test wants it to."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def answering(answer: Callable[[bytes, socket.socket], None]) -> Iterator[str]:
    """Its URL. `answer` gets the request's head and the socket, and may do with it what it likes."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)

    def one(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            peer.settimeout(20)
            head = b""
            while True:
                while b"\r\n\r\n" not in head:
                    piece = peer.recv(65536)
                    if not piece:
                        return
                    head += piece
                asked, _end, head = head.partition(b"\r\n\r\n")
                answer(asked, peer)

    def run() -> None:
        with suppress(OSError):
            while True:
                peer, _address = listener.accept()
                threading.Thread(target=one, args=(peer,), daemon=True).start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        # Closing alone does not wake a thread in accept.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def reply(body: bytes, status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """An answer's bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
