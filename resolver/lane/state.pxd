# What the threads of a lane share, and what each has for itself.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from resolver.lane.answers cimport ROOM, Taught
from resolver.lane.cookie cimport Cookies
from resolver.lane.flights cimport ADDRESS_ROOM, CONTROL_ROOM, Flights
from resolver.lane.image cimport Hashes, View
from resolver.lane.kept cimport Store
from resolver.lane.limits cimport Limits
from resolver.lane.question cimport Question, Reading
from resolver.lane.system cimport iovec, mmsghdr, pthread_mutex_t

cdef enum:
    BATCH = 64
    PACKET_BYTES = 4096
    MAX_LAYERS = 6
    MOST_TAUGHT_BYTES = 16 << 20
    NX = 3
    SLIP = 2
    ACTIONS = 8
    CATEGORIES = 16
    BOUNDS_COUNT = 16
    DURATIONS = 17
    ODD_HEAD = 12

cdef enum Outcome:
    TO_PYTHON = 0
    SEND = 1
    SILENCE = 2
    TO_UPSTREAM = 3

cdef struct Layer:
    View view
    Taught **taught  # by ground
    uint64_t taught_bytes

cdef struct Counts:
    # Of one thread, so that nobody waits for anybody to count.
    uint64_t blocked
    uint64_t cached
    uint64_t failed
    uint64_t forwarded
    uint64_t shed
    uint64_t dropped
    uint64_t hits
    uint64_t misses
    uint64_t near_misses
    uint64_t odd
    uint64_t lost  # to Python, which was too slow to take them
    uint64_t shortened
    uint64_t given  # cookies
    uint64_t proven
    uint64_t unsent
    uint64_t by_rule[CATEGORIES][ACTIONS]
    uint64_t by_layer[MAX_LAYERS][ACTIONS]
    uint64_t durations[DURATIONS]
    double seconds

cdef struct Packet:
    Question asked
    Reading reading
    uint64_t found
    Hashes hashes[MAX_LAYERS]

cdef struct Sender:
    # `width`: octets of the address, 0 where it is not known; `network`: of those that its network has, for the limits,
    # 0 where its answers are not limited.
    const uint8_t *address
    int width
    int network

cdef struct Wish:
    # What Python must teach before the lane can answer the like of this by itself.
    uint8_t layer
    uint32_t ground  # number + 1, 0 none

cdef struct State:
    pthread_mutex_t lock
    Layer layers[MAX_LAYERS]
    int layer_count
    bint has_spans
    bint has_clients
    bint resting  # the policy has more than the lane knows: Python answers everything
    uint32_t hour
    uint32_t number  # of the state of the policy
    Store store
    Limits limits
    Flights flights
    Cookies cookies
    uint64_t secret[2]

cdef struct Outbox:
    # Answers by one socket that wait to be sent together.
    int sock
    int count
    mmsghdr messages[BATCH]
    iovec parts[BATCH]
    uint8_t addresses[BATCH][ADDRESS_ROOM]
    uint8_t controls[BATCH][CONTROL_ROOM]
    uint8_t data[BATCH][ROOM]

cdef struct Batch:
    # Buffers of one thread.
    int sock
    int odd
    bint local
    bint wildcard
    Counts counts
    mmsghdr taken[BATCH]
    iovec taken_parts[BATCH]
    Packet packets[BATCH]
    uint8_t addresses[BATCH][ADDRESS_ROOM]
    uint8_t controls[BATCH][CONTROL_ROOM]
    Outbox outbox
    uint8_t data[BATCH][PACKET_BYTES]
