"""SipHash-2-4 (Aumasson and Bernstein 2012): a keyed hash for short input; pure.

Python's own `hash` uses it with fewer rounds and a key that nobody can set, and no library at hand offers it.
"""

from struct import Struct

_words = Struct("<2Q").unpack
_word = Struct("<Q")
_MASK = 0xFFFFFFFFFFFFFFFF


def siphash(key: bytes, data: bytes) -> bytes:
    """Eight octets, as the reference implementation writes them. `key` has 16 octets."""
    k0, k1 = _words(key)
    a, b, c, d = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    padded = data + bytes(7 - len(data) % 8) + bytes((len(data) & 255,))
    for (word,) in _word.iter_unpack(padded):
        a, b, c, d = _rounds(a, b, c, d ^ word, 2)
        a ^= word
    a, b, c, d = _rounds(a, b, c ^ 255, d, 4)
    return _word.pack(a ^ b ^ c ^ d)


def _rounds(a: int, b: int, c: int, d: int, count: int) -> tuple[int, int, int, int]:
    for _round in range(count):
        a = a + b & _MASK
        b = (b << 13 | b >> 51) & _MASK ^ a
        a = (a << 32 | a >> 32) & _MASK
        c = c + d & _MASK
        d = (d << 16 | d >> 48) & _MASK ^ c
        a = a + d & _MASK
        d = (d << 21 | d >> 43) & _MASK ^ a
        c = c + b & _MASK
        b = (b << 17 | b >> 47) & _MASK ^ c
        c = (c << 32 | c >> 32) & _MASK
    return a, b, c, d
