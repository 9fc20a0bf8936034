# The front: a thread for each socket that clients write to.
from libc.stdint cimport uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from resolver.lane cimport system
from resolver.lane.answering cimport answered, limited, look_ahead, ready, see_sender
from resolver.lane.answers cimport EDE_NOT_READY, failure
from resolver.lane.flights cimport (
    ADDRESS_ROOM,
    CONTROL_ROOM,
    MOST_FLIGHTS,
    MOST_OF_A_ZONE,
    MOST_WAITERS,
    Flight,
    Upstream,
    Waiter,
    choose,
    flight_of,
    land,
    make_ready,
    new_waiter,
    packet_of,
    take_off,
    zone_of,
)
from resolver.lane.limits cimport KIND_ERROR
from resolver.lane.sending cimport flush, open_outbox, put_in, room_in, to_python, took
from resolver.lane.state cimport (
    BATCH,
    PACKET_BYTES,
    SEND,
    TO_PYTHON,
    TO_UPSTREAM,
    Batch,
    Outcome,
    Sender,
    State,
    Wish,
)
from resolver.lane.system cimport monotonic


cdef inline void open_batch(Batch *batch) noexcept nogil:
    cdef int i
    for i in range(BATCH):
        batch.taken_parts[i].iov_base = batch.data[i]
        batch.taken_parts[i].iov_len = PACKET_BYTES
        batch.taken[i].msg_hdr.msg_iov = &batch.taken_parts[i]
        batch.taken[i].msg_hdr.msg_iovlen = 1
        batch.taken[i].msg_hdr.msg_name = batch.addresses[i]
        batch.taken[i].msg_hdr.msg_namelen = ADDRESS_ROOM
        if batch.wildcard:
            batch.taken[i].msg_hdr.msg_control = batch.controls[i]
            batch.taken[i].msg_hdr.msg_controllen = CONTROL_ROOM
    open_outbox(&batch.outbox)


cdef inline void receive(State *state, Batch *batch, const bint *stopping) noexcept nogil:
    """Until told to stop and nothing is left to be read."""
    cdef int i, count = 0
    while True:
        for i in range(count):
            batch.taken[i].msg_hdr.msg_namelen = ADDRESS_ROOM
            if batch.wildcard:
                batch.taken[i].msg_hdr.msg_controllen = CONTROL_ROOM
        count = system.recvmmsg(batch.sock, batch.taken, BATCH, system.MSG_WAITFORONE, NULL)
        if count > 0:
            serve_batch(state, batch, count)
            continue
        # The timeout, a signal, or the error of an earlier answer: all the same, wait again.
        count = 0
        if (<const volatile bint *>stopping)[0]:
            return


cdef inline int control_of(Batch *batch, int i) noexcept nogil:
    return <int>batch.taken[i].msg_hdr.msg_controllen if batch.wildcard else 0


cdef inline void serve_batch(State *state, Batch *batch, int count) noexcept nogil:
    cdef double before = monotonic()
    cdef int i, given = 0, odd = 0, size = 0
    cdef Sender sender
    cdef uint8_t odds[BATCH]
    cdef Wish wishes[BATCH]
    cdef Outcome outcome
    cdef uint8_t *out
    system.pthread_mutex_lock(&state.lock)
    for i in range(count):
        ready(state, &batch.packets[i], batch.data[i], <int>batch.taken[i].msg_len)
    for i in range(count):
        look_ahead(state, &batch.packets[i])
    for i in range(count):
        see_sender(&sender, batch.addresses[i], not batch.local and state.limits.cost != 0)
        wishes[odd].ground = 0
        wishes[odd].layer = 0
        out = room_in(&batch.outbox, batch.sock)
        outcome = answered(state, &batch.packets[i], batch.data[i], &sender, before, out, &size, &batch.counts,
                           &wishes[odd])
        if outcome == TO_UPSTREAM:
            outcome = forwarded(state, batch, i, &sender, before, out, &size)
        if outcome == SEND:
            put_in(&batch.outbox, size, batch.addresses[i], batch.taken[i].msg_hdr.msg_namelen, batch.controls[i],
                   control_of(batch, i))
            given += 1
        elif outcome == TO_PYTHON:
            odds[odd] = <uint8_t>i
            odd += 1
    system.pthread_mutex_unlock(&state.lock)
    flush(&batch.outbox)
    for i in range(odd):
        to_python(batch.odd, &wishes[i], batch.addresses[odds[i]], batch.taken[odds[i]].msg_hdr.msg_namelen,
                  batch.controls[odds[i]], control_of(batch, odds[i]), batch.data[odds[i]],
                  <int>batch.taken[odds[i]].msg_len, &batch.counts)
    if given:
        took(&batch.counts, monotonic() - before, given)


cdef inline Outcome forwarded(State *state, Batch *batch, int i, const Sender *sender, double now, uint8_t *out,
                              int *size) noexcept nogil:
    """Nobody knows it yet: put the question on its way, or wait for it with others."""
    cdef Flight *flight
    cdef Upstream *upstream
    cdef Waiter *waiter
    cdef int index, zone = -1
    if state.flights.upstream_count == 0:
        return TO_PYTHON
    flight = flight_of(&state.flights, batch.packets[i].found, &batch.packets[i].asked)
    if flight != NULL and flight.waiting >= MOST_WAITERS:
        return shed(state, batch, i, sender, now, out, size)
    if flight == NULL:
        zone = zone_of(state.secret, &batch.packets[i].asked)
        if zone >= 0 and state.flights.zones[zone] >= MOST_OF_A_ZONE:
            return shed(state, batch, i, sender, now, out, size)
    waiter = new_waiter(<int>batch.taken[i].msg_len)
    if waiter == NULL:
        return shed(state, batch, i, sender, now, out, size)
    if flight == NULL:
        index = choose(&state.flights)
        upstream = &state.flights.upstreams[index if index >= 0 else 0]
        flight = upstream.ready
        if index < 0 or flight == NULL:
            free(waiter)
            if index >= 0 and upstream.sockets >= MOST_FLIGHTS // state.flights.upstream_count:
                # All that may be on their way are.
                return shed(state, batch, i, sender, now, out, size)
            return TO_PYTHON
        upstream.ready = flight.chain
        upstream.ready_count -= 1
        flight.zone = zone
        if not take_off(&state.flights, flight, &batch.packets[i].asked, batch.packets[i].found, now):
            make_ready(upstream, flight)
            free(waiter)
            return TO_PYTHON
        # An error here may be that of an earlier packet; a second one is not.
        if system.send(flight.sock, flight.sent, flight.sent_bytes, system.MSG_DONTWAIT) < 0:
            if system.send(flight.sock, flight.sent, flight.sent_bytes, system.MSG_DONTWAIT) < 0:
                upstream.refused += 1
                land(&state.flights, flight)
                free(waiter)
                return TO_PYTHON
    waiter.asked_at, waiter.number = now, state.number
    waiter.sock, waiter.odd, waiter.counted = batch.sock, batch.odd, sender.network != 0
    waiter.address_bytes = batch.taken[i].msg_hdr.msg_namelen
    waiter.control_bytes = control_of(batch, i)
    waiter.packet_bytes = <int>batch.taken[i].msg_len
    memcpy(waiter.address, batch.addresses[i], ADDRESS_ROOM)
    memcpy(waiter.control, batch.controls[i], CONTROL_ROOM)
    memcpy(packet_of(waiter), batch.data[i], waiter.packet_bytes)
    waiter.next = flight.waiters
    flight.waiters = waiter
    flight.waiting += 1
    return TO_UPSTREAM


cdef inline Outcome shed(State *state, Batch *batch, int i, const Sender *sender, double now, uint8_t *out,
                         int *size) noexcept nogil:
    """More than can be asked at once: SERVFAIL, so that the client knows to try elsewhere."""
    size[0] = failure(out, batch.data[i], &batch.packets[i].asked, EDE_NOT_READY)
    batch.counts.shed += 1
    batch.counts.misses += 1
    return limited(state, batch.data[i], &batch.packets[i].asked, sender, KIND_ERROR, now, out, size, &batch.counts)
