# One query: what is said to it, or who is to find out.
from libc.stdint cimport uint8_t, uint32_t

from resolver.lane cimport system
from resolver.lane.answers cimport (
    EDE_CACHED_ERROR,
    EXEMPT,
    REFUSE,
    Taught,
    failure,
    kept_answer,
    refusal,
    shortened,
)
from resolver.lane.cookie cimport see_cookie
from resolver.lane.image cimport (
    A_MATCH,
    GROUND_BITS,
    NO_MATCH,
    UNSURE,
    Hashes,
    Judgement,
    Match,
    View,
    bucket_of,
    hash_name,
    holds_address,
    match_name,
    may_hold,
    spread,
)
from resolver.lane.kept cimport (
    ADDRESS_BYTES,
    CLEAN,
    MATCHED,
    Kept,
    addresses_of,
    look_up,
    message_of,
    names_of,
    touch,
)
from resolver.lane.limits cimport KIND_ANSWER, KIND_BLOCKED, KIND_ERROR, KIND_NXDOMAIN, over
from resolver.lane.question cimport (
    FLAG_RD,
    MAX_LABELS,
    READ_NOTHING,
    READ_ODD,
    READ_WELL,
    Question,
    read_question,
)
from resolver.lane.siphash cimport siphash13
from resolver.lane.state cimport (
    ACTIONS,
    CATEGORIES,
    NX,
    SEND,
    SILENCE,
    SLIP,
    TO_PYTHON,
    TO_UPSTREAM,
    Counts,
    Outcome,
    Packet,
    Sender,
    State,
    Wish,
)
from resolver.lane.system cimport lane_prefetch


cdef inline void ready(State *state, Packet *packet, const uint8_t *data, int size) noexcept nogil:
    """Read a query, and have the memory fetched that its answer will be looked for in."""
    cdef Question *asked = &packet.asked
    cdef int i, label
    cdef View *view
    packet.reading = read_question(data, size, asked)
    if packet.reading != READ_WELL:
        return
    for i in range(state.layer_count):
        view = &state.layers[i].view
        hash_name(view, asked.key, asked.starts, asked.labels, asked.name_bytes, &packet.hashes[i])
        if asked.labels and view.exact.buckets:
            lane_prefetch(view.exact.passing + ((packet.hashes[i].of[0] & view.exact.mask) >> 3))
        if view.subtree.buckets:
            for label in range(asked.labels):
                lane_prefetch(view.subtree.passing + ((packet.hashes[i].of[label] & view.subtree.mask) >> 3))
    packet.found = siphash13(state.secret, asked.key, asked.name_bytes + 3)
    lane_prefetch(&state.store.buckets[packet.found & state.store.mask])


cdef inline void look_ahead(State *state, Packet *packet) noexcept nogil:
    """The next step: have the buckets fetched that the filters point to."""
    cdef Question *asked = &packet.asked
    cdef int i, label
    cdef View *view
    if packet.reading != READ_WELL:
        return
    for i in range(state.layer_count):
        view = &state.layers[i].view
        if asked.labels and view.exact.buckets and may_hold(&view.exact, packet.hashes[i].of[0]):
            lane_prefetch(bucket_of(&view.exact, spread(packet.hashes[i].of[0])))
        if view.subtree.buckets:
            for label in range(asked.labels):
                if may_hold(&view.subtree, packet.hashes[i].of[label]):
                    lane_prefetch(bucket_of(&view.subtree, spread(packet.hashes[i].of[label])))
    lane_prefetch(state.store.buckets[packet.found & state.store.mask])


cdef inline Outcome answered(State *state, Packet *packet, const uint8_t *query, const Sender *sender, double now,
                      uint8_t *out, int *size, Counts *counts, Wish *wish) noexcept nogil:
    """One query's answer into `out`, which has ROOM octets."""
    cdef Question *asked = &packet.asked
    cdef Match match
    cdef Judgement judgement = NO_MATCH
    cdef Taught *taught
    cdef Kept *kept
    cdef bint exempt = False
    cdef int i = 0
    if packet.reading == READ_NOTHING:
        counts.dropped += 1
        return SILENCE
    if packet.reading == READ_ODD or state.resting:
        return TO_PYTHON
    if state.has_clients and is_client(state, sender):
        return TO_PYTHON
    if asked.cookie_at and not (sender.width
                                and see_cookie(&state.cookies, query, asked, sender.address, sender.width)):
        return TO_PYTHON
    for i in range(state.layer_count):
        judgement = match_name(&state.layers[i].view, asked.key, asked.starts, asked.labels, asked.name_bytes,
                               &packet.hashes[i], state.hour, &match)
        if judgement != NO_MATCH:
            break
    if judgement == UNSURE:
        return TO_PYTHON
    if judgement == A_MATCH:
        taught = state.layers[i].taught[match.value & ((1 << GROUND_BITS) - 1)]
        if taught == NULL:
            wish.layer = <uint8_t>i
            wish.ground = <uint32_t>(match.value & ((1 << GROUND_BITS) - 1)) + 1
            return TO_PYTHON
        if taught.kind == REFUSE:
            size[0] = refusal(out, query, asked, taught, match.value)
            if size[0] == 0:
                return TO_PYTHON
            counts.blocked += 1
            counts.by_rule[match.ground.category % CATEGORIES][match.ground.action % ACTIONS] += 1
            counts.by_layer[i][match.ground.action % ACTIONS] += 1
            return limited(state, query, asked, sender, KIND_BLOCKED, now, out, size, counts)
        if taught.kind != EXEMPT:
            return TO_PYTHON
        exempt = True
    kept = look_up(&state.store, packet.found, asked.key, asked.name_bytes + 3)
    if kept == NULL:
        # Without RD a client asks what is known already; to say no is Python's.
        return TO_UPSTREAM if asked.flags & FLAG_RD and not exempt else TO_PYTHON
    if kept.stripped or now - kept.stored >= kept.lifetime:
        return TO_PYTHON
    touch(&state.store, kept, <uint32_t>now)
    if exempt:
        counts.by_layer[i][match.ground.action % ACTIONS] += 1
    if (message_of(kept)[3] & 15) == 2:
        size[0] = failure(out, query, asked, EDE_CACHED_ERROR)
        counts.hits += 1
        counts.failed += 1
        return limited(state, query, asked, sender, KIND_ERROR, now, out, size, counts)
    if not exempt:
        if kept.judged != state.number:
            kept.verdict = judged(state, kept)
            kept.judged = state.number
        if kept.verdict != CLEAN:
            return TO_PYTHON
    size[0] = kept_answer(out, query, asked, kept, now)
    counts.hits += 1
    counts.cached += 1
    return limited(state, query, asked, sender, kind_of(message_of(kept)), now, out, size, counts)


cdef inline int kind_of(const uint8_t *message) noexcept nogil:
    """The kind of an answer that no rule has changed, for the limits."""
    cdef int rcode = message[3] & 15
    return KIND_ANSWER if rcode == 0 else KIND_NXDOMAIN if rcode == NX else KIND_ERROR


cdef inline Outcome limited(State *state, const uint8_t *query, const Question *asked, const Sender *sender, int kind,
                            double now, uint8_t *out, int *size, Counts *counts) noexcept nogil:
    if asked.answer_cookie_bytes:
        if asked.proven:
            counts.proven += 1
        else:
            counts.given += 1
    if not sender.network or asked.proven or not over(&state.limits, state.secret, sender.address, sender.network, kind, now):
        return SEND
    state.limits.slipped += 1
    if state.limits.slipped % SLIP:
        counts.unsent += 1
        return SILENCE
    counts.shortened += 1
    size[0] = shortened(out, query, asked)
    return SEND


cdef inline uint8_t judged(State *state, Kept *kept) noexcept nogil:
    """Does any rule, in force or not, speak of a name or an address in this answer?"""
    cdef uint8_t *name = names_of(kept)
    cdef uint8_t *end = name + kept.names_bytes
    cdef uint8_t *address = addresses_of(kept)
    cdef uint8_t starts[MAX_LABELS]
    cdef Hashes hashes
    cdef Match match
    cdef View *view
    cdef int labels, size, i, n
    while name < end:
        labels = 0
        size = 0
        while name[size]:
            if labels == MAX_LABELS:
                return MATCHED
            starts[labels] = <uint8_t>size
            labels += 1
            size += name[size] + 1
        size += 1
        for i in range(state.layer_count):
            view = &state.layers[i].view
            hash_name(view, name, starts, labels, size, &hashes)
            if match_name(view, name, starts, labels, size, &hashes, 0, &match) != NO_MATCH:
                return MATCHED
        name += size
    if state.has_spans:
        for n in range(kept.address_count):
            for i in range(state.layer_count):
                view = &state.layers[i].view
                if holds_address(&view.ipv4 if address[0] == 4 else &view.ipv6, address + 1,
                                 4 if address[0] == 4 else 16):
                    return MATCHED
            address += ADDRESS_BYTES
    return CLEAN


cdef inline bint is_client(State *state, const Sender *sender) noexcept nogil:
    """Does any rule speak of who asks?"""
    cdef int i
    cdef View *view
    for i in range(state.layer_count):
        view = &state.layers[i].view
        if sender.width and holds_address(&view.ipv4_clients if sender.width == 4 else &view.ipv6_clients,
                                          sender.address, sender.width):
            return True
    return False


cdef inline void see_sender(Sender *sender, const uint8_t *address, bint counted) noexcept nogil:
    """From a sockaddr. Limits are for a /24 or a /56."""
    if (<const unsigned short *>address)[0] == system.AF_INET:
        sender.address, sender.width, sender.network = address + 4, 4, 3
    else:
        sender.address, sender.width, sender.network = address + 8, 16, 7
    if not counted:
        sender.network = 0
