# Reading the queries that the lane answers by itself: a subset of what feeds.message.query takes, read the same way.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from resolver.lane.system cimport lane_load16

cdef enum:
    HEADER_BYTES = 12
    MAX_NAME_BYTES = 255
    MAX_LABELS = 32  # a name of more labels is left to Python
    MAX_OPTIONS = 32
    KEY_BYTES = 320
    PLAIN_UDP_BYTES = 512
    UDP_BYTES = 1232
    FLAG_QR = 0x8000
    FLAG_TC = 0x0200
    FLAG_RD = 0x0100
    FLAG_RA = 0x0080
    FLAG_AD = 0x0020
    FLAG_CD = 0x0010
    OPTION_COOKIE = 10
    COOKIE_BYTES = 28  # an option with client and server cookie (RFC 9018 section 4)
    OPTION_STRUCTURED = 26
    OPTION_ORIGIN = 65313

cdef enum Reading:
    READ_WELL = 0
    READ_ODD = 1  # whatever needs more than the common way: Python reads it again
    READ_NOTHING = 2  # nothing may be said to it: an answer, or shorter than a header

cdef struct Question:
    # The name in lower case, then its type (two octets) and bit 0 DO, bit 1 CD: the key of a kept answer.
    uint8_t key[KEY_BYTES]
    uint8_t starts[MAX_LABELS]  # where each label of `key` begins
    int labels  # without the root
    int name_bytes
    int size  # octets of the question section
    uint16_t id
    uint16_t flags
    uint16_t qtype
    uint16_t udp_size  # 0 without OPT
    int dnssec_ok
    int cookie_at  # where the data of its COOKIE option stand in the packet, 0: there is none
    int cookie_size
    bint proven  # the cookie is ours, so the sender has not forged its address
    int answer_cookie_bytes  # of the option that every answer carries, COOKIE_BYTES or 0
    uint8_t answer_cookie[COOKIE_BYTES]


cdef inline int limit_of(const Question *asked) noexcept nogil:
    """Octets that the answer may have (feeds.message.Query.udp_limit)."""
    if asked.udp_size < PLAIN_UDP_BYTES:
        return PLAIN_UDP_BYTES
    return UDP_BYTES if asked.udp_size > UDP_BYTES else asked.udp_size


cdef inline Reading read_question(const uint8_t *data, int size, Question *asked) noexcept nogil:
    """Read a datagram. Every octet is looked at once at most, and none behind `size`."""
    cdef int pos, end, length, labels, options, i
    cdef uint16_t code
    cdef uint8_t octet
    if size < HEADER_BYTES:
        return READ_NOTHING
    asked.id = lane_load16(data)
    asked.flags = lane_load16(data + 2)
    if asked.flags & FLAG_QR:
        return READ_NOTHING
    # An opcode other than QUERY, or other than one question and, at most, one record at the end.
    if asked.flags & 0x7800 or lane_load16(data + 4) != 1:
        return READ_ODD
    if (data[6] | data[7] | data[8] | data[9] | data[10]) or data[11] > 1:
        return READ_ODD
    pos = HEADER_BYTES
    labels = 0
    while True:
        if pos >= size:
            return READ_ODD
        length = data[pos]
        if length == 0:
            pos += 1
            break
        if length > 63 or labels == MAX_LABELS or pos - HEADER_BYTES >= MAX_NAME_BYTES:
            return READ_ODD
        asked.starts[labels] = <uint8_t>(pos - HEADER_BYTES)
        labels += 1
        pos += length + 1
    asked.labels = labels
    asked.name_bytes = pos - HEADER_BYTES
    if asked.name_bytes > MAX_NAME_BYTES or pos + 4 > size:
        return READ_ODD
    # Lengths are at most 63 and capitals begin at 65, so the whole name can be lowered at once.
    for i in range(asked.name_bytes):
        octet = data[HEADER_BYTES + i]
        asked.key[i] = octet + 32 * (<uint8_t>(octet - 65) < 26)
    asked.qtype = lane_load16(data + pos)
    if lane_load16(data + pos + 2) != 1:
        return READ_ODD
    # No question for a recursor, or one that needs thought: 0, OPT, ANY and what RFC 6895 section 3.1 keeps apart.
    if asked.qtype == 0 or asked.qtype == 41 or 249 <= asked.qtype <= 255:
        return READ_ODD
    asked.size = asked.name_bytes + 4
    pos += 4
    asked.udp_size = 0
    asked.dnssec_ok = 0
    asked.cookie_at = asked.cookie_size = asked.answer_cookie_bytes = 0
    asked.proven = False
    if data[11]:
        if pos + 11 > size or data[pos] or data[pos + 1] or data[pos + 2] != 41 or data[pos + 6]:
            return READ_ODD
        asked.udp_size = lane_load16(data + pos + 3)
        if asked.udp_size < PLAIN_UDP_BYTES:
            asked.udp_size = PLAIN_UDP_BYTES
        asked.dnssec_ok = data[pos + 7] >> 7
        end = pos + 11 + lane_load16(data + pos + 9)
        if end > size:
            return READ_ODD
        pos += 11
        options = 0
        while pos < end:
            options += 1
            if options > MAX_OPTIONS or pos + 4 > end:
                return READ_ODD
            code = lane_load16(data + pos)
            if code == OPTION_STRUCTURED or code == OPTION_ORIGIN:
                return READ_ODD
            length = lane_load16(data + pos + 2)
            pos += 4
            # Of several the first counts.
            if code == OPTION_COOKIE and not asked.cookie_at:
                asked.cookie_at, asked.cookie_size = pos, length
            pos += length
        if pos != end:
            return READ_ODD
    if pos != size:
        return READ_ODD
    asked.key[asked.name_bytes] = <uint8_t>(asked.qtype >> 8)
    asked.key[asked.name_bytes + 1] = <uint8_t>(asked.qtype & 255)
    asked.key[asked.name_bytes + 2] = <uint8_t>(asked.dnssec_ok | (asked.flags & FLAG_CD) >> 3)
    return READ_WELL
