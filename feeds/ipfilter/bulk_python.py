"""The plain twin of `feeds.ipfilter.native`.

A prefix is one integer, `network << 8 | length`: sorting them sorts by network and puts the wider prefix first, and
a list of them takes a fifth of the memory of pairs. Work goes in blocks through functions written in C (split,
inet_pton, struct), so that Python's own loop runs once over the whole and never per character.
"""

import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from operator import add, contains, lshift, or_
from typing import Self

from feeds.ipfilter.intervals import cidrs, merged

_BLOCK = 1 << 15
_FAMILY = {32: socket.AF_INET, 128: socket.AF_INET6}


class Listed:
    """See `feeds.ipfilter.bulk.Listed`. `keys` are the fewest prefixes, rising."""

    def __init__(self, keys: Sequence[int], bits: int) -> None:
        self._keys, self.bits = keys, bits

    @classmethod
    def of_text(cls, text: bytes, bits: int, other: Callable[[int, bytes], tuple[int, int] | None]) -> Self:
        found: list[int] = []
        number = 1
        rest = iter(text.removesuffix(b"\n").split(b"\n"))
        while block := list(islice(rest, _BLOCK)):
            try:
                found += _keys_of([line.decode("ascii") for line in block], bits)
            except (ValueError, OSError):
                found += _keys_one_by_one(block, number, bits, other)
            number += len(block)
        found.sort()
        return cls(_fewest(found, bits), bits)

    @classmethod
    def of_spans(cls, spans: Iterable[tuple[int, int]], bits: int) -> Self:
        return cls([network << 8 | length for network, length in cidrs(merged(spans), bits)], bits)

    def __len__(self) -> int:
        return len(self._keys)

    def pairs(self) -> Sequence[tuple[int, int]]:
        return merged((key >> 8, (key >> 8) + (1 << self.bits - (key & 255)) - 1) for key in self._keys)

    def texts(self) -> Iterator[str]:
        tails = [f"/{length}" for length in range(self.bits + 1)]
        rest = iter(self._keys)
        while block := list(islice(rest, _BLOCK)):
            addresses = map(socket.inet_ntop, repeat(_FAMILY[self.bits]), _packed(block, self.bits))
            yield from map(add, addresses, [tails[key & 255] for key in block])


def span_of(word: bytes, bits: int) -> tuple[int, int] | None:
    """First and last address of `ADDRESS` or `ADDRESS/LENGTH`; None for anything else."""
    try:
        (key,) = _keys_of([word.decode("ascii")], bits)
    except (ValueError, OSError):
        return None
    return key >> 8, (key >> 8) + (1 << bits - (key & 255)) - 1


def _keys_one_by_one(
    block: Sequence[bytes], number: int, bits: int, other: Callable[[int, bytes], tuple[int, int] | None]
) -> Iterator[int]:
    for place, line in enumerate(block, number):
        span = span_of(line, bits) or other(place, line)
        if span is not None:
            yield from (network << 8 | length for network, length in cidrs(merged([span]), bits))


def _fewest(rising: Iterable[int], bits: int) -> list[int]:
    """The fewest prefixes that cover what these cover, in rising order."""
    out: list[int] = []
    reach = -1
    for key in rising:
        network = key >> 8
        if network <= reach:
            continue
        size = 1 << bits - (key & 255)
        reach = network + size - 1
        # A right half that meets its left half becomes the whole, which may again be a right half.
        while network & size and out and out[-1] == key - (size << 8):
            key = out.pop() - 1
            network = key >> 8
            size <<= 1
        out.append(key)
    return out


def _keys_of(block: Sequence[str], bits: int) -> Iterable[int]:
    joined = "\n".join(block)
    if "/" not in joined:
        return map(or_, map(lshift, _numbers(block, bits), repeat(8)), repeat(bits))
    wide = {str(length): bits - length for length in range(bits + 1)}
    if not all(map(contains, block, repeat("/"))):
        joined = "\n".join([line if "/" in line else f"{line}/{bits}" for line in block])
    words = joined.replace("/", "\n").split("\n")
    # Every line has a slash by now: if there are no more slashes than lines, each has just one.
    if joined.count("/") != len(block) or len(words) != 2 * len(block):
        raise ValueError("a line with more than one slash")
    try:
        free = [wide[length] for length in words[1::2]]
    except KeyError as error:
        raise ValueError(f"{error} is no prefix length") from None
    return [
        number >> host << host + 8 | bits - host for number, host in zip(_numbers(words[::2], bits), free, strict=True)
    ]


def _numbers(addresses: Sequence[str], bits: int) -> Sequence[int]:
    packed = b"".join(map(socket.inet_pton, repeat(_FAMILY[bits]), addresses))
    if bits == 32:
        return struct.unpack(f">{len(addresses)}I", packed)
    halves = struct.unpack(f">{2 * len(addresses)}Q", packed)
    return [high << 64 | low for high, low in zip(halves[::2], halves[1::2], strict=True)]


def _packed(block: Sequence[int], bits: int) -> Iterable[bytes]:
    if bits == 32:
        joined = struct.pack(f">{len(block)}I", *[key >> 8 for key in block])
        return struct.unpack("4s" * len(block), joined)
    return [(key >> 8).to_bytes(16) for key in block]
