# Reading the records of an upstream's answer, within bounds: `feeds.message.response` for what is common.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from resolver.lane.question cimport HEADER_BYTES, MAX_NAME_BYTES
from resolver.lane.system cimport lane_load16

cdef enum:
    MOST_RECORDS = 48
    MOST_HOPS = 16  # pointers in one name
    MOST_OPTIONS = 64
    ARENA_BYTES = 8192
    MAX_TTL = 86400
    TYPE_A = 1
    TYPE_NS = 2
    TYPE_CNAME = 5
    TYPE_SOA = 6
    TYPE_PTR = 12
    TYPE_MX = 15
    TYPE_AAAA = 28
    TYPE_SRV = 33
    TYPE_DNAME = 39
    TYPE_OPT = 41

cdef struct Record:
    uint16_t rtype
    uint32_t ttl
    int owner  # places in the arena: lower case
    int owner_bytes
    int data  # without pointers, its case kept
    int data_bytes

cdef struct Reader:
    const uint8_t *data
    int size
    int pos
    int used  # of the arena
    uint8_t arena[ARENA_BYTES]
    Record records[MOST_RECORDS]
    int count


cdef inline uint8_t lowered(uint8_t octet) noexcept nogil:
    return octet + 32 * (<uint8_t>(octet - 65) < 26)


cdef inline int expand(Reader *reader, int start, int *end) noexcept nogil:
    """The name at `start` into the arena without pointers: its size, -1 where it is none. `end`: where it ended."""
    cdef int pos = start, run = start, hops = 0, length, target, size = 0
    # A name pointed to has been read before, so it ends before the one that points to it begins.
    cdef int limit = reader.size
    end[0] = -1
    while True:
        if pos >= limit:
            return -1
        length = reader.data[pos]
        if length < 64:
            if pos + length >= reader.size or size + length + 1 > MAX_NAME_BYTES:
                return -1
            if reader.used + size + length + 1 > ARENA_BYTES:
                return -1
            memcpy(reader.arena + reader.used + size, reader.data + pos, length + 1)
            size += length + 1
            pos += length + 1
            if length == 0:
                break
        elif length >= 192:
            if pos + 1 >= reader.size:
                return -1
            target = (length & 63) << 8 | reader.data[pos + 1]
            hops += 1
            if target >= run or target < HEADER_BYTES or hops > MOST_HOPS:
                return -1
            if end[0] < 0:
                end[0] = pos + 2
            limit = run
            pos = run = target
        else:
            return -1
    if end[0] < 0:
        end[0] = pos
    reader.used += size
    return size


cdef inline bint lower_name(Reader *reader, int place, int size) noexcept nogil:
    cdef int i
    for i in range(place, place + size):
        reader.arena[i] = lowered(reader.arena[i])
    return True


cdef inline int names_before(uint16_t rtype) noexcept nogil:
    """Octets before the name in RDATA that may be compressed, -1 where the type has none of that kind."""
    if rtype == TYPE_CNAME or rtype == TYPE_NS or rtype == TYPE_PTR or rtype == TYPE_SOA or rtype == TYPE_DNAME:
        return 0
    if rtype == TYPE_MX:
        return 2
    return 6 if rtype == TYPE_SRV else -1


cdef inline bint rarely_seen(uint16_t rtype) noexcept nogil:
    """Other types with compressed names (`feeds.message.response`): left to Python."""
    return (rtype == 7 or rtype == 8 or rtype == 9 or rtype == 14 or rtype == 17 or rtype == 18 or rtype == 21
            or rtype == 26 or rtype == 36 or rtype == TYPE_DNAME or rtype == 250)


cdef inline bint copy_data(Reader *reader, Record *record, int pos, int size) noexcept nogil:
    cdef int before = names_before(record.rtype), names = 2 if record.rtype == TYPE_SOA else 1, end = pos + size, i
    cdef int behind = 20 if record.rtype == TYPE_SOA else 0
    record.data = reader.used
    if before < 0:
        if reader.used + size > ARENA_BYTES:
            return False
        memcpy(reader.arena + reader.used, reader.data + pos, size)
        reader.used += size
        record.data_bytes = size
        return True
    if before > size or reader.used + before > ARENA_BYTES:
        return False
    memcpy(reader.arena + reader.used, reader.data + pos, before)
    reader.used += before
    pos += before
    for i in range(names):
        if expand(reader, pos, &pos) < 0:
            return False
    if pos + behind != end or reader.used + behind > ARENA_BYTES:
        return False
    memcpy(reader.arena + reader.used, reader.data + pos, behind)
    reader.used += behind
    record.data_bytes = reader.used - record.data
    return True


cdef inline bint are_options(const uint8_t *data, int size) noexcept nogil:
    """Is it whole options (RFC 6891 section 6.1.2), and not too many? They are not kept."""
    cdef int pos = 0, count = 0
    while pos < size:
        count += 1
        if count > MOST_OPTIONS or pos + 4 > size:
            return False
        pos += 4 + lane_load16(data + pos + 2)
    return pos == size


cdef inline bint read_records(Reader *reader, int count, bint last) noexcept nogil:
    """The next section. OPT may stand in the last; nothing of it is kept."""
    cdef Record *record
    cdef int i, end, size, pos
    cdef uint32_t ttl
    cdef bint seen_opt = False
    for i in range(count):
        if reader.count == MOST_RECORDS:
            return False
        record = &reader.records[reader.count]
        record.owner = reader.used
        record.owner_bytes = expand(reader, reader.pos, &pos)
        if record.owner_bytes < 0 or pos + 10 > reader.size:
            return False
        lower_name(reader, record.owner, record.owner_bytes)
        record.rtype = lane_load16(reader.data + pos)
        ttl = <uint32_t>lane_load16(reader.data + pos + 4) << 16 | lane_load16(reader.data + pos + 6)
        size = lane_load16(reader.data + pos + 8)
        end = pos + 10 + size
        if end > reader.size or rarely_seen(record.rtype):
            return False
        if record.rtype == TYPE_OPT:
            # An extended error code is no answer.
            if not last or seen_opt or record.owner_bytes != 1 or ttl >> 24:
                return False
            if not are_options(reader.data + pos + 10, size):
                return False
            seen_opt = True
            reader.pos = end
            continue
        if lane_load16(reader.data + pos + 2) != 1:
            return False
        if (record.rtype == TYPE_A and size != 4) or (record.rtype == TYPE_AAAA and size != 16):
            return False
        # RFC 2181 section 8; and none is kept for longer than a day.
        record.ttl = 0 if ttl > 0x7FFFFFFF else MAX_TTL if ttl > MAX_TTL else ttl
        if not copy_data(reader, record, pos + 10, size):
            return False
        reader.count += 1
        reader.pos = end
    return True
