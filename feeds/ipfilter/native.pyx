# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sets of addresses in C: read from lines, merged, written as the fewest prefixes.

The twin of `feeds.ipfilter.bulk.Listed`, with the same methods and the same answers. It reads plain lines only,
`ADDRESS` and `ADDRESS/LENGTH` without anything around them, and asks its caller about each of the others.
"""

from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcpy, memset, strlen

cdef extern from *:
    ctypedef unsigned long long u128 "unsigned __int128"
    int free_bits "__builtin_ctzll"(unsigned long long) nogil
    int top_zeros "__builtin_clzll"(unsigned long long) nogil

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET6
    int inet_pton(int family, const char *text, void *made)
    const char *inet_ntop(int family, const void *address, char *text, unsigned int size)

# The longest address of IPv6, "/128" and room for an end: INET6_ADDRSTRLEN is 46.
cdef enum:
    TEXT = 64
    ADDRESS = 46
    FIRST_ROOM = 1024
    RADIX_BITS = 11
    BUCKETS = 2048

cdef struct Span:
    u128 first
    u128 last


cdef class Listed:
    """Addresses of one IP version, of `bits` bits."""

    cdef Span *held
    cdef Py_ssize_t count
    cdef Py_ssize_t room
    cdef readonly int bits

    def __cinit__(self, int bits):
        self.bits = bits

    def __dealloc__(self):
        free(self.held)

    @classmethod
    def of_text(cls, bytes text, int bits, other):
        """Read lines; `other(number, line)` says (first, last) of a line that is not plain, or None."""
        cdef Listed made = cls(bits)
        cdef const char *place = text
        cdef const char *end = place + len(text)
        cdef const char *stop
        cdef Py_ssize_t number = 0
        cdef Span found
        while place < end:
            number += 1
            stop = <const char *>memchr(place, b"\n", end - place)
            if stop == NULL:
                stop = end
            if read_line(place, stop - place, bits, &found):
                made.add(found)
            else:
                meant = other(number, place[:stop - place])
                if meant is not None:
                    made.add(span_of(meant))
            place = stop + 1
        made.merge()
        return made

    @classmethod
    def of_spans(cls, spans, int bits):
        """Of (first, last) pairs in any order."""
        cdef Listed made = cls(bits)
        for span in spans:
            made.add(span_of(span))
        made.merge()
        return made

    def __len__(self):
        """How many prefixes `texts` yields."""
        cdef Py_ssize_t index, total = 0
        cdef u128 first, last
        for index in range(self.count):
            first, last = self.held[index].first, self.held[index].last
            while True:
                total += 1
                if not passes(&first, last, block_bits(first, last)):
                    break
        return total

    def pairs(self):
        """(first, last) of each interval, rising, disjoint and not adjacent."""
        cdef Py_ssize_t index
        return [(number_of(self.held[index].first), number_of(self.held[index].last)) for index in range(self.count)]

    def texts(self):
        """The fewest `ADDRESS/LENGTH`, rising."""
        cdef Py_ssize_t index
        cdef u128 first, last
        cdef int free_low
        cdef char text[TEXT]
        for index in range(self.count):
            first, last = self.held[index].first, self.held[index].last
            while True:
                free_low = block_bits(first, last)
                yield PyUnicode_DecodeASCII(text, write_prefix(text, first, self.bits - free_low, self.bits), NULL)
                if not passes(&first, last, free_low):
                    break

    cdef int add(self, Span span) except -1:
        cdef Span *more
        if self.count == self.room:
            self.room = self.room * 2 if self.room else FIRST_ROOM
            more = <Span *>realloc(self.held, self.room * sizeof(Span))
            if more == NULL:
                raise MemoryError
            self.held = more
        self.held[self.count] = span
        self.count += 1
        return 0

    cdef int merge(self) except -1:
        """Sort by first address; unite what overlaps or touches."""
        cdef Py_ssize_t index, last = 0
        cdef Span span
        self.sort()
        for index in range(1, self.count):
            span = self.held[index]
            # Written so that nothing overflows at the last address of all.
            if span.first <= self.held[last].last or span.first - self.held[last].last == 1:
                if span.last > self.held[last].last:
                    self.held[last].last = span.last
            else:
                last += 1
                self.held[last] = span
        if self.count:
            self.count = last + 1
        return 0

    cdef int sort(self) except -1:
        """By radix, some bits a turn, least significant first; bits that are the same everywhere cost no move."""
        cdef Py_ssize_t index, total, held
        cdef Py_ssize_t places[BUCKETS]
        cdef Span *source = self.held
        cdef Span *target
        cdef Span *swapped
        cdef int shift
        cdef int bucket
        for index in range(1, self.count):
            if source[index - 1].first > source[index].first:
                break
        else:
            return 0
        target = <Span *>malloc(self.count * sizeof(Span))
        if target == NULL:
            raise MemoryError
        for shift in range(0, self.bits, RADIX_BITS):
            memset(places, 0, sizeof(places))
            for index in range(self.count):
                places[<int>(source[index].first >> shift) & (BUCKETS - 1)] += 1
            if places[<int>(source[0].first >> shift) & (BUCKETS - 1)] == self.count:
                continue
            total = 0
            for bucket in range(BUCKETS):
                held = places[bucket]
                places[bucket] = total
                total += held
            for index in range(self.count):
                bucket = <int>(source[index].first >> shift) & (BUCKETS - 1)
                target[places[bucket]] = source[index]
                places[bucket] += 1
            swapped, source, target = source, target, source
        self.held, self.room = source, self.count
        free(target)
        return 0


cdef Span span_of(pair) except *:
    cdef Span span
    span.first = wide_of(pair[0])
    span.last = wide_of(pair[1])
    return span


cdef u128 wide_of(number) except? 0:
    return (<u128><uint64_t>(number >> 64)) << 64 | <uint64_t>(number & 0xFFFFFFFFFFFFFFFF)


cdef object number_of(u128 wide):
    cdef uint64_t high = <uint64_t>(wide >> 64)
    return <uint64_t>wide if high == 0 else (<object>high << 64) | <uint64_t>wide


cdef bint passes(u128 *first, u128 last, int free_low) noexcept nogil:
    """Move `first` past a prefix with that many free bits; is there anything left up to `last`?"""
    # A shift by all 128 bits is undefined in C.
    if free_low == 128:
        return False
    first[0] += (<u128>1) << free_low
    # Zero: past the very last address.
    return first[0] != 0 and first[0] <= last


cdef int block_bits(u128 first, u128 last) noexcept nogil:
    """The free bits of the largest prefix that begins at `first` and does not pass `last`."""
    cdef u128 length = last - first + 1
    cdef int aligned, fits
    if length == 0:
        return 128
    if <uint64_t>length == 0 or length >> 64:
        fits = 127 - top_zeros(<uint64_t>(length >> 64))
    else:
        fits = 63 - top_zeros(<uint64_t>length)
    if first == 0:
        return fits
    aligned = free_bits(<uint64_t>first) if <uint64_t>first else 64 + free_bits(<uint64_t>(first >> 64))
    return aligned if aligned < fits else fits


cdef bint read_line(const char *text, Py_ssize_t size, int bits, Span *made) noexcept nogil:
    cdef const char *slash = <const char *>memchr(text, b"/", size) if size else NULL
    cdef Py_ssize_t address_size = slash - text if slash != NULL else size
    cdef int length = bits
    cdef u128 hosts
    if slash != NULL:
        length = read_number(slash + 1, size - address_size - 1, bits)
        if length < 0:
            return False
    if not (read4(text, address_size, &made.first) if bits == 32 else read6(text, address_size, &made.first)):
        return False
    hosts = ~<u128>0 if length == 0 and bits == 128 else ((<u128>1) << (bits - length)) - 1
    made.first &= ~hosts
    made.last = made.first | hosts
    return True


cdef int read_number(const char *text, Py_ssize_t size, int most) noexcept nogil:
    """A decimal number without leading zeros from 0 to `most`; -1 for anything else."""
    cdef int value = 0
    cdef Py_ssize_t index
    if size < 1 or size > 3 or (size > 1 and text[0] == c"0"):
        return -1
    for index in range(size):
        if text[index] < c"0" or text[index] > c"9":
            return -1
        value = value * 10 + text[index] - c"0"
    return value if value <= most else -1


cdef bint read4(const char *text, Py_ssize_t size, u128 *made) noexcept nogil:
    cdef const char *end = text + size
    cdef const char *dot
    cdef uint64_t value = 0
    cdef int part, number
    for part in range(4):
        dot = text
        while dot < end and dot[0] != c".":
            dot += 1
        number = read_number(text, dot - text, 255)
        # A dot after each but the last, and none after that.
        if number < 0 or (dot == end) != (part == 3):
            return False
        value = value << 8 | <uint64_t>number
        text = dot + 1
    made[0] = value
    return True


cdef bint read6(const char *text, Py_ssize_t size, u128 *made) noexcept nogil:
    cdef char copy[ADDRESS]
    cdef uint8_t packed[16]
    cdef int index
    # inet_pton ends at a zero byte, which a line may hold.
    if size >= ADDRESS or memchr(text, 0, size) != NULL:
        return False
    memcpy(copy, text, size)
    copy[size] = 0
    if inet_pton(AF_INET6, copy, packed) != 1:
        return False
    made[0] = 0
    for index in range(16):
        made[0] = made[0] << 8 | packed[index]
    return True


cdef Py_ssize_t write_prefix(char *text, u128 first, int length, int bits) noexcept nogil:
    cdef uint8_t packed[16]
    cdef Py_ssize_t place = 0
    cdef int index
    if bits == 32:
        for index in range(4):
            place += write_number(text + place, <int>((first >> (24 - 8 * index)) & 255))
            text[place] = c"." if index < 3 else c"/"
            place += 1
    else:
        for index in range(16):
            packed[index] = <uint8_t>(first >> (120 - 8 * index))
        inet_ntop(AF_INET6, packed, text, ADDRESS)
        place = strlen(text)
        text[place] = c"/"
        place += 1
    return place + write_number(text + place, length)


cdef int write_number(char *text, int value) noexcept nogil:
    cdef int size = 3 if value > 99 else 2 if value > 9 else 1
    cdef int index
    for index in range(size - 1, -1, -1):
        text[index] = c"0" + value % 10
        value //= 10
    return size
