# Names and addresses looked up in a mapped image, whose form `resolver.image` tells to the octet.
#
# Whatever an image says of itself is checked before it is followed: nothing is read outside the mapping.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from resolver.lane.question cimport MAX_LABELS, MAX_NAME_BYTES, Question

cdef enum:
    BUCKET_BYTES = 64
    BUCKET_NAMES = 12
    GROUND_BYTES = 16
    PREFIX_BYTES = 32
    NO_RULE = 0xFFFFFFFF
    GROUND_BITS = 24
    FLAG_BELOW = 2  # matches names below its own, which ends the search
    FLAG_STOP = 4  # matches nothing and ends the search
    KNOWN_FLAGS = 15

cdef struct Names:
    const uint8_t *passing
    uint32_t mask  # of a bit's number
    const uint8_t *table
    uint32_t buckets  # 0: there are no names

cdef struct Spans:
    const uint8_t *starts
    const uint32_t *owners
    uint32_t count

cdef struct View:
    # One layer of the policy.
    const uint8_t *records
    uint64_t records_bytes
    Names exact
    Names subtree
    Spans ipv4
    Spans ipv6
    Spans ipv4_clients
    Spans ipv6_clients
    const uint8_t *grounds
    uint32_t ground_count
    uint32_t prime
    uint32_t powers[MAX_NAME_BYTES + 1]  # 256**i modulo the prime

cdef struct Hashes:
    # Of a name and of each name above it, for one layer.
    uint32_t of[MAX_LABELS]


cdef inline void hash_name(const View *view, const uint8_t *key, const uint8_t *starts, int labels, int size,
                           Hashes *hashes) noexcept nogil:
    """All hashes in one pass from the right. Sums stay below 255 * 255 * 2**30 < 2**46, so they are reduced rarely."""
    cdef uint64_t total = 0
    cdef int label, i, end = size
    for label in range(labels - 1, -1, -1):
        for i in range(starts[label], end):
            total += <uint64_t>key[i] * view.powers[size - 1 - i]
        end = starts[label]
        total %= view.prime
        hashes.of[label] = <uint32_t>total


cdef inline bint may_hold(const Names *names, uint32_t found) noexcept nogil:
    cdef uint32_t bit = found & names.mask
    return (names.passing[bit >> 3] >> (bit & 7)) & 1


cdef inline uint32_t spread(uint32_t found) noexcept nogil:
    return <uint32_t>((<uint64_t>(found ^ (found >> 15)) * 0x9E3779B97F4A7C15ULL) >> 32)


cdef inline const uint8_t *bucket_of(const Names *names, uint32_t mixed) noexcept nogil:
    return names.table + ((<uint64_t>mixed * names.buckets) >> 32) * BUCKET_BYTES


cdef inline bint find(const View *view, const Names *names, const uint8_t *key, int size, uint32_t found,
                      uint64_t *value) noexcept nogil:
    """Is the name of `size` octets there, and with what value?"""
    cdef uint32_t mixed = spread(found)
    cdef uint8_t tag = <uint8_t>(mixed % 255 + 1)
    cdef uint32_t bucket = <uint32_t>((<uint64_t>mixed * names.buckets) >> 32)
    cdef uint32_t turns, seat, place
    cdef const uint8_t *here
    cdef const uint32_t *places
    for turns in range(names.buckets):
        here = names.table + <uint64_t>bucket * BUCKET_BYTES
        places = <const uint32_t *>here + 3
        for seat in range(BUCKET_NAMES):
            if here[seat] == tag:
                place = places[seat]
                if <uint64_t>place + 8 + size <= view.records_bytes:
                    if memcmp(view.records + place + 8, key, size) == 0:
                        # Records begin anywhere, so a number there cannot be read in place.
                        memcpy(value, view.records + place, 8)
                        return True
        if places[BUCKET_NAMES] == 0:
            return False
        bucket += 1
        if bucket == names.buckets:
            bucket = 0
    return False


cdef struct Ground:
    uint32_t expires
    uint8_t action
    uint8_t category
    uint16_t flags


cdef inline bint ground_at(const View *view, uint64_t value, Ground *ground) noexcept nogil:
    cdef uint32_t index = <uint32_t>(value & ((1 << GROUND_BITS) - 1))
    cdef const uint8_t *here
    if index >= view.ground_count:
        return False
    here = view.grounds + <uint64_t>index * GROUND_BYTES
    ground.expires = (<const uint32_t *>here)[0]
    ground.action = here[4]
    ground.category = here[5]
    ground.flags = (<const uint16_t *>(here + 6))[0]
    return True


cdef struct Match:
    uint64_t value  # entry number << GROUND_BITS | index of the ground; the highest bit may be set
    Ground ground


cdef enum Judgement:
    NO_MATCH = 0
    A_MATCH = 1
    UNSURE = 2  # a rule of a kind that Python knows


cdef inline Judgement match_name(const View *view, const uint8_t *key, const uint8_t *starts, int labels, int size,
                                 const Hashes *hashes, uint32_t hour, Match *match) noexcept nogil:
    """The exact rule at the name, else the subtree rule of its nearest ancestor or itself, if in force."""
    cdef int label
    cdef uint64_t value = 0
    if labels and view.exact.buckets and may_hold(&view.exact, hashes.of[0]):
        if find(view, &view.exact, key, size, hashes.of[0], &value):
            if not ground_at(view, value, &match.ground) or match.ground.flags & ~KNOWN_FLAGS:
                return UNSURE
            if hour < match.ground.expires or match.ground.expires == NO_RULE:
                match.value = value
                return A_MATCH
    if view.subtree.buckets == 0:
        return NO_MATCH
    for label in range(labels):
        if may_hold(&view.subtree, hashes.of[label]):
            if find(view, &view.subtree, key + starts[label], size - starts[label], hashes.of[label], &value):
                if not ground_at(view, value, &match.ground) or match.ground.flags & ~KNOWN_FLAGS:
                    return UNSURE
                if hour < match.ground.expires or match.ground.expires == NO_RULE:
                    if match.ground.flags & FLAG_STOP or (match.ground.flags & FLAG_BELOW and label == 0):
                        return NO_MATCH
                    match.value = value
                    return A_MATCH
    return NO_MATCH


cdef inline bint holds_address(const Spans *spans, const uint8_t *address, int width) noexcept nogil:
    """Does any prefix hold it, whether in force or not?"""
    cdef uint32_t low = 0, high = spans.count, middle
    while low < high:
        middle = low + (high - low) // 2
        if memcmp(spans.starts + <uint64_t>middle * width, address, width) <= 0:
            low = middle + 1
        else:
            high = middle
    return low > 0 and spans.owners[low - 1] != NO_RULE
