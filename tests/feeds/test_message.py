"""What the readers promise about particular messages, and what the builders make."""

from struct import pack

import dns.message
import dnslib
import pytest

from feeds.message import Malformed, option, read_query, read_response, response_matches
from feeds.message.building import (
    address_record,
    aged,
    encode_ede,
    encode_name,
    encode_opt,
    encode_option,
    encode_query,
    encode_question,
    encode_record,
    error_reply,
    finish,
    mailbox_name,
    name_text,
    reply,
)
from feeds.message.words import BADVERS, CD, FORMERR, NXDOMAIN, RD, SERVFAIL, TC

NAME = encode_name("Www.Example.vn")
QUESTION = encode_question(NAME, 1)
OPT = encode_opt(1232)


def query_bytes(flags: int = RD, question: bytes = QUESTION, additional: bytes = b"", count: int = 0) -> bytes:
    return pack("!6H", 0x1234, flags, 1, 0, 0, count) + question + additional


def answer_bytes(*sections: list[bytes], flags: int = 0x8180, question: bytes = QUESTION) -> bytes:
    counts = [len(section) for section in sections] + [0] * (3 - len(sections))
    return pack("!6H", 0x1234, flags, 1, *counts) + question + b"".join(b"".join(section) for section in sections)


def refused(data: bytes) -> int | None:
    with pytest.raises(Malformed) as caught:
        read_query(data)
    return caught.value.rcode


def test_a_query_keeps_the_clients_spelling_and_has_a_lower_case_key() -> None:
    query = read_query(query_bytes())
    assert (query.name, query.key) == (NAME, encode_name("www.example.vn"))
    assert (query.edns, query.udp_size, query.udp_limit, query.signed) == (False, 0, 512, False)


@pytest.mark.parametrize(
    ("said", "limit"), [(0, 512), (100, 512), (512, 512), (1000, 1000), (1232, 1232), (65535, 1232)]
)
def test_udp_answers_stay_between_512_and_1232_octets(said: int, limit: int) -> None:
    assert read_query(query_bytes(additional=encode_opt(said), count=1)).udp_limit == limit


def test_edns_options_are_found() -> None:
    options = encode_option(12, bytes(7)) + encode_option(10, b"12345678")
    query = read_query(query_bytes(additional=encode_opt(options=options, do=True), count=1))
    assert query.do
    assert option(query.options, 10) == b"12345678"
    assert option(query.options, 15) is None


def test_another_edns_version_is_badvers_and_the_refusal_carries_opt() -> None:
    data = query_bytes(additional=b"\0\0\x29\4\xd0\0\1\0\0\0\0", count=1)
    assert refused(data) == BADVERS
    parsed = dns.message.from_wire(error_reply(data, BADVERS))
    assert (parsed.rcode(), parsed.edns, parsed.id) == (BADVERS, 0, 0x1234)
    assert parsed.question[0].name.to_wire() == NAME


@pytest.mark.parametrize("rtype", [250, 24])
def test_tsig_and_sig0_stand_last_and_are_only_noted(rtype: int) -> None:
    signature = b"\3key\0" + pack("!HHIH", rtype, 255, 0, 5) + b"12345"
    assert read_query(query_bytes(additional=signature, count=1)).signed
    query = read_query(query_bytes(additional=OPT + signature, count=2))
    assert query.signed
    assert query.edns
    assert refused(query_bytes(additional=signature + OPT, count=2)) == FORMERR


@pytest.mark.parametrize(
    "data",
    [
        query_bytes(additional=address_record(NAME, 1, bytes(4)), count=1),
        query_bytes(additional=OPT + OPT, count=2),
        query_bytes(additional=OPT, count=0),
        query_bytes(count=1),
        query_bytes(additional=b"\1x" + OPT, count=1),
        query_bytes(additional=encode_opt(options=b"\0\1\0\5abc"), count=1),
        query_bytes(additional=encode_opt(options=b"\0\1\0"), count=1),
        query_bytes(question=b"\x40" + b"a" * 64 + b"\0\0\1\0\1"),
        query_bytes(question=b"\77" + b"a" * 63 + b"\0\0\1"),
        query_bytes(question=(b"\77" + b"a" * 63) * 4 + b"\0\0\1\0\1"),
    ],
)
def test_what_is_no_plain_query_is_formerr(data: bytes) -> None:
    assert refused(data) == FORMERR
    assert dns.message.from_wire(error_reply(data, FORMERR)).rcode() == FORMERR


def test_the_longest_name_is_read_and_one_octet_more_is_not() -> None:
    longest = (b"\77" + b"a" * 63) * 3 + b"\75" + b"a" * 61 + b"\0"
    assert len(longest) == 255
    assert read_query(query_bytes(question=longest + b"\0\1\0\1")).name == longest
    assert refused(query_bytes(question=b"\1b" + longest[:-2] + b"\0\0\1\0\1")) == FORMERR


@pytest.mark.parametrize(("rtype", "rclass"), [(255, 1), (252, 1), (251, 1), (16, 3), (1, 255), (65280, 1)])
def test_any_type_and_class_are_read_for_the_session_to_judge(rtype: int, rclass: int) -> None:
    query = read_query(query_bytes(question=encode_question(NAME, rtype, rclass)))
    assert (query.qtype, query.qclass) == (rtype, rclass)


def test_labels_that_are_no_text_are_read_as_bytes() -> None:
    name = b"\4\xff\xfe\0.\2vn\0"
    query = read_query(query_bytes(question=name + b"\0\1\0\1"))
    assert query.name == name
    assert name_text(query.name) == r"\255\254\000\046.vn"


def test_a_near_miss_is_told_from_an_answer() -> None:
    good = answer_bytes([])
    assert response_matches(good, 0x1234, QUESTION)
    assert response_matches(answer_bytes([], question=QUESTION.swapcase()[:-4] + QUESTION[-4:]), 0x1234, QUESTION)
    assert not response_matches(good, 0x1235, QUESTION)
    assert not response_matches(query_bytes(), 0x1234, QUESTION)
    assert not response_matches(good, 0x1234, encode_question(NAME, 28))
    assert not response_matches(good[:20], 0x1234, QUESTION)
    # Type 65 (HTTPS) is "A", type 97 would be "a": types are numbers, not letters.
    asked, other = encode_question(NAME, 65), encode_question(NAME, 97)
    assert not response_matches(answer_bytes([], question=other), 0x1234, asked)
    with pytest.raises(Malformed, match="another question"):
        read_response(answer_bytes([], question=other), asked)


def test_rcode_has_twelve_bits_and_ede_is_kept() -> None:
    opt = encode_opt(options=encode_ede(9, "no key"), rcode=BADVERS)
    read = read_response(answer_bytes([], [], [opt]), QUESTION)
    assert read.rcode == BADVERS
    assert read.edns is not None
    assert read.edns.options == ((15, b"\0\x09no key"),)
    assert read.message == answer_bytes([])


def test_a_ttl_with_the_top_bit_counts_as_zero() -> None:
    read = read_response(answer_bytes([address_record(b"\xc0\x0c", 0x80000001, bytes(4))]), QUESTION)
    assert read.min_ttl == 0


def test_opt_in_the_middle_leaves_the_other_records_whole() -> None:
    ns = encode_record(b"\xc0\x0c", 2, 60, b"\2ns\xc0\x0c")
    extra = address_record(b"\2ns\xc0\x0c", 60, b"\1\2\3\4")
    pointing = encode_record(pack("!H", 0xC000 | 12 + len(QUESTION) + len(ns) + len(OPT) + 0), 16, 60, b"\1x")
    data = answer_bytes([], [ns], [OPT, extra, pointing])
    read = read_response(data, QUESTION)
    assert [record.owner for record in read.additional] == [encode_name("ns.www.example.vn")] * 2
    stored = dnslib.DNSRecord.parse(read.message)
    assert [str(rr.rname).lower() for rr in stored.ar] == ["ns.www.example.vn."] * 2
    assert str(stored.auth[0].rdata).lower() == "ns.www.example.vn."
    after = dns.message.from_wire(aged(read.message, read.ttls, 50))
    assert {rrset.ttl for section in (after.authority, after.additional) for rrset in section} == {10}


@pytest.mark.parametrize(
    "data",
    [
        answer_bytes([address_record(b"\xc0\x0c", 1, bytes(4))[:-1] + b""]),
        answer_bytes([encode_record(b"\xc0\x0c", 1, 1, bytes(5))]),
        answer_bytes([encode_record(b"\xc0\x0c", 28, 1, bytes(4))]),
        answer_bytes([encode_record(b"\xc0\x0c", 5, 1, b"\xc0\x0c\0")]),
        answer_bytes([encode_record(b"\xc0\x0c", 6, 1, b"\xc0\x0c\xc0\x0c" + bytes(19))]),
        answer_bytes([OPT]),
        answer_bytes([], [], [OPT, OPT]),
        answer_bytes([encode_record(b"\xc0\x0c", 65, 1, b"\0\1\0" + pack("!HH", 4, 3) + b"abc")]),
        answer_bytes([encode_record(b"\xc0\x0c", 65, 1, b"\0\1\0" + pack("!HHHH", 4, 0, 3, 0))]),
        answer_bytes([encode_record(b"\xc0\x0c", 65, 1, b"\0\1\0" + pack("!HHHH", 3, 0, 3, 0))]),
        answer_bytes([encode_record(b"\xc0\x0c", 64, 1, b"\0\1\xc0\x0c")]),
        answer_bytes([]) + b"x",
        answer_bytes([], flags=0x0100),
        b"",
    ],
)
def test_answers_that_are_not_what_they_say_are_refused_in_silence(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        read_response(data, QUESTION)
    assert caught.value.rcode is None


def test_a_service_binding_with_a_dot_is_about_its_owner() -> None:
    rdata = b"\0\1\0" + pack("!HH", 1, 3) + b"\2h2" + pack("!HH", 4, 8) + b"\1\2\3\4\5\6\7\x08"
    [binding] = read_response(answer_bytes([encode_record(b"\xc0\x0c", 65, 1, rdata)]), QUESTION).bindings
    assert binding.target == encode_name("www.example.vn")
    assert binding.ipv4 == (0x01020304, 0x05060708)


def test_a_reply_too_large_for_udp_is_cut_with_tc_and_keeps_opt() -> None:
    query = read_query(query_bytes(flags=RD | CD))
    records = [encode_record(b"\xc0\x0c", 16, 60, b"\x64" + bytes(100))] * 20
    whole = reply(query, 0, sections=b"".join(records), an=20)
    assert finish(whole, query, 65_535) == whole
    cut = finish(whole, query, 512, OPT)
    parsed = dns.message.from_wire(cut)
    assert len(cut) <= 512
    assert parsed.flags & TC
    assert parsed.flags & CD
    assert parsed.edns == 0
    assert not parsed.answer
    assert parsed.question[0].name.to_wire() == NAME


def test_a_reply_of_an_error_has_the_question_and_no_more() -> None:
    query = read_query(query_bytes())
    parsed = dns.message.from_wire(
        finish(reply(query, SERVFAIL), query, 512, encode_opt(options=encode_ede(23, "mạng")))
    )
    assert (parsed.rcode(), parsed.id) == (SERVFAIL, 0x1234)
    assert parsed.options[0].text == "mạng"


def test_upstream_queries_are_read_by_dnslib_and_by_us() -> None:
    data = encode_query(77, QUESTION, cd=True, opt=encode_opt(do=True))
    record = dnslib.DNSRecord.parse(data)
    assert (record.header.id, record.header.rd, record.header.cd, record.q.qtype) == (77, 1, 1, 1)
    assert read_query(data).do


def test_a_mail_address_becomes_a_mailbox_name_with_its_dots() -> None:
    assert mailbox_name("khieu.nai@so.gov.vn") == b"\x09khieu.nai" + encode_name("so.gov.vn")
    assert name_text(mailbox_name("khieu.nai@so.gov.vn")) == r"khieu\046nai.so.gov.vn"
    for bad in ("nobody", "@so.gov.vn", "a" * 64 + "@so.gov.vn", "khiếu@so.gov.vn", "a@" + "b" * 64):
        with pytest.raises(ValueError):
            mailbox_name(bad)


@pytest.mark.parametrize("bad", ["a..b", ".a", "a" * 64, ".".join(["a" * 63] * 4), "việt.vn"])
def test_text_that_is_no_name_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        encode_name(bad)


def test_ages_stay_within_their_bounds() -> None:
    message = answer_bytes([address_record(b"\xc0\x0c", ttl, bytes(4)) for ttl in (5, 100, 100_000)], flags=NXDOMAIN)
    read_ttls = read_response(
        answer_bytes([address_record(b"\xc0\x0c", t, bytes(4)) for t in (5, 100, 100_000)]), QUESTION
    )
    out = dnslib.DNSRecord.parse(aged(message, read_ttls.ttls, 30, most=3600, least=1))
    assert [rr.ttl for rr in out.rr] == [1, 70, 3600]
