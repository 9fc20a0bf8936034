# What of an upstream's answer is believed: `resolver.chain` for what is common. Whatever is not, or is not well-formed,
# is UNCOMMON: Python reads it again and decides. So nothing has to be understood here but what most answers are made
# of: the records asked for at the end of a chain of CNAMEs, or the SOA that says there are none.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy

from resolver.lane.answers cimport put16, put32
from resolver.lane.kept cimport ADDRESS_BYTES, Kept, addresses_of, key_of, message_of, names_of, new_kept, ttls_of
from resolver.lane.question cimport FLAG_QR, HEADER_BYTES, MAX_NAME_BYTES, Question
from resolver.lane.records cimport (
    MAX_TTL,
    MOST_RECORDS,
    TYPE_A,
    TYPE_AAAA,
    TYPE_CNAME,
    TYPE_SOA,
    Reader,
    Record,
    lowered,
    read_records,
)
from resolver.lane.system cimport lane_load16

cdef enum:
    MOST_ALIASES = 11
    MOST_HINTS = 64
    MESSAGE_ROOM = 8192
    MAX_NEGATIVE_TTL = 3600
    TYPE_SVCB = 64
    TYPE_HTTPS = 65

cdef enum Belief:
    BELIEVED = 0
    UNCOMMON = 1

cdef struct Writer:
    uint8_t out[MESSAGE_ROOM]
    int size
    uint32_t ttls[2 * MOST_RECORDS]
    int ttl_count
    # Names that pointers may point to: where they stand in the message and in the arena.
    int places[2 * MOST_RECORDS + 1]
    const uint8_t *known[2 * MOST_RECORDS + 1]
    int known_bytes[2 * MOST_RECORDS + 1]
    int known_count
    uint8_t names[2 * MOST_RECORDS * MAX_NAME_BYTES]
    int names_bytes
    uint8_t addresses[2 * (MOST_RECORDS + MOST_HINTS) * ADDRESS_BYTES]
    int address_count
    uint8_t lower[MOST_RECORDS][MAX_NAME_BYTES + 1]  # targets of aliases


cdef inline int known_at(Writer *writer, const uint8_t *name, int size) noexcept nogil:
    cdef int i
    for i in range(writer.known_count):
        if writer.known_bytes[i] == size and memcmp(writer.known[i], name, size) == 0:
            return writer.places[i]
    return -1


cdef inline void know(Writer *writer, const uint8_t *name, int size) noexcept nogil:
    if writer.size <= 0x3FFF:
        writer.places[writer.known_count] = writer.size
        writer.known[writer.known_count] = name
        writer.known_bytes[writer.known_count] = size
        writer.known_count += 1


cdef inline bint write_record(Writer *writer, Reader *reader, Record *record, uint32_t ttl, const uint8_t *target,
                              int target_bytes) noexcept nogil:
    """`target`: of an alias, in lower case, else NULL."""
    cdef uint8_t *out = writer.out
    cdef const uint8_t *owner = reader.arena + record.owner
    cdef int place = known_at(writer, owner, record.owner_bytes)
    if writer.size + record.owner_bytes + 10 + record.data_bytes > MESSAGE_ROOM:
        return False
    if place >= 0:
        put16(out + writer.size, 0xC000 | place)
        writer.size += 2
    else:
        know(writer, owner, record.owner_bytes)
        memcpy(out + writer.size, owner, record.owner_bytes)
        writer.size += record.owner_bytes
    put16(out + writer.size, record.rtype)
    put16(out + writer.size + 2, 1)
    writer.ttls[2 * writer.ttl_count] = writer.size + 4
    writer.ttls[2 * writer.ttl_count + 1] = ttl
    writer.ttl_count += 1
    put32(out + writer.size + 4, ttl)
    put16(out + writer.size + 8, record.data_bytes)
    writer.size += 10
    if target != NULL and known_at(writer, target, target_bytes) < 0:
        know(writer, target, target_bytes)
    memcpy(out + writer.size, reader.arena + record.data, record.data_bytes)
    writer.size += record.data_bytes
    return True


cdef inline bint private_ipv4(const uint8_t *a) noexcept nogil:
    """As `resolver.private`: this network, RFC 1918, loopback, link-local."""
    return (a[0] == 0 or a[0] == 10 or a[0] == 127 or (a[0] == 169 and a[1] == 254)
            or (a[0] == 172 and (a[1] & 0xF0) == 16) or (a[0] == 192 and a[1] == 168))


cdef inline int embedded_at(const uint8_t *a) noexcept nogil:
    """Where the IPv4 address stands that an IPv6 address means (RFC 4291 section 2.5.5.2, RFC 6052), -1 for none."""
    cdef int i
    for i in range(4, 10):
        if a[i]:
            return -1
    if a[0] == 0 and a[1] == 0 and a[2] == 0 and a[3] == 0 and a[10] == 0xFF and a[11] == 0xFF:
        return 12
    if a[0] == 0 and a[1] == 0x64 and a[2] == 0xFF and a[3] == 0x9B and a[10] == 0 and a[11] == 0:
        return 12
    return -1


cdef inline bint private_ipv6(const uint8_t *a) noexcept nogil:
    cdef int i, place = embedded_at(a)
    if place >= 0:
        return private_ipv4(a + place)
    if (a[0] & 0xFE) == 0xFC or (a[0] == 0xFE and (a[1] & 0xC0) == 0x80):
        return True
    for i in range(15):
        if a[i]:
            return False
    return a[15] < 2


cdef inline bint add_address(Writer *writer, int version, const uint8_t *address) noexcept nogil:
    """For the policy to judge. False where it is private: Python knows what to do about that."""
    cdef uint8_t *at = writer.addresses + writer.address_count * ADDRESS_BYTES
    cdef int place
    at[0] = <uint8_t>version
    memcpy(at + 1, address, 4 if version == 4 else 16)
    writer.address_count += 1
    if version == 4:
        return not private_ipv4(address)
    if private_ipv6(address):
        return False
    place = embedded_at(address)
    return place < 0 or add_address(writer, 4, address + place)


cdef inline bint add_name(Writer *writer, const uint8_t *name, int size) noexcept nogil:
    if writer.names_bytes + size > <int>sizeof(writer.names):
        return False
    memcpy(writer.names + writer.names_bytes, name, size)
    writer.names_bytes += size
    return True


cdef inline bint add_binding(Writer *writer, Reader *reader, Record *record) noexcept nogil:
    """Target and hints of SVCB and HTTPS (RFC 9460 section 2.2)."""
    cdef const uint8_t *data = reader.arena + record.data
    cdef int size = record.data_bytes, pos = 2, length, key, last = -1, hints = 0, width, i
    cdef uint8_t target[MAX_NAME_BYTES + 1]
    while True:
        if pos >= size or data[pos] > 63 or pos - 2 > MAX_NAME_BYTES - 1:
            return False
        if data[pos] == 0:
            pos += 1
            break
        pos += data[pos] + 1
    if pos - 2 > MAX_NAME_BYTES or pos > size:
        return False
    for i in range(pos - 2):
        target[i] = lowered(data[2 + i])
    if pos == 3:
        if not add_name(writer, reader.arena + record.owner, record.owner_bytes):
            return False
    elif not add_name(writer, target, pos - 2):
        return False
    while pos < size:
        if pos + 4 > size:
            return False
        key, length = lane_load16(data + pos), lane_load16(data + pos + 2)
        pos += 4
        if key <= last or pos + length > size:
            return False
        last = key
        if key == 4 or key == 6:
            width = 4 if key == 4 else 16
            if length == 0 or length % width:
                return False
            for i in range(length // width):
                hints += 1
                if hints > MOST_HINTS or writer.address_count + 2 > MOST_RECORDS + MOST_HINTS:
                    return False
                if not add_address(writer, key, data + pos + i * width):
                    return False
        pos += length
    return True


cdef inline bint is_under(const uint8_t *name, int size, const uint8_t *above, int above_bytes) noexcept nogil:
    while size > above_bytes:
        size -= name[0] + 1
        name += name[0] + 1
    return size == above_bytes and memcmp(name, above, size) == 0


cdef inline Belief read_answer(const uint8_t *data, int size, const Question *asked, Reader *reader, Writer *writer,
                               int *lifetime) noexcept nogil:
    """Write anew what of a matching answer is believed. `asked.dnssec_ok` is not common."""
    cdef int answers, authority, additional, i, hops = 0, name_bytes, target_bytes, written = 0, proofs = 0
    cdef int answers_end, authority_end
    cdef const uint8_t *name
    cdef Record *record
    cdef Record *alias
    cdef bint found = False
    cdef uint32_t least = MAX_TTL, ttl
    if asked.dnssec_ok or data[2] & 0x02 or (data[3] & 15 != 0 and data[3] & 15 != 3):
        return UNCOMMON
    answers, authority, additional = lane_load16(data + 6), lane_load16(data + 8), lane_load16(data + 10)
    if answers + authority + additional > MOST_RECORDS:
        return UNCOMMON
    reader.data, reader.size, reader.pos = data, size, HEADER_BYTES + asked.size
    reader.used = reader.count = 0
    if not read_records(reader, answers, False):
        return UNCOMMON
    answers_end = reader.count
    if not read_records(reader, authority, False):
        return UNCOMMON
    authority_end = reader.count
    if not read_records(reader, additional, True) or reader.pos != size:
        return UNCOMMON
    writer.size = HEADER_BYTES
    writer.ttl_count = writer.known_count = writer.names_bytes = writer.address_count = 0
    know(writer, asked.key, asked.name_bytes)
    memcpy(writer.out + writer.size, asked.key, asked.name_bytes)
    put16(writer.out + writer.size + asked.name_bytes, asked.qtype)
    put16(writer.out + writer.size + asked.name_bytes + 2, 1)
    writer.size += asked.size
    name = <const uint8_t *>asked.key
    name_bytes = asked.name_bytes
    while True:
        alias = NULL
        for i in range(answers_end):
            record = &reader.records[i]
            if record.owner_bytes != name_bytes or memcmp(reader.arena + record.owner, name, name_bytes) != 0:
                continue
            if record.rtype == asked.qtype:
                found = True
                least = record.ttl if record.ttl < least else least
                written += 1
                if record.rtype == TYPE_CNAME:
                    # The question was for the alias itself.
                    target_bytes = record.data_bytes
                    copy_lower(writer.lower[i], reader.arena + record.data, target_bytes)
                    if not write_record(writer, reader, record, record.ttl, writer.lower[i], target_bytes):
                        return UNCOMMON
                    if not add_name(writer, writer.lower[i], target_bytes):
                        return UNCOMMON
                    continue
                if not write_record(writer, reader, record, record.ttl, NULL, 0):
                    return UNCOMMON
                if record.rtype == TYPE_A or record.rtype == TYPE_AAAA:
                    if not add_address(writer, 4 if record.rtype == TYPE_A else 6, reader.arena + record.data):
                        return UNCOMMON
            elif record.rtype == TYPE_CNAME and alias == NULL:
                alias = record
        if found or alias == NULL:
            break
        hops += 1
        if hops > MOST_ALIASES:
            return UNCOMMON
        i = <int>(alias - reader.records)
        copy_lower(writer.lower[i], reader.arena + alias.data, alias.data_bytes)
        if not write_record(writer, reader, alias, alias.ttl, writer.lower[i], alias.data_bytes):
            return UNCOMMON
        if not add_name(writer, writer.lower[i], alias.data_bytes):
            return UNCOMMON
        least = alias.ttl if alias.ttl < least else least
        written += 1
        name, name_bytes = writer.lower[i], alias.data_bytes
    for i in range(answers_end):
        record = &reader.records[i]
        if record.rtype == TYPE_SVCB or record.rtype == TYPE_HTTPS:
            if record.rtype != asked.qtype or record.owner_bytes != name_bytes:
                return UNCOMMON
            if memcmp(reader.arena + record.owner, name, name_bytes) != 0 or not add_binding(writer, reader, record):
                return UNCOMMON
    if not found:
        record = NULL
        for i in range(answers_end, authority_end):
            if reader.records[i].rtype == TYPE_SOA and reader.records[i].data_bytes >= 22:
                if is_under(name, name_bytes, reader.arena + reader.records[i].owner, reader.records[i].owner_bytes):
                    record = &reader.records[i]
                    break
        if record == NULL:
            # A referral, or nothing to say for how long it holds.
            return UNCOMMON
        ttl = soa_minimum(reader.arena + record.data + record.data_bytes - 4)
        ttl = record.ttl if record.ttl < ttl else ttl
        ttl = MAX_NEGATIVE_TTL if ttl > MAX_NEGATIVE_TTL else ttl
        least = ttl if ttl < least else least
        proofs = 1
        if not write_record(writer, reader, record, ttl, NULL, 0):
            return UNCOMMON
    put16(writer.out, 0)
    put16(writer.out + 2, FLAG_QR | (data[3] & 15))
    put16(writer.out + 4, 1)
    put16(writer.out + 6, written)
    put16(writer.out + 8, proofs)
    put16(writer.out + 10, 0)
    lifetime[0] = <int>least
    return BELIEVED


cdef inline void copy_lower(uint8_t *out, const uint8_t *name, int size) noexcept nogil:
    cdef int i
    for i in range(size):
        out[i] = lowered(name[i])


cdef inline uint32_t soa_minimum(const uint8_t *at) noexcept nogil:
    return <uint32_t>lane_load16(at) << 16 | lane_load16(at + 2)


cdef inline Kept *new_answer(const Question *asked, Writer *writer, int lifetime, double now) noexcept nogil:
    """What was written, as a kept answer that is not yet kept."""
    cdef Kept *kept = new_kept(writer.ttl_count, asked.name_bytes + 3, writer.size, writer.names_bytes,
                               writer.address_count)
    if kept != NULL:
        kept.stored, kept.lifetime = now, lifetime
        memcpy(ttls_of(kept), writer.ttls, 8 * writer.ttl_count)
        memcpy(key_of(kept), asked.key, asked.name_bytes + 3)
        memcpy(message_of(kept), writer.out, writer.size)
        memcpy(names_of(kept), writer.names, writer.names_bytes)
        memcpy(addresses_of(kept), writer.addresses, ADDRESS_BYTES * writer.address_count)
    return kept
