"""What a request over HTTPS asks for, and how long HTTP may keep the answer."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.https.freshness import freshness
from resolver.https.request import MAX_QUERY_BYTES, Refusal, Wanted, is_query, wanted
from tests.resolver.play import query, response

SOA = "example. 900 IN SOA ns.example. root.example. 1 3600 600 86400 120"


def asked(method: str, path: str, **fields: str) -> Wanted | Refusal:
    named = {":method": method, ":path": path, **{name.replace("_", "-"): value for name, value in fields.items()}}
    return wanted([(name.encode(), value.encode()) for name, value in named.items()])


@given(st.binary(min_size=1, max_size=MAX_QUERY_BYTES))
def test_every_message_comes_out_of_its_base64url(message):
    encoded = base64.urlsafe_b64encode(message).rstrip(b"=").decode()
    assert asked("GET", f"/dns-query?dns={encoded}") == Wanted(message)


@pytest.mark.parametrize(
    ("method", "path", "fields", "status"),
    [
        ("GET", "/", {}, 404),
        ("GET", "/dns-query/", {}, 404),
        ("GET", "/dns-query", {}, 400),
        ("GET", "/dns-query?dns=", {}, 400),
        ("GET", "/dns-query?dns=AAAA==", {}, 400),
        ("GET", "/dns-query?dns=AA+A", {}, 400),
        ("GET", "/dns-query?dns=AAAAA", {}, 400),
        ("GET", "/dns-query?dns=AAAA&dns=AAAA", {}, 400),
        ("GET", "/dns-query?dns=" + "A" * 6000, {}, 414),
        ("HEAD", "/dns-query?dns=AAAA", {}, 405),
        ("PUT", "/dns-query", {"content_type": "application/dns-message"}, 405),
        ("POST", "/dns-query", {}, 415),
        ("POST", "/dns-query", {"content_type": "application/dns-json"}, 415),
        ("POST", "/dns-query", {"content_type": "application/dns-message", "content_length": "4097"}, 413),
        ("POST", "/dns-query", {"content_type": "application/dns-message", "content_length": "9" * 4000}, 413),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_status_that_says_why(method, path, fields, status):
    assert asked(method, path, **fields) == Refusal(status)


def test_what_clients_add_is_no_hindrance():
    assert asked("GET", "/dns-query?ct&dns=AAAA&x=1") == Wanted(bytes(3))
    assert asked("POST", "/dns-query?x", content_type="Application/DNS-Message; q=1") == Wanted(None)


def test_only_what_can_be_answered_is_a_query():
    assert is_query(query("a.example"))
    assert not is_query(query("a.example")[:11])
    assert not is_query(response(query("a.example")))


@pytest.mark.parametrize(
    ("answers", "more", "seconds"),
    [
        (["a.example. 300 IN CNAME b.example.", "b.example. 60 IN A 192.0.2.1"], {}, 60),
        (["a.example. 300 IN A 192.0.2.1"], {"authority": ["example. 30 IN NS ns.example."]}, 300),
        (["a.example. 0 IN A 192.0.2.1"], {}, 0),
        ([], {"authority": [SOA]}, 120),
        ([], {"rcode": "NXDOMAIN", "authority": ["example. 30 IN NS ns.example.", SOA]}, 120),
        ([], {"rcode": "NXDOMAIN", "authority": [SOA.replace("900", "45")]}, 45),
        ([], {"rcode": "NXDOMAIN", "additional": [SOA]}, 0),
        ([], {}, 0),
        (["a.example. 300 IN A 192.0.2.1"], {"rcode": "SERVFAIL"}, 0),
        (["a.example. 300 IN A 192.0.2.1"], {"rcode": "REFUSED"}, 0),
    ],
)
def test_http_keeps_an_answer_no_longer_than_dns_may(answers, more, seconds):
    assert freshness(response(query("a.example"), *answers, **more)) == seconds


def test_a_lifetime_with_its_highest_bit_set_is_none():
    message = response(query("a.example", edns=False), "a.example. 1 IN A 192.0.2.1")
    assert freshness(message.replace(b"\0\0\0\1\0\4", b"\x80\0\0\1\0\4")) == 0
