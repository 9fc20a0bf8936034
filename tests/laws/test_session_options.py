"""Whatever EDNS options a client sends, it gets at most one answer, well-formed and within its limits."""

import dns.edns
import dns.message
from hypothesis import given
from hypothesis import strategies as st

from tests.resolver.play import Play, blocks, query

# Cookie, padding, EDE, structured error, origin, and some that nobody knows.
CODES = st.sampled_from([10, 12, 15, 26, 65_313]) | st.integers(1, 65_535)
OPTIONS = st.lists(st.tuples(CODES, st.binary(max_size=48)), max_size=6)


@given(
    OPTIONS,
    st.sampled_from(["www.bad.example", "private.example", "good.example"]),
    st.sampled_from([(False, False), (True, False), (True, True)]),
    st.booleans(),
    st.sampled_from(["192.0.2.1", "2001:db8::1", "fe80::1%eth0"]),
)
def test_any_options_get_at_most_one_well_formed_answer(options, name, transport, local, host):
    tcp, secure = transport
    play = Play(blocks("bad.example"), config={"rate_limit": 1})
    made = query(name, options=[dns.edns.GenericOption(code, data) for code, data in options])
    for _query in range(6):
        play.replies.clear()
        play.does(play.session.query(made, "ann", tcp, play.now, local, host, secure))
        for ask in play.asked:
            address = "10.0.0.1" if name == "private.example" else "192.0.2.1"
            play.answers(ask, f"{name}. 60 IN A {address}")
        play.asked.clear()
        assert len(play.replies) <= 1
        assert len(play.replies) == 1 or not (tcp or local), "only over UDP, from elsewhere, may an answer be left out"
        for _who, data in play.replies:
            told = dns.message.from_wire(data)
            assert told.id == int.from_bytes(made[:2])
            assert tcp or len(data) <= 1232
            assert not secure or not any(o.otype == 12 for o in told.options) or len(data) % 468 == 0
