# SipHash (Aumasson and Bernstein, 2012): a keyed hash that nobody without the key can make collide.
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy


cdef inline uint64_t turned(uint64_t number, int bits) noexcept nogil:
    return (number << bits) | (number >> (64 - bits))


cdef inline void sip_round(uint64_t *v) noexcept nogil:
    v[0] += v[1]
    v[1] = turned(v[1], 13) ^ v[0]
    v[0] = turned(v[0], 32)
    v[2] += v[3]
    v[3] = turned(v[3], 16) ^ v[2]
    v[0] += v[3]
    v[3] = turned(v[3], 21) ^ v[0]
    v[2] += v[1]
    v[1] = turned(v[1], 17) ^ v[2]
    v[2] = turned(v[2], 32)


cdef inline uint64_t siphash13(const uint64_t *key, const uint8_t *data, int size) noexcept nogil:
    """With one round a block and three at the end, as hash tables use it. `key`: 16 octets."""
    return siphash(key, data, size, 1, 3)


cdef inline uint64_t siphash24(const uint64_t *key, const uint8_t *data, int size) noexcept nogil:
    """As its makers advise for a signature."""
    return siphash(key, data, size, 2, 4)


cdef inline uint64_t siphash(const uint64_t *key, const uint8_t *data, int size, int rounds, int last) noexcept nogil:
    cdef uint64_t v[4]
    cdef uint64_t block
    cdef int at = 0, i, n
    v[0] = key[0] ^ 0x736F6D6570736575ULL
    v[1] = key[1] ^ 0x646F72616E646F6DULL
    v[2] = key[0] ^ 0x6C7967656E657261ULL
    v[3] = key[1] ^ 0x7465646279746573ULL
    while at + 8 <= size:
        memcpy(&block, data + at, 8)
        v[3] ^= block
        for n in range(rounds):
            sip_round(v)
        v[0] ^= block
        at += 8
    block = <uint64_t>(size & 255) << 56
    for i in range(size - at):
        block |= <uint64_t>data[at + i] << (8 * i)
    v[3] ^= block
    for n in range(rounds):
        sip_round(v)
    v[0] ^= block
    v[2] ^= 0xFF
    for n in range(last):
        sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
