# How many answers a client's network may get: `resolver.limiting` with a table of fixed size.
from libc.stdint cimport uint8_t, uint64_t

from resolver.lane.siphash cimport siphash13

cdef enum:
    LIMIT_WAYS = 4
    KIND_ANSWER = 0
    KIND_BLOCKED = 1
    KIND_NXDOMAIN = 2
    KIND_ERROR = 3

cdef struct Paid:
    uint64_t who  # hash of network and kind, 0 where nobody is
    double until  # the answers so far are paid for

cdef struct Limits:
    double cost  # seconds an answer, 0 for no limit
    double burst  # seconds
    Paid *seats
    uint64_t mask  # of a group of LIMIT_WAYS seats
    uint64_t slipped


cdef inline bint over(Limits *limits, const uint64_t *secret, const uint8_t *network, int size, int kind,
                      double now) noexcept nogil:
    """Is one more answer of that kind too much? If not, it is counted.

    Where a group of seats is full the one goes who owes least, so that a flood of forged sources, each of which owes
    nothing, does not wash out a network that is limited.
    """
    cdef uint8_t key[9]
    cdef uint64_t who
    cdef Paid *group
    cdef Paid *seat = NULL
    cdef Paid *least
    cdef int i
    for i in range(size):
        key[i] = network[i]
    key[size] = <uint8_t>kind
    who = siphash13(secret, key, size + 1) | 1
    group = limits.seats + ((who >> 1) & limits.mask) * LIMIT_WAYS
    least = group
    for i in range(LIMIT_WAYS):
        if group[i].who == who:
            seat = group + i
            break
        if group[i].until < least.until:
            least = group + i
    if seat == NULL:
        seat = least
        seat.who = who
        seat.until = now
    if seat.until < now:
        seat.until = now
    elif seat.until - now > limits.burst:
        return True
    seat.until += limits.cost
    return False
