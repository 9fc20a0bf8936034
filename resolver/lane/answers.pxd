# Answers put together from pieces that Python prebuilt, octet for octet what the plain lane says.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from resolver.lane.image cimport GROUND_BITS
from resolver.lane.kept cimport Kept, message_of, ttls_of
from resolver.lane.question cimport (
    FLAG_AD,
    FLAG_CD,
    FLAG_QR,
    FLAG_RA,
    FLAG_RD,
    FLAG_TC,
    HEADER_BYTES,
    PLAIN_UDP_BYTES,
    UDP_BYTES,
    Question,
    limit_of,
)

cdef enum:
    OPT_BYTES = 11
    ROOM = 1280  # octets for an answer over UDP
    MOST_RECORD_SETS = 4
    SERVFAIL = 2
    BADCOOKIE = 23
    EDE_BYTES = 6  # of an option without text
    EDE_CACHED_ERROR = 13
    EDE_NOT_READY = 14

cdef enum Kind:
    UNTAUGHT = 0
    REFUSE = 1
    EXEMPT = 2  # resolved as if nothing had matched, and not looked at again
    PYTHON = 3  # whatever takes more than pieces

cdef struct RecordSet:
    uint16_t qtype  # 0: any not named
    uint16_t count
    uint32_t start
    uint32_t size

cdef struct Taught:
    # What all answers under one ground share. `data` holds the texts and records that the numbers point into.
    Kind kind
    uint16_t bits
    uint16_t ede_code
    uint32_t soa_start
    uint32_t soa_size
    # The explanation is `before`, the entry's number, `after`; or `plain` where there is no entry.
    uint32_t before_start
    uint32_t before_size
    uint32_t after_start
    uint32_t after_size
    uint32_t plain_start
    uint32_t plain_size
    int sets
    RecordSet records[MOST_RECORD_SETS]
    uint64_t size
    uint8_t *data


cdef inline void put16(uint8_t *at, uint32_t number) noexcept nogil:
    at[0] = <uint8_t>(number >> 8)
    at[1] = <uint8_t>number


cdef inline void put32(uint8_t *at, uint32_t number) noexcept nogil:
    put16(at, number >> 16)
    put16(at + 2, number)


cdef inline void put_head(uint8_t *out, const Question *asked, uint32_t bits, int answers, int authority,
                          int additional) noexcept nogil:
    put16(out, asked.id)
    put16(out + 2, bits | (asked.flags & (FLAG_RD | FLAG_CD)))
    put16(out + 4, 1)
    put16(out + 6, answers)
    put16(out + 8, authority)
    put16(out + 10, additional)


cdef inline int put_opt(uint8_t *out, const Question *asked, int options) noexcept nogil:
    """The OPT record with the cookie; `options` more octets of options follow. Gives its size."""
    out[0] = 0
    put16(out + 1, 41)
    put16(out + 3, UDP_BYTES)
    put16(out + 5, 0)
    put16(out + 7, <uint32_t>asked.dnssec_ok << 15)
    put16(out + 9, options + asked.answer_cookie_bytes)
    memcpy(out + OPT_BYTES, asked.answer_cookie, asked.answer_cookie_bytes)
    return OPT_BYTES + asked.answer_cookie_bytes


cdef inline int truncated(uint8_t *out, const uint8_t *query, const Question *asked, uint32_t bits) noexcept nogil:
    """Come by TCP: the question and no more."""
    cdef int at = HEADER_BYTES + asked.size
    put_head(out, asked, bits | FLAG_TC, 0, 0, asked.udp_size != 0)
    memcpy(out + HEADER_BYTES, query + HEADER_BYTES, asked.size)
    if asked.udp_size:
        at += put_opt(out + at, asked, 0)
    return at


cdef inline int shortened(uint8_t *out, const uint8_t *query, const Question *asked) noexcept nogil:
    """In place of an answer over the limit: come by TCP, or, to who speaks cookies, come with this one (BADCOOKIE)."""
    cdef int at = HEADER_BYTES + asked.size
    if not asked.answer_cookie_bytes:
        return truncated(out, query, asked, FLAG_QR | FLAG_RA)
    put_head(out, asked, FLAG_QR | FLAG_RA | (BADCOOKIE & 15), 0, 0, 1)
    memcpy(out + HEADER_BYTES, query + HEADER_BYTES, asked.size)
    put_opt(out + at, asked, 0)
    out[at + 5] = BADCOOKIE >> 4
    return at + OPT_BYTES + asked.answer_cookie_bytes


cdef inline int kept_answer(uint8_t *out, const uint8_t *query, const Question *asked, Kept *kept,
                            double now) noexcept nogil:
    """A kept answer that is fresh, its TTLs lowered by its age."""
    cdef const uint8_t *message = message_of(kept)
    cdef int size = <int>kept.message_bytes
    cdef uint32_t bits = FLAG_QR | FLAG_RA | (message[3] & 15)
    cdef int total, head = HEADER_BYTES + asked.size
    cdef uint32_t age, i
    cdef const uint32_t *ttls = ttls_of(kept)
    if kept.authentic and (asked.dnssec_ok or asked.flags & FLAG_AD):
        bits |= FLAG_AD
    total = size + (OPT_BYTES + asked.answer_cookie_bytes if asked.udp_size else 0)
    if total > PLAIN_UDP_BYTES and total > limit_of(asked):
        return truncated(out, query, asked, bits)
    put16(out, asked.id)
    put16(out + 2, bits | (asked.flags & (FLAG_RD | FLAG_CD)))
    memcpy(out + 4, message + 4, HEADER_BYTES - 4)
    memcpy(out + HEADER_BYTES, query + HEADER_BYTES, asked.size)
    memcpy(out + head, message + head, size - head)
    if now - kept.stored >= 1:
        age = <uint32_t>(now - kept.stored)
        for i in range(kept.ttl_count):
            put32(out + ttls[2 * i], ttls[2 * i + 1] - age if ttls[2 * i + 1] > age else 0)
    if asked.udp_size:
        put16(out + 10, (<uint32_t>message[10] << 8 | message[11]) + 1)
        size += put_opt(out + size, asked, 0)
    return size


cdef inline int failure(uint8_t *out, const uint8_t *query, const Question *asked, int code) noexcept nogil:
    """SERVFAIL with an Extended DNS Error: 13 "Cached Error" or 14 "Not Ready"."""
    cdef int at = HEADER_BYTES + asked.size
    put_head(out, asked, FLAG_QR | FLAG_RA | SERVFAIL, 0, 0, asked.udp_size != 0)
    memcpy(out + HEADER_BYTES, query + HEADER_BYTES, asked.size)
    if asked.udp_size:
        at += put_opt(out + at, asked, EDE_BYTES)
        at += put_ede(out + at, code, 0)
    return at


cdef inline int put_ede(uint8_t *out, int code, int text_bytes) noexcept nogil:
    put16(out, 15)
    put16(out + 2, 2 + text_bytes)
    put16(out + 4, code)
    return EDE_BYTES


cdef inline int refusal(uint8_t *out, const uint8_t *query, const Question *asked, const Taught *taught,
                        uint64_t value) noexcept nogil:
    """What a blocked query is told; 0 where it does not fit, which Python knows to shorten."""
    cdef uint8_t digits[20]
    cdef int i, digit_count = 0, size, at, text = 0, count = 0
    cdef const RecordSet *records = NULL
    cdef uint64_t number = value >> GROUND_BITS
    for i in range(taught.sets):
        if taught.records[i].qtype == asked.qtype:
            records = &taught.records[i]
            break
        if taught.records[i].qtype == 0:
            records = &taught.records[i]
    size = HEADER_BYTES + asked.size + taught.soa_size
    if records != NULL:
        count = records.count
        size += records.size
    if asked.udp_size:
        if number:
            while number:
                digits[digit_count] = <uint8_t>(48 + number % 10)
                digit_count += 1
                number //= 10
            text = taught.before_size + digit_count + taught.after_size
        else:
            text = taught.plain_size
        size += OPT_BYTES + asked.answer_cookie_bytes + EDE_BYTES + text
    if size > ROOM or (size > PLAIN_UDP_BYTES and size > limit_of(asked)):
        return 0
    put_head(out, asked, taught.bits, count, 0, 1 + (asked.udp_size != 0))
    memcpy(out + HEADER_BYTES, query + HEADER_BYTES, asked.size)
    at = HEADER_BYTES + asked.size
    if records != NULL:
        memcpy(out + at, taught.data + records.start, records.size)
        at += records.size
    memcpy(out + at, taught.data + taught.soa_start, taught.soa_size)
    at += taught.soa_size
    if not asked.udp_size:
        return at
    at += put_opt(out + at, asked, EDE_BYTES + text)
    at += put_ede(out + at, taught.ede_code, text)
    if not digit_count:
        memcpy(out + at, taught.data + taught.plain_start, taught.plain_size)
        return at + taught.plain_size
    memcpy(out + at, taught.data + taught.before_start, taught.before_size)
    at += taught.before_size
    while digit_count:
        digit_count -= 1
        out[at] = digits[digit_count]
        at += 1
    memcpy(out + at, taught.data + taught.after_start, taught.after_size)
    return at + taught.after_size
