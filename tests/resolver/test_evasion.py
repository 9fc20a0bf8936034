"""No way of asking and no way of answering gets past a rule: the verdict is the same each time, at real sockets."""

import itertools
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from resolver.chain import MAX_HOPS
from tests.resolver.live import (
    LiveResolver,
    Mind,
    Turncoat,
    UpstreamDouble,
    behind,
    obliging,
    plain_list,
    resolver,
    upstream,
)
from tests.resolver.play import ede_of, response

LISTED = ("bad.com", "đánhbạc.com", "185.199.110.153", "2a0e:b107:bad::/48")
PUNYCODE = "xn--nhbc-4na10a004p.com"
FREE = "198.51.100.1"

SPELLINGS = {
    "as listed": b"\3bad\3com\0",
    "in capitals": b"\3BAD\3COM\0",
    "in mixed case": b"\3bAd\3cOm\0",
    "a name below": b"\3www\3bad\3com\0",
    "a name far below": b"\1a" * 100 + b"\3bad\3com\0",
    "below a label of other octets": b"\4\xff\0.*\3Bad\3com\0",
    "below a label that looks like a pointer": b"\2\xc0\x0c\3bad\3com\0",
}
NEIGHBOURS = {
    "a dot within the label": b"\7bad.com\0",
    "a label that ends alike": b"\6notbad\3com\0",
    "the parent": b"\3com\0",
    "an escape that is no escape": b"\6\\098ad\3com\0",
    "a name that goes on": b"\3bad\3com\3net\0",
    "another punycode": b"\x07xn--bad\3com\0",
    "octets above 127 that lower-casing by text would change": b"\4\xc3\x84ad\3com\0",
}
QTYPES = ("A", "AAAA", "HTTPS", "SVCB", "TXT", "MX", "NS", "SOA", "DS", "DNSKEY", "ANY", "CNAME", "SRV", "TYPE65400")
FLAGS = {"plain": dns.flags.RD, "CD": dns.flags.RD | dns.flags.CD, "AD": dns.flags.RD | dns.flags.AD,
         "without RD": 0, "all": dns.flags.RD | dns.flags.CD | dns.flags.AD | dns.flags.TC | dns.flags.AA}  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveResolver, UpstreamDouble, Turncoat]]:
    with behind(Turncoat(), tmp_path_factory.mktemp("evasion"), *LISTED) as live:
        yield live


@pytest.fixture
def scene(stage: tuple[LiveResolver, UpstreamDouble, Turncoat]) -> Iterator[tuple[LiveResolver, Turncoat]]:
    live, double, mind = stage
    double.heard.clear()
    yield live, mind
    mind.mind = obliging


def made(
    name: bytes, rtype: str = "A", flags: int = dns.flags.RD, *, edns: bool = True, do: bool = False
) -> dns.message.Message:
    query = dns.message.make_query(
        dns.name.from_wire(name, 0)[0], rtype, use_edns=0 if edns else -1, want_dnssec=do, payload=1232
    )
    query.flags = dns.flags.Flag(flags)
    return query


def asked(live: LiveResolver, query: dns.message.Message, tcp: bool = False) -> dns.message.Message:
    ask = dns.query.tcp if tcp else dns.query.udp
    return ask(query, "127.0.0.1", port=live.port, timeout=3)


def is_refused(reply: dns.message.Message) -> bool:
    """With the answer code, an SOA and, where the client speaks EDNS, the reason; and with no record in the answer."""
    wanted = [15] if reply.edns >= 0 else []
    return (
        reply.rcode() == dns.rcode.NXDOMAIN
        and not reply.answer
        and not reply.authority
        and [rrset.rdtype for rrset in reply.additional] == [dns.rdatatype.SOA]
        and [code for code, _text in ede_of(reply)] == wanted
    )


@pytest.mark.parametrize("how", SPELLINGS)
def test_no_spelling_type_flag_or_transport_gets_past_a_rule(scene, stage, how):
    live, _mind = scene
    seen = 0
    for rtype, flags, tcp, (edns, do) in itertools.product(
        QTYPES, FLAGS.values(), (False, True), ((False, False), (True, False), (True, True))
    ):
        if tcp and rtype not in ("A", "ANY"):
            continue
        reply = asked(live, made(SPELLINGS[how], rtype, flags, edns=edns, do=do), tcp)
        assert is_refused(reply), (rtype, flags, tcp, edns, do, reply.to_text())
        seen += 1
    assert seen > 200
    assert not stage[1].heard, "no upstream hears of it"


@pytest.mark.parametrize("how", NEIGHBOURS)
@pytest.mark.parametrize("tcp", [False, True])
def test_neighbours_of_a_listed_name_are_free(scene, how, tcp):
    live, _mind = scene
    reply = asked(live, made(NEIGHBOURS[how]), tcp)
    assert (reply.rcode(), len(reply.answer)) == (dns.rcode.NOERROR, 1)


def test_a_listed_unicode_name_is_its_punycode_in_any_case(scene):
    live, _mind = scene
    assert dns.name.from_unicode("đánhbạc.com", idna_codec=dns.name.IDNA_2008_Practical) == dns.name.from_text(PUNYCODE)
    for text in (PUNYCODE, PUNYCODE.upper(), f"www.{PUNYCODE}", "XN--nhbc-4NA10a004P.cOm"):
        assert is_refused(asked(live, made(dns.name.from_text(text).to_wire())))


def chained(hops: list[str], end: str) -> Mind:
    """Answers with aliases from the question over `hops`, and `end` at the last of them."""

    def mind(data: bytes, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(data)
        names = [query.question[0].name.to_text(), *hops]
        aliases = [f"{here} 600 IN CNAME {there}" for here, there in itertools.pairwise(names)]
        return [response(data, *aliases, *([f"{names[-1]} 600 IN {end}"] if end else []))]

    return mind


@pytest.mark.parametrize("place", range(1, MAX_HOPS + 1))
@pytest.mark.parametrize("end", ["A 198.51.100.1", ""])
def test_an_alias_to_a_listed_name_is_refused_at_every_hop_fresh_and_kept(scene, place, end):
    live, mind = scene
    hops = [f"h{n}.free.example." for n in range(1, MAX_HOPS + 1)]
    hops[place - 1] = "Www.BAD.com."
    mind.mind = chained(hops, end)
    name = dns.name.from_text(f"start{place}{'y' if end else 'n'}.net").to_wire()
    for query, tcp in (
        (made(name), False),
        (made(name), False),
        (made(name.swapcase()), True),
        (made(name, flags=dns.flags.RD | dns.flags.CD), False),
        (made(name, do=True), False),
        (made(name, edns=False), False),
    ):
        assert is_refused(asked(live, query, tcp))


ENDS = {
    "an address": ("A", "A 185.199.110.153"),
    "an IPv6 address": ("AAAA", "AAAA 2a0e:b107:bad:1::7"),
    "an IPv4 address within an IPv6 one": ("AAAA", "AAAA ::ffff:185.199.110.153"),
    "a hint": ("HTTPS", "HTTPS 1 . alpn=h2 ipv4hint=198.51.100.1,185.199.110.153"),
    "an IPv6 hint": ("HTTPS", "HTTPS 1 . ipv6hint=2a0e:b107:bad::1"),
    "a hint of another port": ("SVCB", "SVCB 1 . port=8443 ipv4hint=185.199.110.153"),
    "a target": ("HTTPS", "HTTPS 1 svc.bad.com. alpn=h3"),
    "an alias form": ("HTTPS", "HTTPS 0 BAD.com."),
    "an alias form of SVCB": ("SVCB", "SVCB 0 bad.com."),
}


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("hops", [0, 1])
def test_listed_addresses_hints_and_targets_are_refused_fresh_and_kept(scene, kind, hops):
    live, mind = scene
    rtype, end = ENDS[kind]
    mind.mind = chained(["elsewhere.free.example."] * hops, end)
    name = dns.name.from_text(f"end{hops}{list(ENDS).index(kind)}.net").to_wire()
    for tcp, flags, do in itertools.product((False, True), FLAGS.values(), (False, True)):
        assert is_refused(asked(live, made(name, rtype, flags | dns.flags.RD, do=do), tcp))


def test_a_listed_address_among_many_is_found_wherever_it_stands(scene):
    live, mind = scene
    for place in (0, 57, 113):
        addresses = [f"198.51.100.{n}" for n in range(114)]
        addresses[place] = "185.199.110.153"
        mind.mind = lambda data, tcp, addresses=addresses: [
            response(data, *(f"{dns.message.from_wire(data).question[0].name} 60 IN A {one}" for one in addresses))
        ]
        assert is_refused(live.asks(f"among{place}.net", tcp=True))
        assert is_refused(live.asks(f"among{place}.net"))


def test_what_was_kept_under_the_old_list_is_judged_by_the_new_one_in_every_way_of_asking(tmp_path: Path):
    mind = Turncoat()
    listed = plain_list(tmp_path, "other.com")
    with upstream(mind) as double, resolver(tmp_path, [double.address], "--list", str(listed)) as live:
        mind.mind = chained(["a.free.example.", "www.bad.com."], "A 198.51.100.1")
        name = dns.name.from_text("kept.net").to_wire()
        ways = [
            (made(name, "A", flags, do=do), tcp)
            for flags, do, tcp in itertools.product((FLAGS["plain"], FLAGS["CD"]), (False, True), (False, True))
        ]
        for query, tcp in ways:
            assert len(asked(live, query, tcp).answer) == 3
        heard = len(double.heard)
        plain_list(tmp_path, *LISTED)
        live.process.send_signal(signal.SIGHUP)
        live.waits_for("enforcing", 2)
        for query, tcp in ways:
            assert is_refused(asked(live, query, tcp))
        assert len(double.heard) == heard, "judged from the cache"
        plain_list(tmp_path, "other.com")
        live.process.send_signal(signal.SIGHUP)
        live.waits_for("enforcing", 3)
        for query, tcp in ways:
            assert len(asked(live, query, tcp).answer) == 3, "unblocking travels as fast"


def test_a_pointer_in_the_question_is_no_way_to_spell_a_listed_name(scene):
    """`www` and a pointer to a name behind the question: refused as malformed, whatever it points to."""
    live, _mind = scene
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(3)
        client.sendto(
            b"\0\7\1\0\0\1\0\0\0\0\0\0\3www\xc0\x16\0\1\0\1" + SPELLINGS["as listed"], ("127.0.0.1", live.port)
        )
        assert client.recv(4096)[3] & 15 == dns.rcode.FORMERR
