"""What the compiled lane offers; see native.pyx."""

from collections.abc import Sequence
from mmap import mmap

Counts = tuple[dict[str, int], dict[tuple[int, int], int], list[int], float]
Kept = tuple[bytes, tuple[tuple[int, int], ...], float, int, bool, int, bool, float]

class Lane:
    def __init__(
        self, cache_bytes: int, secret: bytes, per_second: float = 0, burst: float = 4.0, networks: int = 32768
    ) -> None: ...
    def serve(self, sock: int, odd: int, local: bool, wildcard: bool) -> None: ...
    def stop(self) -> None: ...
    def enforce(self, images: list[tuple[mmap, int, tuple[tuple[int, int], ...]]], resting: bool) -> None: ...
    def turn(self, hour: int) -> None: ...
    def teach(
        self,
        layer: int,
        ground: int,
        kind: int,
        bits: int = 0,
        ede_code: int = 0,
        soa: bytes = b"",
        records: Sequence[tuple[int, int, bytes]] = (),
        before: bytes = b"",
        after: bytes = b"",
        plain: bytes = b"",
    ) -> None: ...
    def put(
        self,
        key: bytes,
        message: bytes,
        ttls: Sequence[tuple[int, int]],
        stored: float,
        lifetime: int,
        authentic: bool,
        upstream: int,
        stripped: bool,
        names: bytes,
        addresses: list[tuple[int, bytes]],
    ) -> None: ...
    def get(self, key: bytes, now: float) -> Kept | None: ...
    def put_off(self, key: bytes, until: float) -> None: ...
    def drop(self, key: bytes) -> None: ...
    def kept(self) -> tuple[int, int, int]: ...
    def over(self, network: bytes, kind: int, now: float) -> bool: ...
    def slips(self) -> bool: ...
    def counts(self) -> Counts: ...
    def answer(
        self, query: bytes, now: float, address: bytes = b"", counted: bool = False
    ) -> bytes | tuple[int, int] | None: ...
