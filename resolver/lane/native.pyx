# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled lane: datagrams in batches, from one system call to the next without Python.

One Lane belongs to one process. For each of its UDP sockets a thread waits in recvmmsg; it holds the lane's lock while it
works on a batch, never across a system call, so whatever Python does to the lane (a new policy, an answer to keep)
falls between two batches. What the lane does not do by itself it sends on, as it came, to a socket that Python reads:
see `resolver.lane.odd`. So there is one mind, `resolver.session`; the lane repeats what it has been taught.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from resolver.lane cimport system
from resolver.lane.answers cimport (
    EXEMPT,
    MOST_RECORD_SETS,
    PYTHON,
    REFUSE,
    ROOM,
    UNTAUGHT,
    Kind,
    Taught,
    kept_answer,
    kept_failure,
    refusal,
    truncated,
)
from resolver.lane.image cimport (
    A_MATCH,
    GROUND_BITS,
    GROUND_BYTES,
    NO_MATCH,
    UNSURE,
    Hashes,
    Judgement,
    Match,
    Names,
    Spans,
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
    MOST_TTLS,
    Kept,
    Store,
    addresses_of,
    forget,
    keep,
    key_of,
    look_up,
    message_of,
    names_of,
    new_kept,
    open_store,
    touch,
    ttls_of,
)
from resolver.lane.limits cimport (
    KIND_ANSWER,
    KIND_BLOCKED,
    KIND_ERROR,
    KIND_NXDOMAIN,
    LIMIT_WAYS,
    Limits,
    Paid,
    over,
)
from resolver.lane.question cimport (
    FLAG_QR,
    FLAG_RA,
    FLAG_RD,
    MAX_LABELS,
    READ_NOTHING,
    READ_ODD,
    READ_WELL,
    Question,
    Reading,
    read_question,
)
from resolver.lane.siphash cimport siphash13
from resolver.lane.system cimport iovec, lane_prefetch, mmsghdr, monotonic, pthread_mutex_t

cdef enum:
    BATCH = 64
    PACKET_BYTES = 4096
    ADDRESS_ROOM = 32  # a sockaddr_in6 is 28
    CONTROL_ROOM = 64
    MAX_LAYERS = 6
    MOST_TAUGHT_BYTES = 16 << 20
    NX = 3
    SLIP = 2
    ACTIONS = 8
    CATEGORIES = 16
    DURATIONS = 17
    ODD_HEAD = 12

cdef enum Outcome:
    TO_PYTHON = 0
    SEND = 1
    SILENCE = 2

cdef double[16] BOUNDS = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0
]

cdef struct Layer:
    View view
    Taught **taught  # by ground
    uint64_t taught_bytes

cdef struct Counts:
    # Of one thread, so that nobody waits for anybody to count.
    uint64_t blocked
    uint64_t cached
    uint64_t failed
    uint64_t dropped
    uint64_t hits
    uint64_t odd
    uint64_t lost  # to Python, which was too slow to take them
    uint64_t shortened
    uint64_t unsent
    uint64_t by_rule[CATEGORIES][ACTIONS]
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
    uint64_t secret[2]

cdef struct Batch:
    # Buffers of one thread.
    int sock
    int odd
    bint local
    bint wildcard
    Counts counts
    mmsghdr taken[BATCH]
    mmsghdr given[BATCH]
    iovec taken_parts[BATCH]
    iovec given_parts[BATCH]
    Packet packets[BATCH]
    uint8_t addresses[BATCH][ADDRESS_ROOM]
    uint8_t controls[BATCH][CONTROL_ROOM]
    uint8_t out[BATCH][ROOM]
    uint8_t data[BATCH][PACKET_BYTES]


cdef void ready(State *state, Packet *packet, const uint8_t *data, int size) noexcept nogil:
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


cdef void look_ahead(State *state, Packet *packet) noexcept nogil:
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


cdef Outcome answered(State *state, Packet *packet, const uint8_t *query, const Sender *sender, double now,
                      uint8_t *out, int *size, Counts *counts, Wish *wish) noexcept nogil:
    """One query's answer into `out`, which has ROOM octets."""
    cdef Question *asked = &packet.asked
    cdef Match match
    cdef Judgement judgement = NO_MATCH
    cdef Taught *taught
    cdef Kept *kept
    cdef bint exempt = False
    cdef int i, kind
    if packet.reading == READ_NOTHING:
        counts.dropped += 1
        return SILENCE
    if packet.reading == READ_ODD or state.resting:
        return TO_PYTHON
    if state.has_clients and is_client(state, sender):
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
            return limited(state, query, asked, sender, KIND_BLOCKED, now, out, size, counts)
        if taught.kind != EXEMPT:
            return TO_PYTHON
        exempt = True
    kept = look_up(&state.store, packet.found, asked.key, asked.name_bytes + 3)
    if kept == NULL or kept.stripped or now - kept.stored >= kept.lifetime:
        return TO_PYTHON
    touch(&state.store, kept, <uint32_t>now)
    if (message_of(kept)[3] & 15) == 2:
        size[0] = kept_failure(out, query, asked)
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
    kind = message_of(kept)[3] & 15
    kind = KIND_ANSWER if kind == 0 else KIND_NXDOMAIN if kind == NX else KIND_ERROR
    return limited(state, query, asked, sender, kind, now, out, size, counts)


cdef inline Outcome limited(State *state, const uint8_t *query, const Question *asked, const Sender *sender, int kind,
                            double now, uint8_t *out, int *size, Counts *counts) noexcept nogil:
    if not sender.network or not over(&state.limits, state.secret, sender.address, sender.network, kind, now):
        return SEND
    state.limits.slipped += 1
    if state.limits.slipped % SLIP:
        counts.unsent += 1
        return SILENCE
    counts.shortened += 1
    size[0] = truncated(out, query, asked, FLAG_QR | FLAG_RA)
    return SEND


cdef uint8_t judged(State *state, Kept *kept) noexcept nogil:
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


cdef bint is_client(State *state, const Sender *sender) noexcept nogil:
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


cdef void send_odd(Batch *batch, int i, int size, const Wish *wish) noexcept nogil:
    """To Python: what must be taught, the sender's address, the address it wrote to, and the packet."""
    cdef uint8_t out[ODD_HEAD + ADDRESS_ROOM + CONTROL_ROOM + PACKET_BYTES]
    cdef int address_bytes = batch.taken[i].msg_hdr.msg_namelen
    cdef int control_bytes = <int>batch.taken[i].msg_hdr.msg_controllen if batch.wildcard else 0
    cdef int at = ODD_HEAD
    out[0] = wish.layer
    out[1] = <uint8_t>address_bytes
    out[2] = <uint8_t>control_bytes
    out[3] = 0
    memcpy(out + 4, &wish.ground, 4)
    memset(out + 8, 0, 4)
    memcpy(out + at, batch.addresses[i], address_bytes)
    at += address_bytes
    memcpy(out + at, batch.controls[i], control_bytes)
    at += control_bytes
    memcpy(out + at, batch.data[i], size)
    batch.counts.odd += 1
    if system.send(batch.odd, out, at + size, system.MSG_DONTWAIT) < 0:
        batch.counts.lost += 1


cdef void serve_batch(State *state, Batch *batch, int count) noexcept nogil:
    cdef double before = monotonic(), after
    cdef int i, sent, done, given = 0, odd = 0, size = 0
    cdef Sender sender
    cdef uint8_t odds[BATCH]
    cdef Wish wishes[BATCH]
    cdef Outcome outcome
    system.pthread_mutex_lock(&state.lock)
    for i in range(count):
        ready(state, &batch.packets[i], batch.data[i], <int>batch.taken[i].msg_len)
    for i in range(count):
        look_ahead(state, &batch.packets[i])
    for i in range(count):
        see_sender(&sender, batch.addresses[i], not batch.local and state.limits.cost != 0)
        wishes[odd].ground = 0
        wishes[odd].layer = 0
        outcome = answered(state, &batch.packets[i], batch.data[i], &sender, before, batch.out[given], &size,
                           &batch.counts, &wishes[odd])
        if outcome == SEND:
            batch.given_parts[given].iov_len = size
            batch.given[given].msg_hdr.msg_name = batch.addresses[i]
            batch.given[given].msg_hdr.msg_namelen = batch.taken[i].msg_hdr.msg_namelen
            if batch.wildcard:
                answer_from(&batch.taken[i], &batch.given[given])
            given += 1
        elif outcome == TO_PYTHON:
            odds[odd] = <uint8_t>i
            odd += 1
    system.pthread_mutex_unlock(&state.lock)
    done = 0
    while done < given:
        sent = system.sendmmsg(batch.sock, batch.given + done, given - done, system.MSG_DONTWAIT)
        # A client that cannot be reached costs its own answer only.
        done += sent if sent > 0 else 1
    for i in range(odd):
        send_odd(batch, odds[i], <int>batch.taken[odds[i]].msg_len, &wishes[i])
    if given:
        after = monotonic() - before
        i = 0
        while i < DURATIONS - 1 and after > BOUNDS[i]:
            i += 1
        batch.counts.durations[i] += given
        batch.counts.seconds += after * given


cdef inline void answer_from(mmsghdr *taken, mmsghdr *given) noexcept nogil:
    """The answer leaves from the address that was asked; by which interface is the routing table's choice."""
    cdef system.cmsghdr *control = system.CMSG_FIRSTHDR(&taken.msg_hdr)
    given.msg_hdr.msg_control = taken.msg_hdr.msg_control
    given.msg_hdr.msg_controllen = taken.msg_hdr.msg_controllen
    if control != NULL and control.cmsg_level == system.IPPROTO_IP and control.cmsg_type == system.IP_PKTINFO:
        (<system.in_pktinfo *>system.CMSG_DATA(control)).ipi_ifindex = 0


cdef class Lane:
    """`cache_bytes` bound the kept answers; `per_second` and `burst` the answers to a network (0: no limit).

    `secret`: 16 random octets. `networks`: seats in the table of limits.
    """

    cdef State state
    cdef Counts own  # of `answer`
    cdef list batches
    cdef list buffers
    cdef volatile bint stopping

    def __cinit__(self, Py_ssize_t cache_bytes, bytes secret, double per_second=0, double burst=4.0,
                  Py_ssize_t networks=32768):
        cdef uint64_t groups = 1
        if len(secret) != 16:
            raise ValueError("a secret has 16 octets")
        system.pthread_mutex_init(&self.state.lock, NULL)
        memcpy(self.state.secret, <const char *>secret, 16)
        while groups * LIMIT_WAYS < <uint64_t>networks:
            groups *= 2
        self.state.limits.cost = 1.0 / per_second if per_second else 0.0
        self.state.limits.burst = burst
        self.state.limits.mask = groups - 1
        self.state.limits.seats = <Paid *>calloc(groups * LIMIT_WAYS, sizeof(Paid))
        if not open_store(&self.state.store, cache_bytes) or self.state.limits.seats == NULL:
            raise MemoryError
        self.state.number = 1
        self.batches = []
        self.buffers = []

    def __dealloc__(self):
        self._drop_layers()
        while self.state.store.oldest != NULL:
            forget(&self.state.store, self.state.store.oldest)
        free(self.state.store.buckets)
        free(self.state.limits.seats)
        system.pthread_mutex_destroy(&self.state.lock)

    # -- sockets

    def serve(self, int sock, int odd, bint local, bint wildcard):
        """Answer on a blocking UDP socket that has a receive timeout, until `stop`. To be called in a thread.

        `odd`: a datagram socket to Python. `local`: only this machine can reach it, so nothing is limited.
        """
        cdef Batch *batch = <Batch *>calloc(1, sizeof(Batch))
        cdef Counted counted = Counted()
        if batch == NULL:
            raise MemoryError
        counted.batch = batch
        batch.sock, batch.odd, batch.local, batch.wildcard = sock, odd, local, wildcard
        self.batches.append(counted)
        with nogil:
            self._serve(batch)

    cdef void _serve(self, Batch *batch) noexcept nogil:
        cdef int i, count
        for i in range(BATCH):
            batch.taken_parts[i].iov_base = batch.data[i]
            batch.taken_parts[i].iov_len = PACKET_BYTES
            batch.taken[i].msg_hdr.msg_iov = &batch.taken_parts[i]
            batch.taken[i].msg_hdr.msg_iovlen = 1
            batch.taken[i].msg_hdr.msg_name = batch.addresses[i]
            batch.given_parts[i].iov_base = batch.out[i]
            batch.given[i].msg_hdr.msg_iov = &batch.given_parts[i]
            batch.given[i].msg_hdr.msg_iovlen = 1
            batch.taken[i].msg_hdr.msg_namelen = ADDRESS_ROOM
        count = 0
        while not self.stopping:
            for i in range(count):
                batch.taken[i].msg_hdr.msg_namelen = ADDRESS_ROOM
            if batch.wildcard:
                for i in range(BATCH):
                    batch.taken[i].msg_hdr.msg_control = batch.controls[i]
                    batch.taken[i].msg_hdr.msg_controllen = CONTROL_ROOM
            count = system.recvmmsg(batch.sock, batch.taken, BATCH, system.MSG_WAITFORONE, NULL)
            if count <= 0:
                # The timeout, a signal, or the error of an earlier answer: all the same, wait again.
                count = 0
                continue
            serve_batch(&self.state, batch, count)

    def stop(self):
        """`serve` returns at its next timeout or packet."""
        self.stopping = True

    # -- policy

    def enforce(self, list images, bint resting):
        """From the next batch on this is the policy: mapped images, each (buffer, prime, sections), in order.

        Sections are (offset, size) in the order of `resolver.image.form.Section`. `resting`: leave everything to Python.
        Raises ValueError for an image whose numbers point outside it; the policy before stays.
        """
        cdef Layer layers[MAX_LAYERS]
        cdef int count = 0
        cdef list buffers = []
        cdef Held held
        cdef Layer old
        cdef list gone
        memset(layers, 0, sizeof(layers))
        if len(images) > MAX_LAYERS:
            images, resting = [], True
        try:
            for data, prime, places in images:
                held = Held(data)
                buffers.append(held)
                view_of(&layers[count].view, held, prime, places)
                layers[count].taught = <Taught **>calloc(layers[count].view.ground_count + 1, sizeof(Taught *))
                count += 1
                if layers[count - 1].taught == NULL:
                    raise MemoryError
        except BaseException:
            for i in range(count):
                free(layers[i].taught)
            raise
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)
        for i in range(MAX_LAYERS):
            old = self.state.layers[i]
            self.state.layers[i] = layers[i]
            layers[i] = old
        old_count, self.state.layer_count = self.state.layer_count, count
        self.state.has_spans = self.state.has_clients = False
        for i in range(count):
            self.state.has_spans |= any_of(&self.state.layers[i].view.ipv4, &self.state.layers[i].view.ipv6)
            self.state.has_clients |= any_of(&self.state.layers[i].view.ipv4_clients,
                                                      &self.state.layers[i].view.ipv6_clients)
        self.state.resting = resting
        self.state.number += 1
        system.pthread_mutex_unlock(&self.state.lock)
        gone, self.buffers = self.buffers, buffers
        for i in range(old_count):
            forget_taught(&layers[i])
            free(layers[i].taught)
        # The old images are unmapped here, by whoever held them last.
        del gone

    def turn(self, uint32_t hour):
        """Rules that have lapsed by now stop matching."""
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)
        if hour != self.state.hour:
            self.state.hour = hour
            self.state.number += 1
        system.pthread_mutex_unlock(&self.state.lock)

    def teach(self, int layer, uint32_t ground, int kind, int bits=0, int ede_code=0, bytes soa=b"",
              object records=(), bytes before=b"", bytes after=b"", bytes plain=b""):
        """How to answer what matches under a ground; `records`: (type or 0, how many, octets)."""
        cdef Taught *taught
        cdef bytes data = soa + before + after + plain + b"".join([octets for _type, _count, octets in records])
        cdef uint32_t at
        cdef int i
        cdef Layer *here
        if not 0 <= layer < self.state.layer_count or ground >= self.state.layers[layer].view.ground_count:
            return
        if len(records) > MOST_RECORD_SETS:
            kind, records = PYTHON, []
        here = &self.state.layers[layer]
        taught = <Taught *>calloc(1, sizeof(Taught) + len(data))
        if taught == NULL:
            raise MemoryError
        taught.kind = <Kind>kind
        taught.bits, taught.ede_code = bits, ede_code
        taught.size = sizeof(Taught) + len(data)
        taught.data = <uint8_t *>(taught + 1)
        memcpy(taught.data, <const char *>data, len(data))
        taught.soa_size = len(soa)
        taught.before_start, taught.before_size = len(soa), len(before)
        taught.after_start, taught.after_size = taught.before_start + len(before), len(after)
        taught.plain_start, taught.plain_size = taught.after_start + len(after), len(plain)
        at = taught.plain_start + len(plain)
        for i, (rtype, count, octets) in enumerate(records):
            taught.records[i].qtype, taught.records[i].count = rtype, count
            taught.records[i].start, taught.records[i].size = at, len(octets)
            at += len(octets)
        taught.sets = len(records)
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)
        if here.taught_bytes + taught.size > MOST_TAUGHT_BYTES:
            forget_taught(here)
        if here.taught[ground] != NULL:
            here.taught_bytes -= here.taught[ground].size
            free(here.taught[ground])
        here.taught[ground] = taught
        here.taught_bytes += taught.size
        system.pthread_mutex_unlock(&self.state.lock)

    cdef void _drop_layers(self):
        cdef int i
        for i in range(self.state.layer_count):
            forget_taught(&self.state.layers[i])
            free(self.state.layers[i].taught)
        self.state.layer_count = 0

    # -- kept answers

    def put(self, bytes key, bytes message, object ttls, double stored, int lifetime, bint authentic, int upstream,
            bint stripped, bytes names, list addresses):
        """Keep an answer. `names`: wire names that the policy judges, one behind another; `addresses`: (version, octets)."""
        cdef Kept *kept
        cdef uint32_t *pairs
        cdef uint8_t *at
        cdef int i
        if len(ttls) > MOST_TTLS or len(names) > 65535 or len(addresses) > 65535:
            return
        kept = new_kept(len(ttls), len(key), len(message), len(names), len(addresses))
        if kept == NULL:
            raise MemoryError
        kept.stored, kept.lifetime = stored, lifetime
        kept.authentic, kept.stripped, kept.upstream = authentic, stripped, upstream & 255
        pairs = ttls_of(kept)
        for i, (place, ttl) in enumerate(ttls):
            pairs[2 * i], pairs[2 * i + 1] = place, ttl
        memcpy(key_of(kept), <const char *>key, len(key))
        memcpy(message_of(kept), <const char *>message, len(message))
        memcpy(names_of(kept), <const char *>names, len(names))
        at = addresses_of(kept)
        for version, octets in addresses:
            at[0] = version
            memcpy(at + 1, <const char *><bytes>octets, min(16, len(octets)))
            at += ADDRESS_BYTES
        kept.found = siphash13(self.state.secret, key_of(kept), kept.key_bytes)
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)
            keep(&self.state.store, kept)
            system.pthread_mutex_unlock(&self.state.lock)

    def get(self, bytes key, double now):
        """(message, ttls, stored, lifetime, authentic, upstream, stripped, recheck_at), or None; counts as a use."""
        cdef Kept *kept
        cdef uint64_t found = siphash13(self.state.secret, key, len(key))
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)
        try:
            kept = look_up(&self.state.store, found, key, len(key))
            if kept == NULL:
                return None
            touch(&self.state.store, kept, <uint32_t>now)
            pairs = tuple([(ttls_of(kept)[2 * i], ttls_of(kept)[2 * i + 1]) for i in range(kept.ttl_count)])
            return (message_of(kept)[:kept.message_bytes], pairs, kept.stored, kept.lifetime, bool(kept.authentic),
                    kept.upstream, bool(kept.stripped), kept.recheck_at)
        finally:
            system.pthread_mutex_unlock(&self.state.lock)

    def put_off(self, bytes key, double until):
        """Serve that answer stale until then without asking again."""
        cdef Kept *kept
        cdef uint64_t found = siphash13(self.state.secret, key, len(key))
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)
        kept = look_up(&self.state.store, found, key, len(key))
        if kept != NULL:
            kept.recheck_at = until
        system.pthread_mutex_unlock(&self.state.lock)

    def drop(self, bytes key):
        """Forget that answer, if it is there."""
        cdef Kept *kept
        cdef uint64_t found = siphash13(self.state.secret, key, len(key))
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)
        kept = look_up(&self.state.store, found, key, len(key))
        if kept != NULL:
            forget(&self.state.store, kept)
        system.pthread_mutex_unlock(&self.state.lock)

    def kept(self):
        """(bytes, answers, let go) of the kept answers."""
        return self.state.store.bytes, self.state.store.count, self.state.store.evicted

    # -- limits

    def over(self, bytes network, int kind, double now):
        """Is one more answer of that kind to that network too much? If not, it is counted."""
        cdef bint too_much
        if not self.state.limits.cost:
            return False
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)
        too_much = over(&self.state.limits, self.state.secret, network, min(8, len(network)), kind, now)
        system.pthread_mutex_unlock(&self.state.lock)
        return too_much

    def slips(self):
        """Is it the turn of a limited answer to be replaced by a short one?"""
        cdef bint turn
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)
        self.state.limits.slipped += 1
        turn = self.state.limits.slipped % SLIP == 0
        system.pthread_mutex_unlock(&self.state.lock)
        return turn

    # -- figures and tests

    def counts(self):
        """What all threads have counted: numbers by name, `by_rule` by (category, action), `durations` by bound."""
        cdef Counted counted
        cdef dict total = dict.fromkeys(
            ("blocked", "cached", "failed", "dropped", "hits", "odd", "lost", "shortened", "unsent"), 0)
        cdef dict by_rule = {}
        cdef list durations = [0] * DURATIONS
        cdef double seconds = 0
        cdef Counts *one
        for counted in [None, *self.batches]:
            one = &self.own if counted is None else &counted.batch.counts
            total["blocked"] += one.blocked
            total["cached"] += one.cached
            total["failed"] += one.failed
            total["dropped"] += one.dropped
            total["hits"] += one.hits
            total["odd"] += one.odd
            total["lost"] += one.lost
            total["shortened"] += one.shortened
            total["unsent"] += one.unsent
            seconds += one.seconds
            for i in range(CATEGORIES):
                for j in range(ACTIONS):
                    if one.by_rule[i][j]:
                        by_rule[i, j] = by_rule.get((i, j), 0) + one.by_rule[i][j]
            for i in range(DURATIONS):
                durations[i] += one.durations[i]
        return total, by_rule, durations, seconds

    def answer(self, bytes query, double now, bytes address=b"", bint counted=False):
        """What the lane says to one datagram: octets, None for nothing, or (layer, ground + 1) for what is Python's.

        `address`: 4 or 16 octets of the sender; `counted`: its answers are limited.
        """
        cdef Sender sender
        cdef Packet packet
        cdef Wish wish
        cdef Outcome outcome
        cdef int size = 0
        cdef uint8_t out[ROOM]
        cdef const uint8_t *data = query
        cdef int query_bytes = min(PACKET_BYTES, len(query))
        wish.layer = wish.ground = 0
        if address and len(address) not in (4, 16):
            raise ValueError("an address has 4 or 16 octets")
        sender.address, sender.width = address, len(address)
        sender.network = 0 if not counted or not address else 3 if len(address) == 4 else 7
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)
            ready(&self.state, &packet, data, query_bytes)
            look_ahead(&self.state, &packet)
            outcome = answered(&self.state, &packet, data, &sender, now, out, &size, &self.own, &wish)
            system.pthread_mutex_unlock(&self.state.lock)
        if outcome == SEND:
            return out[:size]
        return None if outcome == SILENCE else (wish.layer, wish.ground)


cdef class Counted:
    """Buffers of a thread; what it counted is wanted after it has ended."""
    cdef Batch *batch

    def __dealloc__(self):
        free(self.batch)


cdef class Held:
    """A mapped image, for as long as the lane looks into it."""
    cdef Py_buffer view

    def __cinit__(self, data):
        PyObject_GetBuffer(data, &self.view, PyBUF_SIMPLE)

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef bint any_of(const Spans *ipv4, const Spans *ipv6) noexcept:
    return ipv4.count > 0 or ipv6.count > 0


cdef void forget_taught(Layer *layer) noexcept:
    cdef uint32_t i
    if layer.taught_bytes:
        for i in range(layer.view.ground_count):
            free(layer.taught[i])
            layer.taught[i] = NULL
    layer.taught_bytes = 0


cdef int view_of(View *view, Held held, uint32_t prime, tuple places) except -1:
    """Where everything stands in an image. Raises ValueError where something does not stand in it."""
    cdef const uint8_t *start = <const uint8_t *>held.view.buf
    cdef uint64_t size = held.view.len
    cdef uint64_t power = 1
    cdef int i
    for offset, length in places:
        if offset + length > size:
            raise ValueError("a section ends outside the image")
    if prime < 2:
        raise ValueError("no prime")
    view.prime = prime
    for i in range(256):
        view.powers[i] = <uint32_t>power
        power = power * 256 % prime
    view.records, view.records_bytes = start + <uint64_t>places[0][0], places[0][1]
    names_of_view(&view.exact, start, places, 1)
    names_of_view(&view.subtree, start, places, 3)
    spans_of_view(&view.ipv4, start, places, 5, 4)
    spans_of_view(&view.ipv6, start, places, 8, 16)
    spans_of_view(&view.ipv4_clients, start, places, 15, 4)
    spans_of_view(&view.ipv6_clients, start, places, 18, 16)
    view.grounds = start + <uint64_t>places[11][0]
    view.ground_count = places[11][1] // GROUND_BYTES
    return 0


cdef int names_of_view(Names *names, const uint8_t *start, tuple places, int first) except -1:
    passing, table = places[first], places[first + 1]
    if table[1] % 64 or passing[1] & (passing[1] - 1) or bool(table[1]) != bool(passing[1]):
        raise ValueError("a table or filter of a wrong size")
    names.passing = start + <uint64_t>passing[0]
    names.mask = 8 * passing[1] - 1 if passing[1] else 0
    names.table = start + <uint64_t>table[0]
    names.buckets = table[1] // 64
    return 0


cdef int spans_of_view(Spans *spans, const uint8_t *start, tuple places, int first, int width) except -1:
    starts, owners = places[first], places[first + 1]
    if starts[1] // width != owners[1] // 4:
        raise ValueError("spans without owners")
    spans.starts = start + <uint64_t>starts[0]
    spans.owners = <const uint32_t *>(start + <uint64_t>owners[0])
    spans.count = owners[1] // 4
    return 0
