# What leaves a thread: answers, several at a time, and what Python is to do.
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from resolver.lane cimport system
from resolver.lane.flights cimport ADDRESS_ROOM, CONTROL_ROOM
from resolver.lane.state cimport BATCH, BOUNDS_COUNT, ODD_HEAD, PACKET_BYTES, Counts, Outbox, Wish
from resolver.lane.system cimport mmsghdr

cdef enum Parcel:
    A_QUERY = 0
    AN_ANSWER = 1
    A_DOUBT = 2


cdef inline void open_outbox(Outbox *outbox) noexcept nogil:
    cdef int i
    outbox.count = 0
    for i in range(BATCH):
        outbox.parts[i].iov_base = outbox.data[i]
        outbox.messages[i].msg_hdr.msg_iov = &outbox.parts[i]
        outbox.messages[i].msg_hdr.msg_iovlen = 1
        outbox.messages[i].msg_hdr.msg_name = outbox.addresses[i]
        outbox.messages[i].msg_hdr.msg_control = NULL
        outbox.messages[i].msg_hdr.msg_controllen = 0


cdef inline void flush(Outbox *outbox) noexcept nogil:
    """Send what is there. A client that cannot be reached costs its own answer only."""
    cdef int done = 0, sent
    while done < outbox.count:
        sent = system.sendmmsg(outbox.sock, outbox.messages + done, outbox.count - done, system.MSG_DONTWAIT)
        done += sent if sent > 0 else 1
    outbox.count = 0


cdef inline uint8_t *room_in(Outbox *outbox, int sock) noexcept nogil:
    """Where the next answer by that socket is to be written; `put_in` counts it."""
    if outbox.count == BATCH or (outbox.count and outbox.sock != sock):
        flush(outbox)
    outbox.sock = sock
    return outbox.data[outbox.count]


cdef inline void put_in(Outbox *outbox, int size, const uint8_t *address, int address_bytes, const uint8_t *control,
                        int control_bytes) noexcept nogil:
    """An answer of `size` octets was written. `control`: which of our addresses was asked; it leaves from there."""
    cdef int i = outbox.count
    cdef mmsghdr *message = &outbox.messages[i]
    cdef system.cmsghdr *first
    outbox.parts[i].iov_len = size
    memcpy(outbox.addresses[i], address, address_bytes)
    message.msg_hdr.msg_namelen = address_bytes
    message.msg_hdr.msg_controllen = control_bytes
    message.msg_hdr.msg_control = NULL
    if control_bytes:
        memcpy(outbox.controls[i], control, control_bytes)
        message.msg_hdr.msg_control = outbox.controls[i]
        first = system.CMSG_FIRSTHDR(&message.msg_hdr)
        if first != NULL and first.cmsg_level == system.IPPROTO_IP and first.cmsg_type == system.IP_PKTINFO:
            # By which interface is the routing table's choice.
            (<system.in_pktinfo *>system.CMSG_DATA(first)).ipi_ifindex = 0
    outbox.count += 1


cdef inline void to_python(int odd, const Wish *wish, const uint8_t *address, int address_bytes,
                           const uint8_t *control, int control_bytes, const uint8_t *packet, int packet_bytes,
                           Counts *counts) noexcept nogil:
    """A query: what must be taught, the sender's address, the address it wrote to, and the packet."""
    cdef uint8_t out[ODD_HEAD + ADDRESS_ROOM + CONTROL_ROOM + PACKET_BYTES]
    cdef int at = ODD_HEAD
    out[0] = wish.layer
    out[1] = <uint8_t>address_bytes
    out[2] = <uint8_t>control_bytes
    out[3] = A_QUERY
    memcpy(out + 4, &wish.ground, 4)
    memset(out + 8, 0, 4)
    memcpy(out + at, address, address_bytes)
    at += address_bytes
    if control_bytes:
        memcpy(out + at, control, control_bytes)
        at += control_bytes
    memcpy(out + at, packet, packet_bytes)
    counts.odd += 1
    if system.send(odd, out, at + packet_bytes, system.MSG_DONTWAIT) < 0:
        counts.lost += 1


cdef inline void parcel_to_python(Parcel what, int odd, int upstream, const uint8_t *key, int key_bytes,
                                  const uint8_t *message, int message_bytes) noexcept nogil:
    """Before the queries that wait for it: an upstream's answer that is not common, or that answers are doubtful.

    `key`: of the question.
    """
    cdef uint8_t out[ODD_HEAD + 320 + PACKET_BYTES]
    cdef uint32_t size = key_bytes
    memset(out, 0, ODD_HEAD)
    out[0] = <uint8_t>upstream
    out[3] = what
    memcpy(out + 4, &size, 4)
    memcpy(out + ODD_HEAD, key, key_bytes)
    if message_bytes:
        memcpy(out + ODD_HEAD + key_bytes, message, message_bytes)
    system.send(odd, out, ODD_HEAD + key_bytes + message_bytes, system.MSG_DONTWAIT)


cdef inline void took(Counts *counts, double seconds, int count) noexcept nogil:
    """So many answers took so long each; bounds as `resolver.metrics.BOUNDS`."""
    cdef double[BOUNDS_COUNT] bounds = [
        0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0
    ]
    cdef int i = 0
    while i < BOUNDS_COUNT and seconds > bounds[i]:
        i += 1
    counts.durations[i] += count
    counts.seconds += seconds * count
