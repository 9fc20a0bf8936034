"""The sender from Python: give it queries, get a Result."""

import atexit
import shutil
import subprocess
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from tests.conftest import missing

SOURCE = Path(__file__).with_name("sender.c")
NEVER = 0xFFFFFFFF
LOST = 0x40  # flags of a query without an answer
_RECORD = Struct("=IIHBBI")
_FLAGS = 10  # where they stand


class Fate(NamedTuple):
    """What became of one query. `sent` and `latency` are in microseconds; `which` of the queries it was; the `serial`
    of the SOA of a refusal.
    """

    sent: int
    latency: int
    which: int
    flags: int
    socket: int
    serial: int

    @property
    def lost(self) -> bool:
        return self.latency == NEVER

    @property
    def rcode(self) -> int:
        return self.flags & 15


class Result:
    """What became of all of them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        words = memoryview(data).cast("I")
        self.sent = len(words) // 4
        self.seconds = max(words[::4], default=0) / 1e6
        """From the first query to the last."""
        found = Counter(data[_FLAGS :: _RECORD.size])
        self.lost = found.pop(LOST, 0)
        self.answered = self.sent - self.lost
        self.rcodes: Counter[int] = Counter()
        for flags, count in found.items():
            self.rcodes[flags & 15] += count
        # How many took so many microseconds: few numbers, however many queries.
        counted = Counter(words[1::4])
        counted.pop(NEVER, None)
        self._latencies = sorted(counted)
        self._until = list(accumulate(counted[one] for one in self._latencies))

    @property
    def fates(self) -> Iterator[Fate]:
        """In the order in which answers came, the lost ones last; there may be millions."""
        return (Fate(*fields) for fields in _RECORD.iter_unpack(self._data))

    def latency(self, share: float) -> float:
        """In milliseconds, of the answered; `share` 0.5 is the median, 1 the worst."""
        place = min(int(share * self.answered), self.answered - 1)
        return self._latencies[bisect_right(self._until, place)] / 1e3

    def slower(self, milliseconds: float) -> int:
        """How many took longer."""
        place = bisect_right(self._latencies, milliseconds * 1e3)
        return self.answered - (self._until[place - 1] if place else 0)

    def text(self) -> str:
        median, most, worst = map(self.latency, (0.5, 0.999, 1))
        return (
            f"{self.sent} sent in {self.seconds:.1f} s, {self.lost} lost, rcodes {dict(self.rcodes)}, latency: "
            f"median {median:.2f} ms, p99.9 {most:.2f} ms, worst {worst:.2f} ms"
        )


@cache
def program() -> str:
    """The compiled sender."""
    folder = tempfile.mkdtemp(prefix="blocker-sender-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = f"{folder}/sender"
    try:
        subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", made, SOURCE], check=True, timeout=60)
    except FileNotFoundError:
        missing("no C compiler (Debian package gcc)")
    return made


@dataclass(frozen=True, slots=True)
class Sending:
    """A sender at work."""

    process: "subprocess.Popen[bytes]"
    output: Path

    def result(self, timeout: float = 120) -> Result:
        """Waits for its end."""
        assert self.process.wait(timeout) == 0
        return Result(self.output.read_bytes())


@contextmanager
def sending(
    folder: Path,
    port: int,
    queries: Sequence[bytes],
    *,
    seconds: float,
    rate: float = 0,
    count: int = 1 << 40,
    sockets: int = 4,
    seed: int = 0,
    source: str = "127.0.0.1",
    host: str = "127.0.0.1",
) -> Iterator[Sending]:
    """Start sending; see `sender.c` for what the arguments mean."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        words, output = Path(name, "queries"), Path(name, "fates")
        words.write_bytes(b"".join(len(one).to_bytes(2) + one for one in queries))
        arguments = [host, port, source, seconds, rate, count, sockets, seed, words, output]
        process = subprocess.Popen([program(), *map(str, arguments)])
        try:
            yield Sending(process, output)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
