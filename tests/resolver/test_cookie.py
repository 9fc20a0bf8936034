"""DNS cookies: the vectors of RFC 9018 appendix A, their lifetimes, and what the session makes of them."""

from random import Random

import dns.edns
import dns.message
import dns.rcode
import pytest

from resolver.cookie import KEY_BYTES, MAX_AGE, SECRET_SECONDS, BadCookie, Cookies, daily_secrets
from resolver.siphash import siphash
from tests.resolver.play import Play, blocks, query

CLIENT_COOKIE = bytes.fromhex("2464c4abcf10c957")
HOST = "198.51.100.100"


def given_secret(secret: str, wall: float = 0) -> Cookies:
    return Cookies(lambda _day: bytes.fromhex(secret), wall)


def test_siphash_is_the_reference_implementations():
    key = bytes(range(16))
    assert siphash(key, b"").hex() == "310e0edd47db6f72"
    assert siphash(key, bytes(range(15))).hex() == "e545be4961ca29a1"


def test_a_new_cookie_is_that_of_the_rfc():
    cookies = given_secret("e5e973e5a6b2a43f48e7dc849e37bfcf")
    seen = cookies.see(CLIENT_COOKIE, HOST, 1559731985)
    assert not seen.proven
    assert seen.option.hex() == "000a0018" + "2464c4abcf10c957" + "010000005cf79f111f8130c3eee29480"


def test_a_cookie_of_the_secret_before_is_good_and_answered_with_the_rfcs_of_the_new_one():
    today = 1559741961 // SECRET_SECONDS
    secrets = {today: "445536bcd2513298075a5d379663c962", today - 1: "dd3bdf9344b678b185a6f5cb60fca715"}
    cookies = Cookies(lambda day: bytes.fromhex(secrets.get(day, "00" * 16)))
    cookies.turn(1559741961)
    sent = bytes.fromhex("22681ab97d52c298010000005cf7c57926556bd0934c72f8")
    seen = cookies.see(sent, "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961)
    assert seen.proven
    assert seen.option[4:].hex() == "22681ab97d52c298" + "010000005cf7c609a6bb79d16625507a"


@pytest.mark.parametrize(
    ("later", "proven", "same"),
    [(0, True, True), (1700, True, True), (1900, True, False), (MAX_AGE, True, False), (MAX_AGE + 1, False, False)],
)
def test_a_cookie_is_good_for_an_hour_and_renewed_after_half_of_it(later, proven, same):
    cookies = given_secret("00" * 16)
    first = cookies.see(CLIENT_COOKIE, HOST, 10_000).option
    again = cookies.see(first[4:], HOST, 10_000 + later)
    assert again.proven is proven
    assert (again.option == first) is same


@pytest.mark.parametrize(("earlier", "proven"), [(300, True), (301, False)])
def test_a_cookie_from_the_future_is_no_cookie_but_for_five_minutes(earlier, proven):
    cookies = given_secret("00" * 16)
    first = cookies.see(CLIENT_COOKIE, HOST, 10_000).option
    assert cookies.see(first[4:], HOST, 10_000 - earlier).proven is proven


def test_a_cookie_is_worth_nothing_at_another_address_or_with_one_bit_changed():
    cookies = given_secret("00" * 16)
    good = cookies.see(CLIENT_COOKIE, HOST, 10_000).option[4:]
    assert not cookies.see(good, "198.51.100.101", 10_000).proven
    for place in range(len(good)):
        changed = bytearray(good)
        changed[place] ^= 1
        assert not cookies.see(bytes(changed), HOST, 10_000).proven


def test_cookies_outlive_one_change_of_the_secret_and_no_more():
    cookies = Cookies(daily_secrets(Random(1).randbytes(KEY_BYTES)), 0)
    made = SECRET_SECONDS - 10
    first = cookies.see(CLIENT_COOKIE, HOST, made).option[4:]
    cookies.turn(SECRET_SECONDS)
    seen = cookies.see(first, HOST, SECRET_SECONDS)
    assert seen.proven
    assert seen.option[4:] != first, "and the client gets one of the new secret"
    cookies.turn(SECRET_SECONDS * 2)
    assert not cookies.see(first, HOST, made).proven


def test_processes_with_one_key_take_each_others_cookies_before_and_after_the_secret_rolls_over():
    key = Random(2).randbytes(KEY_BYTES)
    old, other, young = (Cookies(daily_secrets(key), wall) for wall in (0, 0, 0))
    given = old.see(CLIENT_COOKIE, HOST, SECRET_SECONDS - 10).option[4:]
    assert other.see(given, HOST, SECRET_SECONDS - 5).proven
    other.turn(SECRET_SECONDS + 1)
    young.turn(SECRET_SECONDS + 2)
    for one in (other, young):
        assert one.see(given, HOST, SECRET_SECONDS + 3).proven
    assert other.secrets == young.secrets
    assert not Cookies(daily_secrets(bytes(KEY_BYTES)), 0).see(given, HOST, SECRET_SECONDS).proven


@pytest.mark.parametrize("size", [0, 1, 7, 9, 15, 41, 100])
def test_an_option_of_no_possible_length_is_refused(size):
    with pytest.raises(BadCookie):
        given_secret("00" * 16).see(bytes(size), HOST, 0)


# What the session makes of them.


def cookie(data: bytes) -> dict[str, list[dns.edns.Option]]:
    return {"options": [dns.edns.GenericOption(10, data)]}


def cookie_of(message: dns.message.Message) -> bytes:
    [found] = [o.to_wire() for o in message.options if o.otype == 10]
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["www.good.example", "www.bad.example"])
@pytest.mark.parametrize("tcp", [False, True])
def test_every_answer_to_a_query_with_a_cookie_brings_one_that_is_good_next_time(name, tcp):
    play = Play(blocks("bad.example"))
    play.asks("ann", name, tcp=tcp, **cookie(CLIENT_COOKIE))
    for ask in play.asked:
        play.answers(ask, "www.good.example. 60 IN A 192.0.2.1")
    got = cookie_of(play.told("ann"))
    assert got[:8] == CLIENT_COOKIE
    assert play.counters.cookies == {"given": 1, "proven": 0}
    play.asks("ann", name, tcp=tcp, **cookie(got))
    assert cookie_of(play.told("ann")) == got
    assert play.counters.cookies == {"given": 1, "proven": 1}


def test_a_client_without_a_cookie_gets_none():
    play = Play(blocks("bad.example"))
    play.asks("ann", "bad.example")
    assert not [o for o in play.told("ann").options if o.otype == 10]


def test_a_cookie_of_a_wrong_length_is_a_malformed_query():
    play = Play()
    play.says("ann", query("good.example", **cookie(b"short")))
    assert play.told("ann").rcode() == dns.rcode.FORMERR
    assert play.counters.udp["malformed"] == 1


def test_a_wrong_cookie_alone_keeps_nobody_from_an_answer():
    play = Play(blocks("bad.example"))
    play.asks("ann", "bad.example", **cookie(CLIENT_COOKIE + bytes(16)))
    assert play.told("ann").rcode() == dns.rcode.NXDOMAIN
