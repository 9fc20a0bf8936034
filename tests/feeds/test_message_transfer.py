"""What is read of IXFR queries and NOTIFY messages."""

import dns.message
import dns.opcode
import dns.rrset
import pytest

from feeds.message import Malformed
from feeds.message.building import encode_name
from feeds.message.transfer import read_ixfr, read_notify
from feeds.message.words import FORMERR, NOTIMP

ZONE = "rpz.prov."
SOA = "localhost. admin.so.gov.vn. 42000 3600 600 86400 300"


def ixfr() -> dns.message.QueryMessage:
    message = dns.message.make_query(ZONE, "IXFR")
    message.authority.append(dns.rrset.from_text(ZONE, 0, "IN", "SOA", SOA))
    return message


def notify(with_soa: bool = True) -> dns.message.Message:
    message = dns.message.make_query(ZONE, "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    if with_soa:
        message.answer.append(dns.rrset.from_text(ZONE, 0, "IN", "SOA", SOA))
    return message


def test_an_ixfr_query_says_which_serial_the_secondary_has() -> None:
    query, serial = read_ixfr(ixfr().to_wire())
    assert (query.key, query.qtype, serial) == (encode_name(ZONE), 251, 42_000)


def test_an_ixfr_query_with_opt_and_tsig_is_read() -> None:
    message = ixfr()
    message.use_edns(0)
    message.use_tsig({"key.": b"0123456789abcdef"})
    query, serial = read_ixfr(message.to_wire())
    assert (query.edns, query.signed, serial) == (True, True, 42_000)


@pytest.mark.parametrize("with_soa", [True, False])
def test_a_notify_is_read_with_and_without_its_soa(with_soa: bool) -> None:
    query, serial = read_notify(notify(with_soa).to_wire())
    assert (query.key, query.qtype) == (encode_name(ZONE), 6)
    assert serial == (42_000 if with_soa else None)


def test_one_is_not_taken_for_the_other_and_answers_get_no_reply() -> None:
    with pytest.raises(Malformed) as caught:
        read_notify(ixfr().to_wire())
    assert caught.value.rcode == NOTIMP
    answer = bytearray(notify().to_wire())
    answer[2] |= 0x80
    with pytest.raises(Malformed) as caught:
        read_notify(bytes(answer))
    assert caught.value.rcode is None


def test_the_soa_must_be_one_and_of_that_zone() -> None:
    for owner, rtype, text in (("other.", "SOA", SOA), (ZONE, "A", "192.0.2.1")):
        message = dns.message.make_query(ZONE, "IXFR")
        message.authority.append(dns.rrset.from_text(owner, 0, "IN", rtype, text))
        with pytest.raises(Malformed) as caught:
            read_ixfr(message.to_wire())
        assert caught.value.rcode == FORMERR
    with pytest.raises(Malformed):
        read_ixfr(dns.message.make_query(ZONE, "IXFR").to_wire())
    for cut in range(12, len(ixfr().to_wire())):
        with pytest.raises(Malformed):
            read_ixfr(ixfr().to_wire()[:cut])
