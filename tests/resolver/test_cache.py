"""The answer cache: TTLs age, bytes are bounded, stale answers are kept for later need."""

from struct import pack, unpack_from

from hypothesis import given
from hypothesis import strategies as st

from resolver.cache import Cache, Entry


def entry(ttls: tuple[int, ...] = (300,), stored: float = 1000.0, padding: int = 0) -> Entry:
    body = b"".join(pack("!I", ttl) for ttl in ttls) + bytes(padding)
    places = tuple((4 * i, ttl) for i, ttl in enumerate(ttls))
    return Entry(body, places, stored, min(ttls))


def test_ttls_sink_by_the_seconds_that_passed():
    kept = entry((300, 60))
    assert unpack_from("!II", kept.aged(1000.9)) == (300, 60)
    assert unpack_from("!II", kept.aged(1059.2)) == (241, 1)
    assert unpack_from("!II", kept.aged(1010.0)) == (290, 50)


def test_an_entry_is_fresh_for_its_smallest_ttl_and_no_longer():
    kept = entry((300, 60))
    assert kept.fresh(1059.99)
    assert not kept.fresh(1060)


def test_a_stale_answer_says_thirty_seconds():
    assert unpack_from("!II", entry((300, 60)).stale()) == (30, 30)


def test_an_entry_past_its_stale_time_is_gone_and_gives_its_bytes_back():
    cache = Cache(100_000, stale_seconds=100)
    cache.put(b"k", entry((60,)))
    assert cache.get(b"k", 1159) is not None
    assert cache.get(b"k", 1160) is None
    assert (cache.bytes, len(cache)) == (0, 0)


def test_the_entry_used_longest_ago_goes_first():
    one = entry().size + 1
    cache = Cache(one * 20)
    for i in range(20):
        cache.put(bytes([i]), entry())
    cache.get(b"\0", 1000)
    cache.put(b"new", entry())
    assert cache.get(b"\0", 1000) is not None
    assert cache.get(b"\1", 1000) is None
    assert cache.evicted >= 1


def test_an_answer_larger_than_an_eighth_of_the_cache_is_not_kept():
    cache = Cache(10_000)
    cache.put(b"k", entry(padding=5_000))
    assert len(cache) == 0


@given(st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 900)), max_size=80))
def test_the_bytes_never_pass_the_bound_and_always_add_up(puts):
    cache = Cache(20_000)
    for key, padding in puts:
        cache.put(key, entry(padding=padding))
        assert cache.bytes <= 20_000
    assert cache.bytes == sum(e.size + len(k) for k, e in cache._entries.items())
