# The back: a thread that hears the upstreams, has sockets ready, and gives up what stays unanswered.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from resolver.lane cimport system
from resolver.lane.answering cimport judged, kind_of, limited, see_sender
from resolver.lane.answers cimport kept_answer
from resolver.lane.believed cimport BELIEVED, Writer, new_answer, read_answer
from resolver.lane.cookie cimport see_cookie
from resolver.lane.flights cimport (
    MOST_FLIGHTS,
    NEAR_MISS_LIMIT,
    Flight,
    Flights,
    Upstream,
    Waiter,
    drawn,
    fits,
    land,
    make_ready,
    packet_of,
)
from resolver.lane.kept cimport CLEAN, Kept, keep, message_of
from resolver.lane.question cimport FLAG_AD, READ_WELL, Question, read_question
from resolver.lane.records cimport Reader
from resolver.lane.sending cimport (
    A_DOUBT,
    AN_ANSWER,
    flush,
    open_outbox,
    parcel_to_python,
    put_in,
    room_in,
    to_python,
    took,
)
from resolver.lane.state cimport BATCH, PACKET_BYTES, SEND, Counts, Outbox, Sender, State, Wish
from resolver.lane.system cimport epoll_event, monotonic, sockaddr

cdef enum:
    READY_LOW = 64  # so many sockets wait, or more are opened
    OPENED_AT_ONCE = 64
    PORT_TRIES = 8
    FIRST_PORT = 1024
    LOOK_MS = 20  # how often flights are looked through for those to give up
    DRAIN_MS = 2000
    LONGEST_WAIT_MS = 1500

cdef struct Back:
    int epoll
    Counts counts
    epoll_event events[BATCH]
    int sizes[BATCH]
    Flight *from_whom[BATCH]
    Reader reader
    Writer writer
    Outbox outbox
    uint8_t data[BATCH][PACKET_BYTES]


cdef inline void forward(State *state, Back *back, const bint *stopping) noexcept nogil:
    """Until told to stop and all that is on its way has landed, or has had its time."""
    cdef int count, i, heard
    cdef double now, look_at = 0, stop_at = 0
    cdef Flight *flight
    open_outbox(&back.outbox)
    while True:
        if (<const volatile bint *>stopping)[0]:
            now = monotonic()
            stop_at = now + DRAIN_MS * 1e-3 if stop_at == 0 else stop_at
            if state.flights.flying == 0 or now > stop_at:
                break
        have_ready(state, back)
        count = system.epoll_wait(back.epoll, back.events, BATCH, LOOK_MS)
        heard = 0
        for i in range(count):
            flight = &state.flights.all[back.events[i].data.u64]
            back.sizes[heard] = <int>system.recv(flight.sock, back.data[heard], PACKET_BYTES, system.MSG_DONTWAIT)
            if back.sizes[heard] >= 0 or system.errno != system.EAGAIN:
                back.from_whom[heard] = flight
                heard += 1
        now = monotonic()
        system.pthread_mutex_lock(&state.lock)
        for i in range(heard):
            hear(state, back, back.from_whom[i], back.data[i], back.sizes[i], now)
        if now >= look_at:
            look_at = now + LOOK_MS * 1e-3
            give_up(state, back, now)
        system.pthread_mutex_unlock(&state.lock)
        flush(&back.outbox)
    system.pthread_mutex_lock(&state.lock)
    give_up(state, back, 1e300)
    state.flights.upstream_count = 0
    system.pthread_mutex_unlock(&state.lock)
    for i in range(state.flights.opened):
        if state.flights.all[i].sock >= 0:
            system.close(state.flights.all[i].sock)
            state.flights.all[i].sock = -1


cdef inline void hear(State *state, Back *back, Flight *flight, const uint8_t *data, int size,
                      double now) noexcept nogil:
    """One packet, or the error, of a connected socket: the kernel lets only that upstream's packets in."""
    cdef Upstream *upstream = &state.flights.upstreams[flight.upstream]
    cdef int fit, lifetime = 0
    cdef Kept *kept
    cdef Waiter *waiter
    if not flight.flying:
        # Late, or nobody's answer.
        return
    if size < 0:
        upstream.refused += 1
        leave_to_python(back, flight.waiters)
        land(&state.flights, flight)
        return
    fit = fits(flight, data, size)
    if fit < 2:
        back.counts.near_misses += 1
        flight.near_misses += 1
        # The case of letters differs: forged, or an upstream that folds it. Python finds out, by TCP.
        if fit or flight.near_misses >= NEAR_MISS_LIMIT:
            if flight.waiters != NULL:
                parcel_to_python(A_DOUBT, flight.waiters.odd, flight.upstream, flight.asked.key,
                                 flight.asked.name_bytes + 3, NULL, 0)
            leave_to_python(back, flight.waiters)
            land(&state.flights, flight)
        return
    upstream.answered += 1
    upstream.rtt += (now - flight.sent_at - upstream.rtt) / 8
    waiter = flight.waiters
    if read_answer(data, size, &flight.asked, &back.reader, &back.writer, &lifetime) != BELIEVED:
        if waiter != NULL:
            parcel_to_python(AN_ANSWER, waiter.odd, flight.upstream, flight.asked.key, flight.asked.name_bytes + 3,
                             data, size)
        leave_to_python(back, waiter)
        land(&state.flights, flight)
        return
    kept = new_answer(&flight.asked, &back.writer, lifetime, now)
    if kept == NULL:
        leave_to_python(back, waiter)
        land(&state.flights, flight)
        return
    kept.found = flight.found
    kept.upstream = <uint8_t>flight.upstream
    kept.authentic = state.flights.authentic and (data[3] & FLAG_AD) != 0
    kept.verdict = judged(state, kept)
    kept.judged = state.number
    if kept.verdict == CLEAN:
        give(state, back, waiter, kept, now)
    else:
        leave_to_python(back, waiter)
    land(&state.flights, flight)
    if lifetime > 0:
        keep(&state.store, kept)
    else:
        free(kept)


cdef inline void give(State *state, Back *back, Waiter *waiter, Kept *kept, double now) noexcept nogil:
    """Answer all who wait."""
    cdef Question asked
    cdef Sender sender
    cdef Waiter *following
    cdef uint8_t *out
    cdef int size
    while waiter != NULL:
        following = waiter.next
        if waiter.number != state.number or read_question(packet_of(waiter), waiter.packet_bytes, &asked) != READ_WELL:
            # Its name was judged by another policy than this answer: it is asked anew, by one policy from start to end.
            one_to_python(back, waiter)
            waiter = following
            continue
        see_sender(&sender, waiter.address, waiter.counted)
        if asked.cookie_at:
            see_cookie(&state.cookies, packet_of(waiter), &asked, sender.address, sender.width)
        out = room_in(&back.outbox, waiter.sock)
        size = kept_answer(out, packet_of(waiter), &asked, kept, now)
        back.counts.forwarded += 1
        back.counts.misses += 1
        took(&back.counts, now - waiter.asked_at, 1)
        if limited(state, packet_of(waiter), &asked, &sender, kind_of(message_of(kept)), now, out, &size,
                   &back.counts) == SEND:
            put_in(&back.outbox, size, waiter.address, waiter.address_bytes, waiter.control, waiter.control_bytes)
        free(waiter)
        waiter = following


cdef inline void one_to_python(Back *back, Waiter *waiter) noexcept nogil:
    cdef Wish wish
    wish.layer = 0
    wish.ground = 0
    to_python(waiter.odd, &wish, waiter.address, waiter.address_bytes, waiter.control, waiter.control_bytes,
              packet_of(waiter), waiter.packet_bytes, &back.counts)
    free(waiter)


cdef inline void leave_to_python(Back *back, Waiter *waiter) noexcept nogil:
    """All who wait, as if they asked now."""
    cdef Waiter *following
    while waiter != NULL:
        following = waiter.next
        one_to_python(back, waiter)
        waiter = following


cdef inline void give_up(State *state, Back *back, double now) noexcept nogil:
    cdef int i
    cdef Flight *flight
    cdef Upstream *upstream
    for i in range(state.flights.opened):
        flight = &state.flights.all[i]
        if flight.flying and now >= flight.give_up_at:
            upstream = &state.flights.upstreams[flight.upstream]
            upstream.lost += 1
            # As `resolver.health` does, so that a quicker one is asked instead.
            upstream.rtt = min(2 * upstream.rtt, LONGEST_WAIT_MS * 1e-3)
            leave_to_python(back, flight.waiters)
            land(&state.flights, flight)


cdef inline void have_ready(State *state, Back *back) noexcept nogil:
    """Sockets in place of worn ones, and more where few wait. Only this thread opens and closes them."""
    cdef Flights *flights = &state.flights
    cdef Flight *flight
    cdef int i, u, opened
    for u in range(flights.upstream_count):
        # Each by itself: one that cannot be reached must not keep the others from getting theirs.
        for i in range(BATCH):
            system.pthread_mutex_lock(&state.lock)
            flight = flights.upstreams[u].worn
            if flight != NULL:
                flights.upstreams[u].worn = flight.chain
            system.pthread_mutex_unlock(&state.lock)
            if flight == NULL:
                break
            if flight.sock >= 0:
                system.close(flight.sock)
            if not open_socket(state, back, flight):
                # Out of files, perhaps: tried again in a while.
                system.pthread_mutex_lock(&state.lock)
                flight.chain = flights.upstreams[u].worn
                flights.upstreams[u].worn = flight
                system.pthread_mutex_unlock(&state.lock)
                break
    for u in range(flights.upstream_count):
        opened = 0
        while (flights.upstreams[u].ready_count < READY_LOW and opened < OPENED_AT_ONCE
               and flights.opened < MOST_FLIGHTS
               and flights.upstreams[u].sockets < MOST_FLIGHTS // flights.upstream_count):
            flight = &flights.all[flights.opened]
            flight.upstream = u
            flights.upstreams[u].sockets += 1
            if not open_socket(state, back, flight):
                flights.upstreams[u].sockets -= 1
                break
            opened += 1


cdef inline bint open_socket(State *state, Back *back, Flight *flight) noexcept nogil:
    """Connected to its upstream, from a port drawn from all unprivileged ones (RFC 5452 section 9.2)."""
    cdef Upstream *upstream = &state.flights.upstreams[flight.upstream]
    cdef int family = (<const uint16_t *>upstream.address)[0]
    cdef int sock = system.socket(family, system.SOCK_DGRAM | system.SOCK_NONBLOCK | system.SOCK_CLOEXEC, 0)
    cdef uint8_t any_port[28]
    cdef const uint8_t *chance
    cdef epoll_event event
    cdef uint32_t port
    cdef int i
    cdef bint fresh = flight == &state.flights.all[state.flights.opened]
    if sock >= 0:
        for i in range(28):
            any_port[i] = 0
        memcpy(any_port, upstream.address, 2)
        for i in range(PORT_TRIES):
            system.pthread_mutex_lock(&state.lock)
            chance = drawn(&state.flights.chance, 4)
            port = 0
            if chance != NULL:
                memcpy(&port, chance, 4)
            system.pthread_mutex_unlock(&state.lock)
            port = FIRST_PORT + port % (65536 - FIRST_PORT)
            any_port[2], any_port[3] = <uint8_t>(port >> 8), <uint8_t>port
            if system.bind(sock, <const sockaddr *>any_port, upstream.address_bytes) == 0:
                break
        event.events = system.EPOLLIN
        event.data.u64 = flight - state.flights.all
        if (system.connect(sock, <const sockaddr *>upstream.address, upstream.address_bytes) < 0
                or system.epoll_ctl(back.epoll, system.EPOLL_CTL_ADD, sock, &event) < 0):
            system.close(sock)
            sock = -1
    system.pthread_mutex_lock(&state.lock)
    flight.sock = sock
    upstream.closed = sock < 0
    if sock >= 0:
        if fresh:
            state.flights.opened += 1
        make_ready(upstream, flight)
    system.pthread_mutex_unlock(&state.lock)
    return sock >= 0
