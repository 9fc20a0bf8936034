"""Laws of reading and writing prefixes in bulk: both twins give the same answers, and those of `ipaddress`."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.errors import Rejected
from feeds.ipfilter.bulk import Listed, interval_texts, listed, prefix_count
from feeds.ipfilter.bulk_python import Listed as PythonListed
from feeds.ipfilter.intervals import cidrs, merged

TWINS: list[type[Listed]] = [PythonListed, pytest.importorskip("feeds.ipfilter.native").Listed]

networks4 = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=20)
near4 = st.lists(st.tuples(st.integers(2**32 - 40, 2**32 - 1), st.integers(26, 32)), max_size=20)
networks6 = st.lists(st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)), max_size=20)
near6 = st.lists(st.tuples(st.integers(2**64 - 20, 2**64 + 20), st.integers(120, 128)), max_size=20)


@pytest.mark.parametrize("way", TWINS)
@given(st.one_of(networks4, near4), st.booleans())
def test_aggregation_is_ipaddress_s_in_ipv4(way: type[Listed], pairs: list[tuple[int, int]], bare: bool) -> None:
    theirs = [ipaddress.IPv4Network(pair, strict=False) for pair in pairs]
    said = [str(n.network_address) if bare and n.prefixlen == 32 else str(n) for n in theirs]
    _same_as_ipaddress(way, said, theirs, 32)


@pytest.mark.parametrize("way", TWINS)
@given(st.one_of(networks6, near6))
def test_aggregation_is_ipaddress_s_in_ipv6(way: type[Listed], pairs: list[tuple[int, int]]) -> None:
    theirs = [ipaddress.IPv6Network(pair, strict=False) for pair in pairs]
    _same_as_ipaddress(way, [str(n) for n in theirs], theirs, 128)


def _same_as_ipaddress(way: type[Listed], said: list[str], theirs: list[Any], bits: int) -> None:
    collapsed = [str(network) for network in ipaddress.collapse_addresses(theirs)]
    ours = listed("\n".join(said).encode(), bits, way)
    # The two libraries write `::0.1.0.0` and `::1:0` for the same address.
    assert [str(ipaddress.ip_network(text)) for text in ours.texts()] == collapsed
    assert len(ours) == len(collapsed)
    again = way.of_spans(reversed(ours.pairs()), bits)
    assert list(again.texts()) == list(ours.texts())
    assert list(cidrs(merged(ours.pairs()), bits)) == [
        (int(ipaddress.ip_network(text).network_address), int(text.partition("/")[2])) for text in ours.texts()
    ]


# Lines that are good, nearly good, and anything at all.
digits = st.sampled_from(
    ["0", "1", "00", "01", "9", "32", "33", "128", "129", "255", "256", "1000", "", "-1", "x", "٣"]
)
four = st.lists(digits, min_size=3, max_size=5).map(".".join)
six = st.lists(st.sampled_from(["", "0", "1", "ffff", "FFFF", "12345", "g", "1.2.3.4"]), max_size=9).map(":".join)
lines = st.one_of(
    st.sampled_from(["192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "::", "::/0", "", " 192.0.2.1 ", "::1\r", "# x"]),
    st.tuples(st.one_of(four, six), st.sampled_from(["", "/", "//"]), digits).map("".join),
    st.text(max_size=12),
    st.text("0123456789abcdef:./ #\t\r\0", max_size=50),
)


@given(st.lists(lines, max_size=12), st.sampled_from(["\n", "\n\n", "\r\n"]), st.sampled_from([32, 128]))
def test_both_twins_read_any_text_alike_and_refuse_the_same_lines(texts: list[str], end: str, bits: int) -> None:
    _alike(end.join(texts).encode(), bits)


@given(st.binary(max_size=80), st.sampled_from([32, 128]))
def test_both_twins_read_any_bytes_alike(text: bytes, bits: int) -> None:
    _alike(text, bits)


def _alike(text: bytes, bits: int) -> None:
    said = []
    for way in TWINS:
        try:
            made = listed(text, bits, way)
            said.append((list(map(tuple, made.pairs())), list(made.texts()), len(made)))
        except Rejected as error:
            said.append(([], [(p.place, p.message) for p in error.problems], 0))  # type: ignore[misc]
    assert said[0] == said[1]


@pytest.mark.parametrize("way", TWINS)
@pytest.mark.parametrize(
    "bad",
    ["192.0.2", "192.0.2.1/33", "192.0.2.1/", "192.0.2.1/24/192.0.2.1", "192.0.02.1", "::1", "/24", "1.2.3.4/08", "x"],
)
def test_every_line_that_is_no_prefix_is_named(way: type[Listed], bad: str) -> None:
    good = "192.0.2.1\n\n# a list\n192.0.2.0/24 # ours\n"
    for text, places in ((f"{bad}\n{good}", [1]), (f"{good}{bad}", [5]), (f"{bad}\n{good}{bad}\n", [1, 6])):
        with pytest.raises(Rejected, match="not a list of prefixes") as raised:
            listed(text.encode(), 32, way)
        assert [problem.place for problem in raised.value.problems] == [f"line {n}" for n in places]


def test_a_file_of_something_else_is_refused_in_bounded_words() -> None:
    with pytest.raises(Rejected) as raised:
        listed(b"x" * 500 + b"\nnonsense" * 5000, 32)
    assert len(raised.value.problems) == 1000
    assert len(raised.value.problems[0].message) < 200


@given(st.lists(st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1)).map(sorted), max_size=5))
def test_intervals_become_the_fewest_prefixes(pairs: list[list[int]]) -> None:
    made = merged((first, last) for first, last in pairs)
    assert prefix_count(made, 128) == len(list(interval_texts(made, 128))) == len(list(cidrs(made, 128)))
