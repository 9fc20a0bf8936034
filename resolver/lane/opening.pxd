# Opening an image for the lane: whatever it says of itself is checked once, here; its form is `resolver.image`'s.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from resolver.lane.image cimport GROUND_BYTES, Names, Spans, View


cdef inline int view_of(View *view, const uint8_t *start, uint64_t size, uint32_t prime, tuple places) except -1:
    """Where everything stands in an image. Raises ValueError where something does not stand in it."""
    cdef uint64_t power = 1
    cdef int i
    for offset, length in places:
        # They begin at multiples of 64 octets (`resolver.image`), so numbers in them can be read in place.
        if offset + length > size or offset % 64:
            raise ValueError("a section does not stand in the image as it should")
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


cdef inline int names_of_view(Names *names, const uint8_t *start, tuple places, int first) except -1:
    passing, table = places[first], places[first + 1]
    if table[1] % 64 or passing[1] & (passing[1] - 1) or bool(table[1]) != bool(passing[1]):
        raise ValueError("a table or filter of a wrong size")
    names.passing = start + <uint64_t>passing[0]
    names.mask = 8 * passing[1] - 1 if passing[1] else 0
    names.table = start + <uint64_t>table[0]
    names.buckets = table[1] // 64
    return 0


cdef inline int spans_of_view(Spans *spans, const uint8_t *start, tuple places, int first, int width) except -1:
    starts, owners = places[first], places[first + 1]
    if starts[1] // width != owners[1] // 4:
        raise ValueError("spans without owners")
    spans.starts = start + <uint64_t>starts[0]
    spans.owners = <const uint32_t *>(start + <uint64_t>owners[0])
    spans.count = owners[1] // 4
    return 0
