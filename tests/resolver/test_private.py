"""Rebinding: no name from outside leads a client back into its own network, and allowed names still do."""

import dns.rcode
import pytest

from tests.resolver.play import Play, blocks, ede_of, lines

PRIVATE = ["0.0.0.0", "10.0.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1"]
PRIVATE6 = ["::", "::1", "fc00::1", "fd12::1", "fe80::1", "::ffff:192.168.1.1", "64:ff9b::10.0.0.1"]
PUBLIC = ["11.0.0.1", "100.64.0.1", "172.32.0.1", "192.169.0.1", "169.253.0.1", "198.51.100.1"]
PUBLIC6 = ["2001:db8::1", "::2", "fec0::1", "::ffff:198.51.100.1", "64:ff9b::198.51.100.1"]


def asked(play: Play, *records: str, name: str = "www.evil.example", rtype: str = "A", **more):
    play.asks("ann", name, rtype)
    play.answers(play.sent(), *records, **more)
    return play.told("ann")


@pytest.mark.parametrize("address", [*PRIVATE, *PRIVATE6])
def test_a_private_address_is_taken_out_and_the_client_told_why_from_the_cache_too(address):
    play = Play()
    rtype = "AAAA" if ":" in address else "A"
    told = asked(play, f"www.evil.example. 60 IN {rtype} {address}", rtype=rtype)
    play.asks("bob", "www.evil.example", rtype)
    for answer in (told, play.told("bob")):
        assert answer.rcode() == dns.rcode.NOERROR
        assert not answer.answer
        assert ede_of(answer) == [(15, "private addresses were taken out of the answer")]
    assert play.counters.private == 1


@pytest.mark.parametrize("address", [*PUBLIC, *PUBLIC6])
def test_a_public_address_stays(address):
    rtype = "AAAA" if ":" in address else "A"
    told = asked(Play(), f"www.evil.example. 60 IN {rtype} {address}", rtype=rtype)
    assert len(lines(told)) == 1
    assert not ede_of(told)


def test_of_a_mixed_answer_the_public_addresses_stay():
    told = asked(Play(), *(f"www.evil.example. 60 IN A {a}" for a in ("198.51.100.1", "192.168.1.1", "198.51.100.2")))
    assert {line.split()[-1] for line in lines(told)} == {"198.51.100.1", "198.51.100.2"}


def test_the_name_asked_for_decides_and_no_alias_of_it():
    records = ("www.evil.example. 60 IN CNAME nas.corp.example.", "nas.corp.example. 60 IN A 10.0.0.1")
    play = Play(config={"private_names": (b"\x04corp\x07example\0",)})
    [alias] = lines(asked(play, *records))
    assert alias.lower() == "www.evil.example. 60 in cname nas.corp.example."
    for name in ("nas.corp.example", "corp.example", "Wiki.CORP.Example"):
        assert lines(asked(play, f"{name.lower()}. 60 IN A 10.0.0.1", name=name))
    assert not lines(asked(play, "xcorp.example. 60 IN A 10.0.0.1", name="xcorp.example"))


@pytest.mark.parametrize("name", ["localhost", "a.localhost"])
def test_localhost_may_be_this_machine(name):
    assert lines(asked(Play(), f"{name}. 60 IN A 127.0.0.1", name=name))


def test_the_root_allows_every_name():
    assert lines(asked(Play(config={"private_names": (b"\0",)}), "www.evil.example. 60 IN A 127.0.0.1"))


@pytest.mark.parametrize("hint", ["ipv4hint=192.168.1.1", "ipv6hint=fd00::1"])
def test_a_service_binding_with_a_private_hint_goes_as_a_whole(hint):
    told = asked(Play(), f"www.evil.example. 60 IN HTTPS 1 . {hint}", rtype="HTTPS")
    assert not told.answer
    assert ede_of(told)


def test_what_is_stripped_lives_no_longer_than_it_would_have_and_five_minutes_at_most():
    for ttl, lives in ((20, 20), (86_400, 300)):
        play = Play()
        asked(play, f"www.evil.example. {ttl} IN A 10.0.0.1")
        play.waits(lives - 1)
        play.asks("bob", "www.evil.example")
        assert not play.asked
        play.waits(1)
        play.asks("cid", "www.evil.example")
        assert play.sent()


def test_a_rule_still_judges_what_is_left():
    told = asked(
        Play(blocks("198.51.100.0/24")),
        "www.evil.example. 60 IN A 198.51.100.1",
        "www.evil.example. 60 IN A 10.0.0.1",
    )
    assert told.rcode() == dns.rcode.NXDOMAIN
