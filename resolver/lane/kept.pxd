# Kept answers: `resolver.cache` in memory of fixed bound. One lock for all of it, held by who calls.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from resolver.lane.siphash cimport siphash13

cdef enum:
    BYTES_A_BUCKET = 512
    MOST_TTLS = 2100
    # Of an address: its version, then 16 octets, from the left.
    ADDRESS_BYTES = 17

cdef enum Verdict:
    CLEAN = 0
    MATCHED = 1  # by some rule, in force or not: Python decides

cdef struct Kept:
    # One answer. Behind it stand `ttl_count` pairs of numbers (place, TTL when stored), the key, the message, then
    # the wire names (`names_bytes` in all) and addresses that the policy is asked about.
    Kept *next  # with the same bucket
    Kept *newer
    Kept *older
    uint64_t found
    double stored
    double recheck_at
    uint64_t size
    int32_t lifetime
    uint32_t judged  # by which state of the policy, 0 none
    uint32_t touched  # second of its last use
    uint32_t message_bytes
    uint16_t key_bytes
    uint16_t ttl_count
    uint16_t names_bytes
    uint16_t address_count
    uint8_t verdict
    uint8_t authentic
    uint8_t stripped
    uint8_t upstream

cdef struct Store:
    Kept **buckets
    uint64_t mask
    Kept *newest
    Kept *oldest
    uint64_t bytes
    uint64_t most
    uint64_t count
    uint64_t evicted


cdef inline uint32_t *ttls_of(Kept *kept) noexcept nogil:
    return <uint32_t *>(kept + 1)


cdef inline uint8_t *key_of(Kept *kept) noexcept nogil:
    return <uint8_t *>(ttls_of(kept) + 2 * kept.ttl_count)


cdef inline uint8_t *message_of(Kept *kept) noexcept nogil:
    return key_of(kept) + kept.key_bytes


cdef inline uint8_t *names_of(Kept *kept) noexcept nogil:
    return message_of(kept) + kept.message_bytes


cdef inline uint8_t *addresses_of(Kept *kept) noexcept nogil:
    return names_of(kept) + kept.names_bytes


cdef inline bint open_store(Store *store, uint64_t most) noexcept nogil:
    cdef uint64_t buckets = 1024
    while buckets * BYTES_A_BUCKET < most:
        buckets *= 2
    store.buckets = <Kept **>calloc(buckets, sizeof(Kept *))
    store.mask = buckets - 1
    store.most = most
    return store.buckets != NULL


cdef inline Kept *look_up(Store *store, uint64_t found, const uint8_t *key, int size) noexcept nogil:
    cdef Kept *kept = store.buckets[found & store.mask]
    while kept != NULL:
        if kept.found == found and kept.key_bytes == size and memcmp(key_of(kept), key, size) == 0:
            return kept
        kept = kept.next
    return NULL


cdef inline void unlink(Store *store, Kept *kept) noexcept nogil:
    if kept.newer != NULL:
        kept.newer.older = kept.older
    else:
        store.newest = kept.older
    if kept.older != NULL:
        kept.older.newer = kept.newer
    else:
        store.oldest = kept.newer


cdef inline void link_newest(Store *store, Kept *kept) noexcept nogil:
    kept.newer = NULL
    kept.older = store.newest
    if store.newest != NULL:
        store.newest.newer = kept
    else:
        store.oldest = kept
    store.newest = kept


cdef inline void touch(Store *store, Kept *kept, uint32_t second) noexcept nogil:
    """It is used. Once a second is enough to know which have not been used for longest."""
    if kept.touched != second:
        kept.touched = second
        if store.newest != kept:
            unlink(store, kept)
            link_newest(store, kept)


cdef inline void forget(Store *store, Kept *kept) noexcept nogil:
    cdef Kept **at = &store.buckets[kept.found & store.mask]
    while at[0] != kept:
        at = &at[0].next
    at[0] = kept.next
    unlink(store, kept)
    store.bytes -= kept.size
    store.count -= 1
    free(kept)


cdef inline Kept *new_kept(int ttl_count, int key_bytes, int message_bytes, int names_bytes,
                           int address_count) noexcept nogil:
    """Room for one, to be filled and then given to `keep`."""
    cdef uint64_t size = (sizeof(Kept) + 8 * ttl_count + key_bytes + message_bytes + names_bytes
                          + ADDRESS_BYTES * address_count)
    cdef Kept *kept = <Kept *>calloc(1, size)
    if kept != NULL:
        kept.size = size + 16  # what malloc takes for itself
        kept.ttl_count = <uint16_t>ttl_count
        kept.key_bytes = <uint16_t>key_bytes
        kept.message_bytes = <uint32_t>message_bytes
        kept.names_bytes = <uint16_t>names_bytes
        kept.address_count = <uint16_t>address_count
    return kept


cdef inline void keep(Store *store, Kept *kept) noexcept nogil:
    """Keep it in place of what had its key, and let go of those used longest ago until the bound holds."""
    cdef Kept *old = look_up(store, kept.found, key_of(kept), kept.key_bytes)
    cdef Kept **bucket
    if old != NULL:
        forget(store, old)
    if kept.size > store.most // 8:
        free(kept)
        return
    while store.bytes + kept.size > store.most and store.oldest != NULL:
        forget(store, store.oldest)
        store.evicted += 1
    bucket = &store.buckets[kept.found & store.mask]
    kept.next = bucket[0]
    bucket[0] = kept
    link_newest(store, kept)
    store.bytes += kept.size
    store.count += 1
