"""Prefixes by the hundred thousand: text to numbers, to the fewest prefixes, and back to text.

A prefix is one integer, `network << 8 | length`: sorting them sorts by network and puts the wider prefix first, and
a list of them takes a fifth of the memory of pairs. Work goes in blocks through functions written in C (split,
inet_pton, struct), so that Python's own loop runs once over the whole and never per character.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from operator import add, contains, lshift, or_

from feeds.ipfilter.intervals import Intervals, cidrs, merged

_BLOCK = 1 << 15
_FAMILY = {32: socket.AF_INET, 128: socket.AF_INET6}


def keys(lines: Iterable[str], bits: int) -> list[int]:
    """Read `ADDRESS` or `ADDRESS/LENGTH`, a line each, host bits cleared, in rising order.

    Raises ValueError or OSError where a line is anything else.
    """
    wide = {str(length): bits - length for length in range(bits + 1)}
    found: list[int] = []
    rest = iter(lines)
    while block := list(islice(rest, _BLOCK)):
        found += _keys_of(block, bits, wide)
    found.sort()
    return found


def fewest(rising: Iterable[int], bits: int) -> list[int]:
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


def spans(rising: Iterable[int], bits: int) -> Intervals:
    """The same addresses as intervals."""
    return merged((key >> 8, (key >> 8) + (1 << bits - (key & 255)) - 1) for key in rising)


def texts(prefixes: Iterable[int], bits: int) -> Iterator[str]:
    """`ADDRESS/LENGTH` of each, in the same order."""
    tails = [f"/{length}" for length in range(bits + 1)]
    rest = iter(prefixes)
    while block := list(islice(rest, _BLOCK)):
        addresses = map(socket.inet_ntop, repeat(_FAMILY[bits]), _packed(block, bits))
        yield from map(add, addresses, [tails[key & 255] for key in block])


def interval_texts(intervals: Intervals, bits: int) -> Iterator[str]:
    """The fewest `ADDRESS/LENGTH` of these intervals, in rising order."""
    return texts((network << 8 | length for network, length in cidrs(intervals, bits)), bits)


def _keys_of(block: Sequence[str], bits: int, wide: dict[str, int]) -> Iterable[int]:
    joined = "\n".join(block)
    if "/" not in joined:
        return map(or_, map(lshift, _numbers(block, bits), repeat(8)), repeat(bits))
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
