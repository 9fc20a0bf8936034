# DNS cookies (RFC 7873, RFC 9018): `resolver.cookie`.
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from resolver.lane.answers cimport put16, put32
from resolver.lane.question cimport COOKIE_BYTES, OPTION_COOKIE, Question
from resolver.lane.siphash cimport siphash24
from resolver.lane.system cimport lane_load16

cdef enum:
    CLIENT_BYTES = 8
    SERVER_BYTES = 16
    MAX_AGE = 3600
    MAX_AHEAD = 300
    RENEW_AGE = 1800

cdef struct Cookies:
    uint64_t secrets[2][2]  # of this day and of the day before
    uint32_t wall  # seconds since 1970


cdef inline uint64_t signed(const Cookies *cookies, int day, const uint8_t *start, const uint8_t *address,
                            int width) noexcept nogil:
    """Of client cookie, version and time (16 octets) and the address."""
    cdef uint8_t data[32]
    memcpy(data, start, 16)
    memcpy(data + 16, address, width)
    return siphash24(cookies.secrets[day], data, 16 + width)


cdef inline bint see_cookie(const Cookies *cookies, const uint8_t *query, Question *asked, const uint8_t *address,
                            int width) noexcept nogil:
    """Judge the query's cookie and have one ready for the answer. False: it is malformed (RFC 7873 section 5.2.2)."""
    cdef const uint8_t *data = query + asked.cookie_at
    cdef int size = asked.cookie_size, day
    cdef int32_t age
    cdef uint64_t right
    cdef bint keeps = False
    cdef uint8_t *out = asked.answer_cookie
    if size < CLIENT_BYTES or (size != CLIENT_BYTES and not CLIENT_BYTES + 8 <= size <= CLIENT_BYTES + 32):
        return False
    if size == CLIENT_BYTES + SERVER_BYTES and memcmp(data + CLIENT_BYTES, "\1\0\0\0", 4) == 0:
        # Serial number arithmetic (RFC 1982).
        age = <int32_t>(cookies.wall - (<uint32_t>lane_load16(data + 12) << 16 | lane_load16(data + 14)))
        if -MAX_AHEAD <= age <= MAX_AGE:
            for day in range(2):
                right = signed(cookies, day, data, address, width)
                # Compared as one number, in one step.
                if memcmp(&right, data + 16, 8) == 0:
                    asked.proven = True
                    keeps = day == 0 and age <= RENEW_AGE
                    break
    put16(out, OPTION_COOKIE)
    put16(out + 2, CLIENT_BYTES + SERVER_BYTES)
    if keeps:
        memcpy(out + 4, data, CLIENT_BYTES + SERVER_BYTES)
    else:
        memcpy(out + 4, data, CLIENT_BYTES)
        memcpy(out + 12, "\1\0\0\0", 4)
        put32(out + 16, cookies.wall)
        right = signed(cookies, 0, out + 4, address, width)
        memcpy(out + 20, &right, 8)
    asked.answer_cookie_bytes = COOKIE_BYTES
    return True
