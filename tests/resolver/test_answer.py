"""What a client is told when its question is blocked."""

import socket

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype
import pytest

from feeds.manifest import Canary
from feeds.message import Query, read_query
from feeds.message.building import address_record, encode_name, encode_option
from feeds.name import DomainName
from feeds.rule import Action, Category, NameTarget, Rule, Scope
from resolver.answer import blocked_answer, explanation
from resolver.policy import Hit, Layer, Policy, Source

HOUR = 500_000
CONTACT = "khieu.nai@so.gov.vn"
LONG_NAME = ".".join(["a" * 63] * 3 + ["b" * 58, "vn"])


def hit_of(
    action: Action = Action.NXDOMAIN,
    data: str = "",
    *,
    name: str = "bad.vn",
    decision: str = "45/QĐ-STTTT",
    source: Source | None = None,
) -> Hit:
    rule = Rule(
        NameTarget(DomainName(name), Scope.SUBTREE), action, "prov:17", Category.GAMBLING, decision, HOUR + 9, data
    )  # fmt: skip
    policy = Policy.compile([rule], source=source or Source("prov", 42, CONTACT))
    hit = policy.by_name(encode_name(name), HOUR)
    assert hit is not None
    return hit


def query_for(name: str = "WWW.Bad.vn", rtype: str = "A", edns: int | None = 1232, **more: object) -> Query:
    options = {"use_edns": 0, "payload": edns} if edns else {"use_edns": False}
    message = dns.message.make_query(name + ".", rtype, **options, **more)  # type: ignore[arg-type]
    return read_query(message.to_wire())


def told(hit: Hit, query: Query, over_tcp: bool = False, **more: object) -> dns.message.Message:
    data = blocked_answer(hit, query, over_tcp, **more)  # type: ignore[arg-type]
    assert data is not None
    assert over_tcp or len(data) <= query.udp_limit
    message = dns.message.from_wire(data)
    assert message.id == query.id
    assert message.question[0].name.to_wire() == query.name, "the client's spelling comes back"
    assert not message.flags & (dns.flags.AD | dns.flags.AA)
    assert message.flags & dns.flags.RA
    return message


def ede_of(message: dns.message.Message) -> tuple[int, str]:
    [option] = [o for o in message.options if isinstance(o, dns.edns.EDEOption)]
    return int(option.code), option.text or ""


def test_nxdomain_names_entry_decision_and_contact() -> None:
    message = told(hit_of(), query_for())
    assert message.rcode() == 3
    assert not message.answer
    assert not message.authority
    [soa] = message.additional
    assert soa.rdtype == dns.rdatatype.SOA
    assert soa.ttl <= 300
    assert soa[0].serial == 42
    assert soa[0].rname.to_text() == r"khieu\.nai.so.gov.vn."
    assert ede_of(message) == (16, f"entry prov:17; decision 45/QĐ-STTTT; objections {CONTACT}")


def test_without_edns_there_is_the_soa_and_no_opt() -> None:
    message = told(hit_of(), query_for(edns=None))
    assert message.edns < 0
    assert [rrset.rdtype for rrset in message.additional] == [dns.rdatatype.SOA]


@pytest.mark.parametrize("rtype", ["A", "AAAA", "ANY", "SOA", "HTTPS", "TXT", "DNSKEY", "CNAME"])
@pytest.mark.parametrize("over_tcp", [False, True])
@pytest.mark.parametrize("name", ["bad.vn", "X.bAD.vN"])
def test_type_transport_and_spelling_change_nothing(rtype: str, over_tcp: bool, name: str) -> None:
    message = told(hit_of(), query_for(name, rtype), over_tcp)
    assert message.rcode() == 3
    assert ede_of(message)[0] == 16


def test_do_and_cd_change_nothing_but_their_echo() -> None:
    query = query_for(want_dnssec=True, flags=dns.flags.RD | dns.flags.CD | dns.flags.AD)
    message = told(hit_of(), query)
    assert message.rcode() == 3
    assert message.ednsflags & dns.flags.DO
    assert message.flags & dns.flags.CD
    assert not any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in message.additional)


def test_nodata_has_no_error_and_no_records() -> None:
    message = told(hit_of(Action.NODATA), query_for())
    assert (message.rcode(), message.answer) == (0, [])
    assert ede_of(message)[0] == 16


def test_local_addresses_answer_their_own_family_and_nodata_the_rest() -> None:
    hit = hit_of(Action.LOCAL, "192.0.2.80,192.0.2.81")
    [found] = told(hit, query_for()).answer
    assert found.name.to_wire() == encode_name("WWW.Bad.vn")
    assert sorted(record.address for record in found) == ["192.0.2.80", "192.0.2.81"]
    assert found.ttl <= 300
    for rtype in ("AAAA", "TXT", "HTTPS"):
        empty = told(hit, query_for(rtype=rtype))
        assert (empty.rcode(), empty.answer) == (0, [])
        assert ede_of(empty)[0] == 16
    both = hit_of(Action.LOCAL, "192.0.2.80,2001:db8::80")
    assert [r.rdtype for r in told(both, query_for(rtype="AAAA")).answer] == [dns.rdatatype.AAAA]
    assert len(told(both, query_for(rtype="ANY")).answer) == 2


def test_local_name_is_a_cname_with_what_the_session_found_behind_it() -> None:
    hit = hit_of(Action.LOCAL, "notice.so.gov.vn")
    assert hit.ground.cname == encode_name("notice.so.gov.vn")
    more = [address_record(hit.ground.cname, 60, socket.inet_aton("192.0.2.9"))]
    alias, address = told(hit, query_for(), more=more).answer
    assert alias[0].target.to_text() == "notice.so.gov.vn."
    assert address[0].address == "192.0.2.9"
    [alone] = told(hit, query_for(rtype="CNAME"), more=more).answer
    assert alone.rdtype == dns.rdatatype.CNAME


def test_drop_says_nothing() -> None:
    assert blocked_answer(hit_of(Action.DROP), query_for(), False) is None


@pytest.mark.parametrize("edns", [None, 1232])
def test_tcp_only_sends_the_client_to_tcp(edns: int | None) -> None:
    message = told(hit_of(Action.TCP_ONLY), query_for(edns=edns))
    assert message.flags & dns.flags.TC
    assert message.rcode() == 0
    assert (message.edns >= 0) == bool(edns)


def test_a_plain_list_says_blocked_and_not_censored() -> None:
    layer = Layer.of_list([NameTarget(DomainName("bad.vn"), Scope.SUBTREE)], source=Source("list.txt", 0, foreign=True))
    hit = Policy([layer]).by_name(encode_name("bad.vn"), HOUR)
    assert hit is not None
    message = told(hit, query_for())
    assert ede_of(message) == (15, "list list.txt")
    assert message.additional[0][0].rname.to_text() == "."


def test_a_decision_with_its_own_contact_gives_that_one() -> None:
    source = Source("prov", 42, CONTACT, {"45/QĐ-STTTT": "toa.an@toaan.gov.vn"})
    message = told(hit_of(source=source), query_for())
    assert ede_of(message)[1].endswith("objections toa.an@toaan.gov.vn")
    assert message.additional[0][0].rname.to_text() == r"toa\.an.toaan.gov.vn."
    source = Source("prov", 42, CONTACT, {"45/QĐ-STTTT": "Toà án, 1 Lê Lợi, điện thoại 1022"})
    message = told(hit_of(source=source), query_for())
    assert ede_of(message)[1].endswith("điện thoại 1022")
    assert message.additional[0][0].rname.to_text() == r"khieu\.nai.so.gov.vn.", "a street is no mailbox"


def test_a_canary_says_that_it_is_one() -> None:
    policy = Policy.compile(
        [], source=Source("prov", 1, CONTACT), canaries=[Canary(name="c.example", action=Action.NXDOMAIN)]
    )
    hit = policy.by_name(encode_name("c.example"), HOUR)
    assert hit is not None
    assert explanation(hit) == f"test name of prov; objections {CONTACT}"


@pytest.mark.parametrize("edns", [None, 512, 1232, 4096])
@pytest.mark.parametrize("data", ["", ",".join(f"2001:db8::{n}" for n in range(1, 9))])
def test_the_longest_names_and_texts_still_fit_and_stay_utf8(edns: int | None, data: str) -> None:
    contact = "x" * 63 + "@" + ".".join(["b" * 49] * 3)
    source = Source("p" * 32, 42, contact, {"Đ" * 200: "Đường " * 300})
    hit = hit_of(
        Action.LOCAL if data else Action.NXDOMAIN, data, name=LONG_NAME, decision="Đ" * 200,
        source=Source("prov", 42, contact, source.contacts, zone=".".join(["z" * 60] * 3)),
    )  # fmt: skip
    query = query_for(LONG_NAME.upper(), "AAAA", edns)
    assert len(query.name) == 255
    message = told(hit, query)
    assert not message.flags & dns.flags.TC, "text and SOA go before any answer does"
    assert sum(map(len, message.answer)) == (8 if data else 0)
    if edns and edns >= 1232:
        code, text = ede_of(message)
        assert code == 16
        assert text.startswith("entry prov:17; decision ĐĐĐ")
        assert "…; objections Đường" in text


def test_what_cannot_fit_at_all_is_sent_to_tcp() -> None:
    hit = hit_of(Action.LOCAL, "notice.so.gov.vn")
    more = [address_record(b"\xc0\x0c", 60, bytes((192, 0, 2, n))) for n in range(60)]
    message = told(hit, query_for(edns=None), more=more)
    assert message.flags & dns.flags.TC
    assert not message.answer
    assert len(told(hit, query_for(edns=None), over_tcp=True, more=more).answer) == 2


def test_further_options_are_carried_only_where_the_query_had_opt() -> None:
    cookie = encode_option(10, b"0123456789abcdef")
    message = told(hit_of(), query_for(), options=cookie)
    assert [int(option.otype) for option in message.options] == [10, 15]
    assert told(hit_of(), query_for(edns=None), options=cookie).edns < 0
    assert told(hit_of(Action.TCP_ONLY), query_for(), options=cookie).options
