"""Whatever bytes come from clients and upstreams, the session raises nothing and keeps its bounds."""

from contextlib import suppress

import dns.exception
import dns.message
from hypothesis import example, given
from hypothesis import strategies as st

from resolver.effects import Reply
from tests.resolver.play import Play, blocks, query, response

GOOD = query("www.good.example", id=1)
CHANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=12)


def changed(data: bytes, changes: list[tuple[int, int]], keep: int = 0) -> bytes:
    """The bytes with some octets replaced, those before `keep` left as they are."""
    out = bytearray(data)
    for place, value in changes:
        if keep <= place < len(out):
            out[place] = value
    return bytes(out)


@given(st.one_of(st.binary(max_size=600), CHANGES.map(lambda changes: changed(GOOD, changes))), st.booleans())
def test_no_bytes_of_a_client_raise_and_each_gets_at_most_one_reply_to_itself(data, tcp):
    play = Play(blocks("bad.example"))
    effects = play.session.query(data, "ann", tcp, play.now)
    replies = [effect for effect in effects if isinstance(effect, Reply)]
    assert len(replies) <= 1
    for reply in replies:
        assert reply.client == "ann"
        assert reply.data[:2] == data[:2]
        assert reply.data[2] & 0x80
        assert tcp or len(reply.data) <= 1232
        dns.message.from_wire(reply.data)


@given(st.binary(max_size=300), CHANGES, st.booleans())
@example(b"", [], False)
def test_no_bytes_of_an_upstream_raise_and_whatever_is_told_is_well_formed(tail, changes, do):
    play = Play(blocks("192.0.2.0/24"))
    play.asks("ann", "www.good.example", do=do)
    ask = play.sent()
    whole = response(ask.data, "www.good.example. 60 IN CNAME a.example.", "a.example. 60 IN A 198.51.100.1")
    end = len(ask.data) - 11
    # The start stays, or the answer would be no more than a near miss.
    for data in (changed(whole, changes, keep=end), whole[:end] + tail, ask.data[:2] + tail):
        with suppress(KeyError):
            play.hears(ask, data)
    play.waits(10)
    assert len(play.replies) == 1
    try:
        dns.message.from_wire(play.replies[0][1])
    except dns.exception.FormError as error:
        raise AssertionError("a malformed answer was passed on") from error
    assert len(play.session.asking) == 0
