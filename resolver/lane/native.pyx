# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled lane: datagrams in batches, from one system call to the next without Python.

One Lane belongs to one process. For each of its UDP sockets a thread waits in recvmmsg (the front), and one thread hears
the upstreams (the back). A thread holds the lane's lock while it works on a batch, never across a system call that can
wait, so whatever Python does to the lane (a new policy, an answer to keep) falls between two batches. What the lane does
not do by itself it sends on, as it came, to a socket that Python reads: see `resolver.lane.odd`. So there is one mind,
`resolver.session`; the lane repeats what it has been taught.

    system      what of Linux is called
    siphash     keyed hash
    question    reading a query
    image       names and addresses of a policy; `opening` checks an image before it is followed
    answers     putting answers together
    cookie      DNS cookies
    limits      how many answers a network may get
    kept        answers kept
    records     reading an upstream's answer
    believed    what of it is believed
    flights     questions on their way
    state       what the threads share
    answering   one query: what is said to it, or who is to find out
    receiving   the front
    forwarding  the back
    sending     what leaves either
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from resolver.lane cimport system
from resolver.lane.answering cimport answered, look_ahead, ready
from resolver.lane.answers cimport MOST_RECORD_SETS, PYTHON, ROOM, Kind, Taught
from resolver.lane.believed cimport BELIEVED, Writer, new_answer, read_answer
from resolver.lane.flights cimport ADDRESS_ROOM, MOST_UPSTREAMS, Upstream
from resolver.lane.forwarding cimport Back, forward
from resolver.lane.image cimport Spans
from resolver.lane.kept cimport (
    ADDRESS_BYTES,
    CLEAN,
    MOST_TTLS,
    Kept,
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
from resolver.lane.limits cimport LIMIT_WAYS, Paid, over
from resolver.lane.opening cimport view_of
from resolver.lane.question cimport READ_WELL, Question, read_question
from resolver.lane.receiving cimport open_batch, receive
from resolver.lane.records cimport Reader
from resolver.lane.siphash cimport siphash13
from resolver.lane.state cimport (
    ACTIONS,
    CATEGORIES,
    DURATIONS,
    MAX_LAYERS,
    MOST_TAUGHT_BYTES,
    PACKET_BYTES,
    SEND,
    SILENCE,
    SLIP,
    Batch,
    Counts,
    Layer,
    Outcome,
    Packet,
    Sender,
    State,
    Wish,
)


cdef class Lane:
    """`cache_bytes` bound the kept answers; `per_second` and `burst` the answers to a network (0: no limit).

    `secret`: 16 random octets. `networks`: seats in the table of limits.
    """

    cdef State state
    cdef Counts own  # of `answer`
    cdef list counted
    cdef list buffers
    cdef bint stopping

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
        self.counted = []
        self.buffers = []

    def __dealloc__(self):
        self._drop_layers()
        while self.state.store.oldest != NULL:
            forget(&self.state.store, self.state.store.oldest)
        free(self.state.store.buckets)
        free(self.state.limits.seats)
        system.pthread_mutex_destroy(&self.state.lock)

    cdef void _hold(self) noexcept:
        """Take the lane's lock. Python's own is not held while waiting for it."""
        with nogil:
            system.pthread_mutex_lock(&self.state.lock)

    cdef void _release(self) noexcept:
        system.pthread_mutex_unlock(&self.state.lock)

    cdef Kept *_find(self, bytes key) noexcept:
        """The kept answer of that key, NULL if there is none; only while the lock is held."""
        return look_up(&self.state.store, siphash13(self.state.secret, key, len(key)), key, len(key))

    # -- sockets

    def serve(self, int sock, int odd, bint local, bint wildcard):
        """Answer on a blocking UDP socket that has a receive timeout, until `stop`. To be called in a thread.

        `odd`: a datagram socket to Python. `local`: only this machine can reach it, so nothing is limited.
        """
        cdef Batch *batch = <Batch *>calloc(1, sizeof(Batch))
        cdef Counted counted = Counted()
        if batch == NULL:
            raise MemoryError
        counted.memory, counted.counts = batch, &batch.counts
        batch.sock, batch.odd, batch.local, batch.wildcard = sock, odd, local, wildcard
        self.counted.append(counted)
        with nogil:
            open_batch(batch)
            receive(&self.state, batch, &self.stopping)

    def ask(self, list addresses, bint authentic):
        """Who is asked for what nobody knows: sockaddrs of upstreams. `authentic`: AD is asked for and believed."""
        cdef int i
        cdef Upstream *upstream
        for i, address in enumerate(addresses[:MOST_UPSTREAMS]):
            upstream = &self.state.flights.upstreams[i]
            upstream.address_bytes = min(ADDRESS_ROOM, len(address))
            memcpy(upstream.address, <const char *><bytes>address, upstream.address_bytes)
            upstream.up = upstream.keeps_case = True
            upstream.wait, upstream.rtt = 1.0, 0.2
        self.state.flights.authentic = authentic
        self.state.flights.upstream_count = min(MOST_UPSTREAMS, len(addresses))

    def forward(self):
        """Hear the upstreams given to `ask`, until `stop`. To be called in a thread."""
        cdef Back *back = <Back *>calloc(1, sizeof(Back))
        cdef Counted counted = Counted()
        if back == NULL:
            raise MemoryError
        counted.memory, counted.counts = back, &back.counts
        self.counted.append(counted)
        back.epoll = system.epoll_create1(system.EPOLL_CLOEXEC)
        if back.epoll < 0:
            raise OSError("no epoll")
        with nogil:
            forward(&self.state, back, &self.stopping)
            system.close(back.epoll)

    def steer(self, int upstream, bint up, bint keeps_case, double wait):
        """What is known of an upstream by now; `wait`: seconds until Python tries again. Gives its round trip time."""
        cdef Upstream *known = &self.state.flights.upstreams[upstream]
        self._hold()
        known.up, known.keeps_case, known.wait = up, keeps_case, wait
        self._release()
        return known.rtt

    def upstreams(self):
        """(answered, lost, refused) of each."""
        cdef int i
        return [
            (self.state.flights.upstreams[i].answered, self.state.flights.upstreams[i].lost,
             self.state.flights.upstreams[i].refused)
            for i in range(MOST_UPSTREAMS)
        ]

    def flying(self):
        """How many questions are on their way."""
        return self.state.flights.flying

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
                view_of(&layers[count].view, <const uint8_t *>held.view.buf, held.view.len, prime, places)
                layers[count].taught = <Taught **>calloc(layers[count].view.ground_count + 1, sizeof(Taught *))
                count += 1
                if layers[count - 1].taught == NULL:
                    raise MemoryError
        except BaseException:
            for i in range(count):
                free(layers[i].taught)
            raise
        self._hold()
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
        self._release()
        gone, self.buffers = self.buffers, buffers
        for i in range(old_count):
            forget_taught(&layers[i])
            free(layers[i].taught)
        # The old images are unmapped here, by whoever held them last.
        del gone

    def turn(self, uint32_t hour, uint32_t wall, bytes secret, bytes before):
        """Rules that have lapsed by now stop matching. `wall`: seconds since 1970; secrets of cookies, 16 octets each."""
        if len(secret) != 16 or len(before) != 16:
            raise ValueError("a secret has 16 octets")
        self._hold()
        self.state.cookies.wall = wall
        memcpy(self.state.cookies.secrets[0], <const char *>secret, 16)
        memcpy(self.state.cookies.secrets[1], <const char *>before, 16)
        if hour != self.state.hour:
            self.state.hour = hour
            self.state.number += 1
        self._release()

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
        self._hold()
        if here.taught_bytes + taught.size > MOST_TAUGHT_BYTES:
            forget_taught(here)
        if here.taught[ground] != NULL:
            here.taught_bytes -= here.taught[ground].size
            free(here.taught[ground])
        here.taught[ground] = taught
        here.taught_bytes += taught.size
        self._release()

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
        self._hold()
        keep(&self.state.store, kept)
        self._release()

    def get(self, bytes key, double now):
        """(message, ttls, stored, lifetime, authentic, upstream, stripped, recheck_at), or None; counts as a use."""
        cdef Kept *kept
        self._hold()
        try:
            kept = self._find(key)
            if kept == NULL:
                return None
            touch(&self.state.store, kept, <uint32_t>now)
            pairs = tuple([(ttls_of(kept)[2 * i], ttls_of(kept)[2 * i + 1]) for i in range(kept.ttl_count)])
            return (message_of(kept)[:kept.message_bytes], pairs, kept.stored, kept.lifetime, bool(kept.authentic),
                    kept.upstream, bool(kept.stripped), kept.recheck_at)
        finally:
            self._release()

    def put_off(self, bytes key, double until):
        """Serve that answer stale until then without asking again."""
        cdef Kept *kept
        self._hold()
        kept = self._find(key)
        if kept != NULL:
            kept.recheck_at = until
        self._release()

    def passes(self, bytes key, double stored):
        """The policy in force lets that answer pass, though some rule speaks of what is in it.

        `stored`: when it was; one that has come since is another, of which nothing is known.
        """
        cdef Kept *kept
        self._hold()
        kept = self._find(key)
        if kept != NULL and kept.stored == stored:
            kept.verdict, kept.judged = CLEAN, self.state.number
        self._release()

    def drop(self, bytes key):
        """Forget that answer, if it is there."""
        cdef Kept *kept
        self._hold()
        kept = self._find(key)
        if kept != NULL:
            forget(&self.state.store, kept)
        self._release()

    def kept(self):
        """(bytes, answers, let go) of the kept answers."""
        return self.state.store.bytes, self.state.store.count, self.state.store.evicted

    # -- limits

    def over(self, bytes network, int kind, double now):
        """Is one more answer of that kind to that network too much? If not, it is counted."""
        cdef bint too_much
        if not self.state.limits.cost:
            return False
        self._hold()
        too_much = over(&self.state.limits, self.state.secret, network, min(8, len(network)), kind, now)
        self._release()
        return too_much

    def slips(self):
        """Is it the turn of a limited answer to be replaced by a short one?"""
        cdef bint turn
        self._hold()
        self.state.limits.slipped += 1
        turn = self.state.limits.slipped % SLIP == 0
        self._release()
        return turn

    # -- figures and tests

    def counts(self):
        """What all threads have counted: numbers by name, `by_rule` by (category, action), `durations` by bound."""
        cdef Counted counted
        cdef dict total = dict.fromkeys(
            (
            "blocked", "cached", "failed", "forwarded", "shed", "dropped", "hits", "misses", "near_misses", "odd",
            "lost", "shortened", "unsent", "given", "proven",
        ), 0)
        cdef dict by_rule = {}
        cdef list durations = [0] * DURATIONS
        cdef double seconds = 0
        cdef Counts *one
        for counted in [None, *self.counted]:
            one = &self.own if counted is None else counted.counts
            total["blocked"] += one.blocked
            total["cached"] += one.cached
            total["failed"] += one.failed
            total["forwarded"] += one.forwarded
            total["shed"] += one.shed
            total["dropped"] += one.dropped
            total["misses"] += one.misses
            total["near_misses"] += one.near_misses
            total["hits"] += one.hits
            total["odd"] += one.odd
            total["lost"] += one.lost
            total["shortened"] += one.shortened
            total["unsent"] += one.unsent
            total["given"] += one.given
            total["proven"] += one.proven
            seconds += one.seconds
            for i in range(CATEGORIES):
                for j in range(ACTIONS):
                    if one.by_rule[i][j]:
                        by_rule[i, j] = by_rule.get((i, j), 0) + one.by_rule[i][j]
            for i in range(DURATIONS):
                durations[i] += one.durations[i]
        return total, by_rule, durations, seconds

    def matches(self):
        """How many queries a rule of a layer decided here, by (layer, action); layers are as `enforce` was given them."""
        cdef Counted counted
        cdef dict total = {}
        cdef Counts *one
        for counted in [None, *self.counted]:
            one = &self.own if counted is None else counted.counts
            for i in range(MAX_LAYERS):
                for j in range(ACTIONS):
                    if one.by_layer[i][j]:
                        total[i, j] = total.get((i, j), 0) + one.by_layer[i][j]
        return total

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
        # A question for an upstream is Python's, too, where no thread is there to ask.
        return None if outcome == SILENCE else (wish.layer, wish.ground)


    def believe(self, bytes query, bytes message):
        """What is kept of an upstream's answer to that query: (message, ttls, lifetime, names, addresses), or None."""
        cdef Question asked
        cdef int lifetime = 0
        cdef const uint8_t *data = query
        cdef const uint8_t *said = message
        cdef Reader *reader = <Reader *>calloc(1, sizeof(Reader))
        cdef Writer *writer = <Writer *>calloc(1, sizeof(Writer))
        cdef Kept *kept = NULL
        try:
            if reader == NULL or writer == NULL:
                raise MemoryError
            if read_question(data, len(query), &asked) != READ_WELL or len(message) < 12 + asked.size:
                return None
            if read_answer(said, len(message), &asked, reader, writer, &lifetime) != BELIEVED:
                return None
            kept = new_answer(&asked, writer, lifetime, 0)
            if kept == NULL:
                raise MemoryError
            pairs = tuple([(ttls_of(kept)[2 * i], ttls_of(kept)[2 * i + 1]) for i in range(kept.ttl_count)])
            found = [
                (addresses_of(kept)[i * ADDRESS_BYTES],
                 addresses_of(kept)[i * ADDRESS_BYTES + 1:
                                    i * ADDRESS_BYTES + (5 if addresses_of(kept)[i * ADDRESS_BYTES] == 4 else 17)])
                for i in range(kept.address_count)
            ]
            return (message_of(kept)[:kept.message_bytes], pairs, lifetime, names_of(kept)[:kept.names_bytes], found)
        finally:
            free(reader)
            free(writer)
            free(kept)


cdef class Counted:
    """The memory of a thread; what it counted is wanted after it has ended."""
    cdef void *memory
    cdef Counts *counts

    def __dealloc__(self):
        free(self.memory)


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
