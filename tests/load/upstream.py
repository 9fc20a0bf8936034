"""python -m tests.load.upstream PORT: an upstream in a process of its own, which looks at little and answers fast.

Names whose first label has 12 octets do not exist (with an SOA, so that is kept), all others have one address.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import pack

from feeds.message.building import encode_name, encode_record, soa_rdata
from tests.resolver.live import free_port

SO_RCVBUFFORCE = 33
ROOT = Path(__file__).parent.parent.parent
ADDRESS = encode_record(b"\xc0\x0c", 1, 3600, b"\xc0\0\2\1")
# The root's, since every name is below it.
DENIAL = encode_record(b"\0", 6, 900, soa_rdata(encode_name("ns"), encode_name("root"), 1, 2, 3, 4, 600))


def answer(data: bytes) -> bytes:
    """The answer to a query with one question."""
    end = data.index(b"\0", 12) + 5
    missing = data[12] == 12
    counts, body = ((0, 1, 0), DENIAL) if missing else ((1, 0, 0), ADDRESS)
    return data[:2] + pack("!5H", 0x8183 if missing else 0x8180, 1, *counts) + data[12:end] + body


def serve(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # A resolver asks in bursts, and what does not fit is lost.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        with suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        sock.bind(("127.0.0.1", port))
        while True:
            data, client = sock.recvfrom(4096)
            if not data:
                continue
            sock.sendto(answer(data), client)


@contextmanager
def fast_upstream() -> Iterator[str]:
    """Its address."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.load.upstream", str(port)], cwd=ROOT)
    try:
        probe = pack("!6H", 1, 0x0100, 1, 0, 0, 0) + b"\0\0\1\0\1"
        for _try in range(100):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(0.1)
                try:
                    sock.connect(("127.0.0.1", port))
                    sock.send(probe)
                    sock.recv(512)
                    break
                except OSError:
                    time.sleep(0.05)
        else:
            raise AssertionError("the upstream does not answer")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
