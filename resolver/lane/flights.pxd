# Questions on their way to an upstream: `resolver.asking` for the first attempt. What it does not settle is Python's.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from resolver.lane.answers cimport put16
from resolver.lane.question cimport FLAG_CD, FLAG_RD, HEADER_BYTES, MAX_NAME_BYTES, UDP_BYTES, Question
from resolver.lane.siphash cimport siphash13
from resolver.lane.system cimport getrandom, lane_load16

cdef enum:
    MOST_UPSTREAMS = 8
    MOST_FLIGHTS = 1024
    MOST_WAITERS = 100
    NEAR_MISS_LIMIT = 8
    # Of the names right below one name (not a top-level domain), so that names made up below one whose servers are
    # dead do not take every place. They are counted by hash: two zones may share a count, which only makes it stricter.
    MOST_OF_A_ZONE = MOST_FLIGHTS // 8
    ZONES = 4096
    SENT_BYTES = HEADER_BYTES + MAX_NAME_BYTES + 4 + 11
    FLIGHT_BUCKETS = 2048
    CHANCE_BYTES = 4096
    ADDRESS_ROOM = 32  # a sockaddr_in6 is 28
    CONTROL_ROOM = 64

cdef struct Waiter:
    # Who asked, and the packet (behind it), as it came.
    Waiter *next
    double asked_at
    uint32_t number  # state of the policy that its name was judged by
    int sock
    int odd
    bint counted
    int address_bytes
    int control_bytes
    int packet_bytes
    uint8_t address[ADDRESS_ROOM]
    uint8_t control[CONTROL_ROOM]

cdef struct Flight:
    # A socket, connected to one upstream from a random port, and the question that is on its way by it.
    int sock
    bint flying  # its question is on its way
    int upstream
    Flight *chain  # with the same bucket, or the next that is ready
    uint64_t found
    int zone  # its count in Flights.zones, -1 where nothing is counted
    Question asked
    uint8_t sent[SENT_BYTES]
    int sent_bytes
    double sent_at
    double give_up_at
    Waiter *waiters
    int waiting
    int near_misses

cdef struct Upstream:
    uint8_t address[ADDRESS_ROOM]
    int address_bytes
    bint up
    bint closed  # no socket to it could be opened the last time: no route to it, or no more files
    bint keeps_case
    double wait
    double rtt
    Flight *ready
    int ready_count
    Flight *worn
    int sockets
    # Since the start.
    uint64_t answered
    uint64_t lost
    uint64_t refused

cdef struct Chance:
    # Random octets of the kernel, fetched many at a time.
    uint8_t octets[CHANCE_BYTES]
    int left

cdef struct Flights:
    Flight all[MOST_FLIGHTS]
    Flight *buckets[FLIGHT_BUCKETS]
    Upstream upstreams[MOST_UPSTREAMS]
    int upstream_count
    int opened  # of `all`
    int flying
    uint16_t zones[ZONES]
    bint authentic  # AD is asked for and believed
    Chance chance


cdef inline const uint8_t *drawn(Chance *chance, int size) noexcept nogil:
    """That many random octets, NULL where the kernel gives none."""
    if chance.left < size:
        if getrandom(chance.octets, CHANCE_BYTES, 0) != CHANCE_BYTES:
            return NULL
        chance.left = CHANCE_BYTES
    chance.left -= size
    return chance.octets + chance.left


cdef inline Flight *flight_of(Flights *flights, uint64_t found, const Question *asked) noexcept nogil:
    """The flight of that very question, if it is on its way."""
    cdef Flight *flight = flights.buckets[found % FLIGHT_BUCKETS]
    while flight != NULL:
        if flight.found == found and flight.asked.name_bytes == asked.name_bytes:
            if memcmp(flight.asked.key, asked.key, asked.name_bytes + 3) == 0:
                return flight
        flight = flight.chain
    return NULL


cdef inline int choose(Flights *flights) noexcept nogil:
    """Which upstream to ask: of two drawn at random that can be asked the quicker one; -1 where none can."""
    cdef int ups[MOST_UPSTREAMS]
    cdef int count = 0, i, one, other
    cdef const uint8_t *chance
    for i in range(flights.upstream_count):
        if flights.upstreams[i].up and not (flights.upstreams[i].closed and flights.upstreams[i].ready == NULL):
            ups[count] = i
            count += 1
    if count == 0:
        return -1
    if count == 1:
        return ups[0]
    chance = drawn(&flights.chance, 3)
    if chance == NULL:
        return -1
    # Two different ones: drawn twice, one that is slow, or dead, would be asked a quarter of all questions or more.
    one = chance[0] % count
    other = ups[(one + 1 + chance[1] % (count - 1)) % count]
    one = ups[one]
    # Now and then any, so that each one's quickness stays known.
    if chance[2] % 32 == 0 or flights.upstreams[one].rtt <= flights.upstreams[other].rtt:
        return one
    return other


cdef inline int zone_of(const uint64_t *secret, const Question *asked) noexcept nogil:
    """Where the questions of its zone are counted."""
    cdef int start
    if asked.labels < 3:
        return -1
    start = asked.starts[1]
    return <int>(siphash13(secret, asked.key + start, asked.name_bytes - start) % ZONES)


cdef inline bint take_off(Flights *flights, Flight *flight, const Question *asked, uint64_t found,
                          double now) noexcept nogil:
    """Write the question and count it as on its way. False where there is no chance to be had."""
    cdef Upstream *upstream = &flights.upstreams[flight.upstream]
    cdef const uint8_t *chance = drawn(&flights.chance, 2 + 32)
    cdef uint8_t *at = flight.sent
    cdef uint8_t octet
    cdef int i
    if chance == NULL:
        return False
    memcpy(&flight.asked, asked, sizeof(Question))
    at[0], at[1] = chance[0], chance[1]
    put16(at + 2, FLAG_RD | (asked.flags & FLAG_CD) | (0x20 if flights.authentic else 0))
    put16(at + 4, 1)
    put16(at + 6, 0)
    put16(at + 8, 0)
    put16(at + 10, 1)
    at += HEADER_BYTES
    for i in range(asked.name_bytes):
        octet = asked.key[i]
        # Lengths are at most 63 and letters begin at 97 (draft-vixie-dnsext-dns0x20).
        if upstream.keeps_case and <uint8_t>(octet - 97) < 26 and (chance[2 + (i >> 3)] >> (i & 7)) & 1:
            octet -= 32
        at[i] = octet
    at += asked.name_bytes
    put16(at, asked.qtype)
    put16(at + 2, 1)
    at[4] = 0
    put16(at + 5, 41)
    put16(at + 7, UDP_BYTES)
    put16(at + 9, 0)
    put16(at + 11, <uint32_t>asked.dnssec_ok << 15)
    put16(at + 13, 0)
    flight.sent_bytes = HEADER_BYTES + asked.name_bytes + 4 + 11
    flight.found = found
    flight.flying = True
    flight.sent_at, flight.give_up_at = now, now + upstream.wait
    flight.waiters, flight.waiting, flight.near_misses = NULL, 0, 0
    flight.chain = flights.buckets[found % FLIGHT_BUCKETS]
    flights.buckets[found % FLIGHT_BUCKETS] = flight
    flights.flying += 1
    if flight.zone >= 0:
        flights.zones[flight.zone] += 1
    return True


cdef inline void land(Flights *flights, Flight *flight) noexcept nogil:
    """It is settled; its waiters are the caller's. A port serves one question: another socket takes its place."""
    cdef Flight **at = &flights.buckets[flight.found % FLIGHT_BUCKETS]
    cdef Upstream *upstream = &flights.upstreams[flight.upstream]
    while at[0] != flight:
        at = &at[0].chain
    at[0] = flight.chain
    flights.flying -= 1
    if flight.zone >= 0:
        flights.zones[flight.zone] -= 1
    flight.flying = False
    flight.waiters = NULL
    flight.chain = upstream.worn
    upstream.worn = flight


cdef inline void make_ready(Upstream *upstream, Flight *flight) noexcept nogil:
    flight.chain = upstream.ready
    upstream.ready = flight
    upstream.ready_count += 1


cdef inline Waiter *new_waiter(int packet_bytes) noexcept nogil:
    return <Waiter *>malloc(sizeof(Waiter) + packet_bytes)


cdef inline uint8_t *packet_of(Waiter *waiter) noexcept nogil:
    return <uint8_t *>(waiter + 1)


cdef inline int fits(const Flight *flight, const uint8_t *data, int size) noexcept nogil:
    """Is it an answer to what was sent? 2: to the letter, 1: but for the case of letters, 0: no."""
    cdef int i, end = HEADER_BYTES + flight.asked.name_bytes
    cdef uint8_t octet
    if size < HEADER_BYTES + flight.asked.size or data[0] != flight.sent[0] or data[1] != flight.sent[1]:
        return 0
    if (data[2] & 0xF8) != 0x80 or lane_load16(data + 4) != 1:
        return 0
    if memcmp(data + HEADER_BYTES, flight.sent + HEADER_BYTES, flight.asked.size) == 0:
        return 2
    if memcmp(data + end, flight.sent + end, 4) != 0:
        return 0
    for i in range(flight.asked.name_bytes):
        octet = data[HEADER_BYTES + i]
        if octet + 32 * (<uint8_t>(octet - 65) < 26) != flight.asked.key[i]:
            return 0
    return 1
