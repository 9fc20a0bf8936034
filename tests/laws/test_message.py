"""Laws of the readers: only Malformed comes out; what other libraries write is read as they mean it."""

import contextlib
from ipaddress import IPv4Address, IPv6Address
from struct import pack

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feeds.message import Malformed, Query, Response, read_query, read_response, response_matches
from feeds.message.building import aged, encode_name, encode_opt, error_reply, finish, name_text, replayed
from feeds.message.transfer import read_ixfr, read_notify
from feeds.message.words import RA, RD

labels = st.binary(min_size=1, max_size=20)
wire_names = st.lists(labels, max_size=8).map(lambda parts: b"".join(bytes((len(p),)) + p for p in parts) + b"\0")
hosts = st.lists(st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True), min_size=1, max_size=5).map(".".join)
ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).map(str)
rdatas = st.one_of(
    ipv4.map(lambda a: ("A", a)),
    ipv6.map(lambda a: ("AAAA", a)),
    hosts.map(lambda h: ("CNAME", h + ".")),
    hosts.map(lambda h: ("NS", h + ".")),
    hosts.map(lambda h: ("DNAME", h + ".")),
    st.tuples(st.integers(0, 65535), hosts).map(lambda t: ("MX", f"{t[0]} {t[1]}.")),
    hosts.map(lambda h: ("SRV", f"1 2 443 {h}.")),
    st.tuples(hosts, hosts).map(lambda t: ("SOA", f"{t[0]}. {t[1]}. 1 2 3 4 5")),
    hosts.map(lambda h: ("TXT", f'"{h}"')),
    st.tuples(hosts, ipv4, ipv6).map(lambda t: ("HTTPS", f"1 {t[0]}. alpn=h2 ipv4hint={t[1]} ipv6hint={t[2]}")),
    hosts.map(lambda h: ("SVCB", f"0 {h}.")),
)
records = st.tuples(hosts, st.integers(0, 0x7FFFFFFF), rdatas)


@st.composite
def responses(draw: st.DrawFn) -> dns.message.Message:
    query = dns.message.make_query(draw(hosts) + ".", draw(st.sampled_from(["A", "AAAA", "HTTPS", "MX", "ANY"])))
    message = dns.message.make_response(query)
    message.id = draw(st.integers(0, 65535))
    for section in (message.answer, message.authority, message.additional):
        for owner, ttl, (rtype, text) in draw(st.lists(records, max_size=4)):
            section.append(dns.rrset.from_text(owner + ".", ttl, "IN", rtype, text))
    if draw(st.booleans()):
        message.use_edns(0, payload=1232)
    return message


def read_anything(data: bytes) -> None:
    for read in (read_query, read_ixfr, read_notify):
        with contextlib.suppress(Malformed):
            read(data)
    if len(data) >= 12:
        error_reply(data, 1)
        question = data[12 : data.find(b"\0", 12) + 5] if b"\0" in data[12:] else b"\0\0\1\0\1"
        response_matches(data, 0, question)
        with contextlib.suppress(Malformed):
            read_response(data, question)


@settings(max_examples=500)
@given(st.binary(max_size=300))
@example(b"\0\0\x80\0\0\1\0\1\0\0\0\0\0\0\1\0\1\xc0")
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    read_anything(data)


@settings(max_examples=500)
@given(
    st.integers(0, 65535),
    st.sampled_from([0x0100, 0x8180, 0x8583, 0x2000]),
    st.tuples(*[st.integers(0, 3)] * 4),
    st.lists(st.one_of(st.binary(max_size=12), wire_names, st.integers(0, 60).map(lambda n: pack("!H", 0xC000 | n)))),
)
def test_almost_dns_raises_nothing_but_malformed(
    message_id: int, flags: int, counts: tuple[int, int, int, int], parts: list[bytes]
) -> None:
    read_anything(pack("!6H", message_id, flags, *counts) + b"".join(parts))


@settings(max_examples=250)
@given(responses(), st.data())
def test_mutated_answers_raise_nothing_but_malformed(message: dns.message.Message, data: st.DataObject) -> None:
    wire = bytearray(message.to_wire())
    for _n in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(wire)))
    read_anything(bytes(wire))
    read_anything(bytes(wire[:cut]))


@settings(max_examples=150)
@given(responses())
def test_an_answer_is_read_as_dnspython_wrote_it(message: dns.message.Message) -> None:
    wire = message.to_wire()
    asked = message.question[0]
    question = asked.name.to_wire() + pack("!HH", asked.rdtype, asked.rdclass)
    assert response_matches(wire, message.id, question)
    read = read_response(wire, question)
    assert (read.id, read.rcode, read.qtype) == (message.id, message.rcode(), asked.rdtype)
    for ours, theirs in zip(
        (read.answers, read.authority, read.additional),
        (message.answer, message.authority, message.additional),
        strict=True,
    ):
        expected = sorted(
            (rrset.name.to_wire().lower(), int(rrset.rdtype), rrset.ttl, rdata.to_wire())
            for rrset in theirs
            for rdata in rrset
        )
        assert sorted((r.owner, r.rtype, r.ttl, r.rdata) for r in ours) == expected
    assert (read.edns is not None) == (message.edns >= 0)
    hints = [(b.ipv4, b.ipv6) for b in read.bindings if b.priority]
    expected_hints = [
        (
            tuple(int(IPv4Address(a)) for a in rdata.params[4].addresses),
            tuple(int(IPv6Address(a)) for a in rdata.params[6].addresses),
        )
        for rrset in message.answer
        if rrset.rdtype == dns.rdatatype.HTTPS
        for rdata in rrset
    ]
    assert hints == expected_hints
    stored = dns.message.from_wire(read.message)
    assert stored.edns < 0
    whole = dns.message.from_wire(wire)
    assert (stored.answer, stored.authority, stored.additional) == (whole.answer, whole.authority, whole.additional)


@settings(max_examples=100)
@given(responses(), st.integers(0, 0x7FFFFFFF), st.integers(0, 65535), st.booleans())
def test_a_stored_answer_replayed_is_a_true_answer_with_less_time_left(
    message: dns.message.Message, age: int, message_id: int, upper: bool
) -> None:
    asked = message.question[0]
    question = asked.name.to_wire() + pack("!HH", asked.rdtype, asked.rdclass)
    read = read_response(message.to_wire(), question)
    spelled = asked.name.to_wire().upper() if upper else asked.name.to_wire().lower()
    query = read_query(pack("!6H", message_id, RD, 1, 0, 0, 0) + spelled + question[-4:])
    out = replayed(aged(read.message, read.ttls, age, least=0), query, flags=0)
    got = dns.message.from_wire(finish(out, query, 65_535, encode_opt()))
    assert got.id == message_id
    assert got.question[0].name.to_wire() == spelled
    assert got.flags == dns.flags.QR | dns.flags.RD | RA
    assert got.edns == 0
    before = {(r.name, r.rdtype): r.ttl for r in message.answer}
    for rrset in got.answer:
        assert rrset.ttl <= max(before.values(), default=0)
    again = read_response(out, query.question)
    assert [ttl for _at, ttl in again.ttls] == [max(ttl - age, 0) for _at, ttl in read.ttls]


@given(hosts, st.integers(0, 65535), st.booleans(), st.booleans())
def test_a_query_is_read_as_dnspython_wrote_it(name: str, rtype: int, edns: bool, dnssec: bool) -> None:
    message = dns.message.make_query(name + ".", "A", use_edns=0 if edns or dnssec else False, want_dnssec=dnssec)
    wire = message.to_wire()
    at = 12 + len(message.question[0].name.to_wire())
    wire = wire[:at] + pack("!H", rtype) + wire[at + 2 :]
    query = read_query(wire)
    assert query.name == encode_name(name)
    assert query.key == query.name.lower()
    assert (query.id, query.qtype, query.qclass, query.do) == (message.id, rtype, 1, dnssec)
    assert query.edns == (edns or dnssec)
    assert query.question == wire[12 : at + 4]


@given(wire_names)
def test_names_are_written_as_dnspython_reads_them(wire: bytes) -> None:
    text = name_text(wire)
    assert dns.name.from_text(text).to_wire() == wire


@given(hosts)
def test_name_text_and_wire_form_round_trip(text: str) -> None:
    assert name_text(encode_name(text)) == text


def test_values_are_tuples_that_cannot_be_changed() -> None:
    assert issubclass(Query, tuple)
    assert issubclass(Response, tuple)
