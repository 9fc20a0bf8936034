"""The session as playbooks: who asks, what goes to the upstream, what the client is told."""

from itertools import pairwise
from random import Random

import dns.flags
import dns.message
import dns.rcode
import pytest

from feeds.manifest import Canary
from feeds.rule import Action
from resolver.asking import MAX_ATTEMPTS, mixed_case
from tests.resolver.play import HOUR, SOA, Play, blocks, compiled, ede_of, lines, query, response, rule

GOOD = "www.good.example"
RECORD = "www.good.example. 60 IN A 192.0.2.1"


def test_an_unlisted_name_is_asked_of_the_upstream_and_its_answer_handed_on():
    play = Play(blocks("bad.example"))
    play.asks("ann", GOOD)
    ask = play.sent()
    asked = dns.message.from_wire(ask.data)
    assert asked.question[0].name.to_text().lower() == "www.good.example."
    assert asked.flags & dns.flags.RD
    assert asked.payload == 1232
    play.answers(ask, RECORD)
    told = play.told("ann")
    assert lines(told) == [RECORD]
    assert told.flags & dns.flags.RA
    assert not told.flags & dns.flags.AA
    assert not play.open, "its socket is closed"


def test_a_listed_name_and_all_below_it_are_refused_with_the_reason_and_no_upstream_hears_of_it():
    play = Play(blocks("bad.example"))
    for name in ("bad.example", "a.b.BAD.example"):
        play.asks("ann", name)
        told = play.told("ann")
        assert told.rcode() == dns.rcode.NXDOMAIN
        [(code, text)] = ede_of(told)
        assert code == 16
        assert "tpa:1" in text
        assert "12/QD-2026" in text
        assert play.silent()
    assert play.counters.udp["blocked"] == 2
    assert play.counters.blocked["gambling", "nxdomain"] == 2


@pytest.mark.parametrize("rtype", ["A", "AAAA", "HTTPS", "TXT", "ANY", "DS", "TYPE65400"])
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("more", [{}, {"edns": False}, {"do": True}, {"flags": dns.flags.CD}])
def test_no_type_transport_or_flag_gets_past_a_rule(rtype, tcp, more):
    play = Play(blocks("bad.example"))
    play.asks("ann", "www.bad.example", rtype, tcp=tcp, **more)
    told = play.told("ann")
    assert told.rcode() == dns.rcode.NXDOMAIN
    assert not told.flags & dns.flags.AD


def test_the_second_asker_is_answered_from_the_cache_with_aged_ttl_and_own_spelling():
    play = Play()
    play.asks("ann", GOOD)
    play.answers(play.sent(), RECORD)
    play.told("ann")
    play.waits(20)
    play.asks("bob", "WWW.good.Example")
    told = play.told("bob")
    assert told.question[0].name.to_text() == "WWW.good.Example."
    assert lines(told) == ["WWW.good.Example. 40 IN A 192.0.2.1"]
    assert play.silent()
    play.waits(40)
    play.asks("cid", GOOD)
    assert play.sent(), "it has run out"


def test_one_question_is_outstanding_once_however_many_wait():
    play = Play()
    for client in ("ann", "bob", "cid"):
        play.asks(client, GOOD)
    ask = play.sent()
    play.answers(ask, RECORD)
    assert sorted(c for c, _ in play.replies) == ["ann", "bob", "cid"]
    ids = {data[:2] for _, data in play.replies}
    assert len(ids) == 3, "each gets the id of its own query"


def test_waiting_clients_of_one_question_are_bounded():
    play = Play(config={"max_waiters": 2})
    for client in ("ann", "bob", "cid"):
        play.asks(client, GOOD)
    assert play.told("cid").rcode() == dns.rcode.SERVFAIL
    assert play.counters.udp["shed"] == 1


def test_outstanding_questions_are_bounded():
    play = Play(config={"max_outstanding": 3})
    for i in range(5):
        play.asks(f"c{i}", f"host{i}.example")
    assert len(play.open) == 3
    assert [c for c, _ in play.replies] == ["c3", "c4"]


@pytest.mark.parametrize("first", [{"do": True}, {"flags": dns.flags.CD}, {}])
def test_do_and_cd_are_passed_on_and_never_share_a_kept_answer(first):
    play = Play()
    play.asks("ann", GOOD, **first)
    ask = play.sent()
    asked = dns.message.from_wire(ask.data)
    assert bool(asked.flags & dns.flags.CD) == ("flags" in first)
    assert bool(asked.ednsflags & dns.flags.DO) == ("do" in first)
    play.answers(ask, RECORD)
    play.told("ann")
    play.asks("bob", GOOD, do=True, flags=dns.flags.CD)
    assert play.sent()


def test_an_upstreams_ad_bit_is_passed_on_only_when_it_is_trusted():
    for trusted in (False, True):
        play = Play(config={"trust_ad": trusted})
        play.asks("ann", GOOD, do=True)
        play.answers(play.sent(), RECORD, flags=dns.flags.AD)
        assert bool(play.told("ann").flags & dns.flags.AD) is trusted
        play.asks("bob", GOOD, do=True)
        assert bool(play.told("bob").flags & dns.flags.AD) is trusted


def test_ad_is_not_told_to_a_client_that_does_not_understand_it():
    play = Play(config={"trust_ad": True})
    play.asks("ann", GOOD, edns=False)
    play.answers(play.sent(), RECORD, flags=dns.flags.AD)
    assert not play.told("ann").flags & dns.flags.AD


# Negative answers (RFC 2308).


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR"])
def test_a_negative_answer_is_kept_for_the_least_of_the_soas_ttl_and_its_last_field(rcode):
    play = Play()
    play.asks("ann", GOOD)
    play.answers(play.sent(), rcode=rcode, authority=[SOA])
    told = play.told("ann")
    assert dns.rcode.to_text(told.rcode()) == rcode
    assert told.authority[0].ttl == 120
    play.waits(119)
    play.asks("bob", GOOD)
    assert play.told("bob").authority[0].ttl == 1
    play.waits(1)
    play.asks("cid", GOOD)
    assert play.sent()


def test_a_negative_answer_without_soa_is_handed_on_but_not_kept():
    play = Play()
    play.asks("ann", GOOD)
    play.answers(play.sent(), rcode="NXDOMAIN")
    assert play.told("ann").rcode() == dns.rcode.NXDOMAIN
    play.asks("bob", GOOD)
    assert play.sent()


def test_a_negative_ttl_is_bounded():
    play = Play()
    play.asks("ann", GOOD)
    play.answers(play.sent(), rcode="NXDOMAIN", authority=["example. 999999 IN SOA a. b. 1 1 1 1 999999"])
    assert play.told("ann").authority[0].ttl == 3600


# Upstreams: retries, failover, health.


def test_a_silent_upstream_is_asked_again_and_a_late_first_answer_still_counts():
    play = Play()
    play.asks("ann", GOOD)
    first = play.sent()
    play.waits(0.7)
    second = play.sent()
    assert first.token in play.open
    assert first.data[:2] != second.data[:2]
    play.answers(first, RECORD)
    assert lines(play.told("ann")) == [RECORD]
    assert not play.open


def test_another_upstream_is_asked_when_the_first_is_silent():
    play = Play(upstreams=("up0", "up1"))
    play.asks("ann", GOOD)
    first = play.sent()
    play.waits(0.7)
    assert play.sent().upstream != first.upstream


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP"])
def test_another_upstream_is_asked_at_once_when_the_first_fails(rcode):
    play = Play(upstreams=("up0", "up1"))
    play.asks("ann", GOOD)
    first = play.sent()
    play.answers(first, rcode=rcode)
    second = play.sent()
    assert second.upstream != first.upstream
    play.answers(second, RECORD)
    assert lines(play.told("ann")) == [RECORD]


def test_when_no_upstream_answers_the_client_is_told_so_before_it_gives_up_itself():
    play = Play(upstreams=("up0", "up1"))
    play.asks("ann", GOOD)
    play.waits(4.6)
    told = play.told("ann")
    assert told.rcode() == dns.rcode.SERVFAIL
    assert [code for code, _ in ede_of(told)] == [22]
    assert not play.open
    assert play.counters.udp["failed"] == 1


def test_a_failure_is_kept_for_some_seconds_so_that_a_dead_zone_costs_little():
    play = Play()
    play.asks("ann", GOOD)
    play.answers(play.sent(), rcode="SERVFAIL")
    play.told("ann")
    play.asks("bob", GOOD)
    assert play.told("bob").rcode() == dns.rcode.SERVFAIL
    assert play.silent()
    play.waits(5)
    play.asks("cid", GOOD)
    assert play.sent()


def test_the_upstreams_own_reason_for_a_failure_is_passed_on():
    play = Play()
    play.asks("ann", GOOD)
    play.answers(play.sent(), rcode="SERVFAIL", ede=6)
    assert [code for code, _ in ede_of(play.told("ann"))] == [6]


def test_refused_sockets_fail_fast():
    play = Play()
    play.asks("ann", GOOD)
    for _ in range(3):
        play.refuses(play.sent())
    assert play.told("ann").rcode() == dns.rcode.SERVFAIL
    assert play.now == 1000.0


def test_upstream_queries_per_client_query_are_bounded():
    play = Play(upstreams=tuple(f"up{i}" for i in range(20)))
    play.asks("ann", GOOD)
    sent = 0
    while play.asked:
        ask = play.asked.pop()
        sent += 1
        play.answers(ask, rcode="SERVFAIL")
    assert sent <= MAX_ATTEMPTS
    assert play.told("ann").rcode() == dns.rcode.SERVFAIL


def fell_silent(play: Play) -> None:
    for i in range(3):
        play.asks("x", f"h{i}.example")
        play.waits(4.6)
    play.asked.clear()
    play.replies.clear()


def test_an_upstream_that_falls_silent_is_called_down_once_and_left_alone():
    play = Play(upstreams=("up0", "up1"))
    # The second one answers, if slowly; the first one is lost whenever it is drawn.
    for i in range(400):
        play.asks("x", f"h{i}.example")
        while play.asked:
            ask = play.asked.pop()
            if ask.upstream == 1:
                play.now += 0.25
                play.answers(ask, f"h{i}.example. 60 IN A 192.0.2.1")
            else:
                play.waits(0.7)
    assert [n for n in play.notes if n.about == "up0"][:1] == [("upstream_down", "up0")]
    assert not play.session.health[0].up
    play.asked.clear()
    play.replies.clear()
    for i in range(20):
        play.asks("y", f"k{i}.example")
        ask = play.sent()
        assert ask.upstream == 1
        play.answers(ask, f"k{i}.example. 60 IN A 192.0.2.1")


def test_a_down_upstream_is_probed_with_growing_gaps_and_comes_back():
    play = Play()
    fell_silent(play)
    assert not play.session.health[0].up
    play.waits(200)
    probes = len(play.asked)
    assert 4 <= probes <= 12
    assert all(dns.message.from_wire(a.data).question[0].name == dns.name.root for a in play.asked)
    play.asked.clear()
    while not play.asked:
        play.waits(1)
    probe = play.sent()
    play.answers(probe, ". 60 IN NS a.root-servers.net.")
    assert play.session.health[0].up
    assert play.notes[-1] == ("upstream_up", "up0")


def test_with_all_upstreams_down_users_queries_still_go_out():
    play = Play()
    fell_silent(play)
    play.asks("ann", GOOD)
    ask = play.asked[-1]
    play.answers(ask, RECORD)
    assert lines(play.told("ann")) == [RECORD]
    assert play.session.health[0].up


# Truncation and TCP.


def test_a_truncated_answer_is_fetched_again_over_tcp():
    play = Play()
    play.asks("ann", GOOD)
    ask = play.sent()
    play.answers(ask, flags=dns.flags.TC)
    again = play.sent()
    assert again.tcp
    play.answers(again, RECORD)
    assert lines(play.told("ann")) == [RECORD]


def big(owner: str = GOOD) -> list[str]:
    return [f"{owner}. 60 IN A 192.0.2.{i}" for i in range(1, 101)]


@pytest.mark.parametrize(("more", "most"), [({"edns": False}, 512), ({}, 1232)])
def test_an_answer_too_large_for_the_client_is_truncated_over_udp_and_whole_over_tcp(more, most):
    play = Play()
    play.asks("ann", GOOD, **more)
    play.answers(play.sent(), *big())
    [(_, data)] = play.replies
    assert len(data) <= most
    told = play.told("ann")
    assert told.flags & dns.flags.TC
    assert not told.answer
    play.asks("ann", GOOD, tcp=True, **more)
    assert len(lines(play.told("ann"))) == 100


# Serve-stale (RFC 8767).


def kept_then_run_out(play: Play) -> None:
    play.asks("ann", GOOD)
    play.answers(play.sent(), RECORD)
    play.told("ann")
    play.waits(100)


def test_a_stale_answer_is_given_when_the_upstream_is_slow_and_renewed_when_it_answers():
    play = Play()
    kept_then_run_out(play)
    play.asks("bob", GOOD)
    ask = play.sent()
    play.waits(1.7)
    assert not play.replies
    play.waits(0.2)
    told = play.told("bob")
    assert lines(told) == ["www.good.example. 30 IN A 192.0.2.1"]
    assert [code for code, _ in ede_of(told)] == [3]
    play.answers(ask, "www.good.example. 60 IN A 192.0.2.2")
    play.asked.clear()
    play.asks("cid", GOOD)
    assert lines(play.told("cid")) == ["www.good.example. 60 IN A 192.0.2.2"]


def test_a_stale_answer_is_given_when_all_upstreams_fail_and_they_are_spared_for_half_a_minute():
    play = Play()
    kept_then_run_out(play)
    play.asks("bob", GOOD)
    play.answers(play.sent(), rcode="SERVFAIL")
    assert [code for code, _ in ede_of(play.told("bob"))] == [3]
    play.asks("cid", GOOD)
    assert lines(play.told("cid")) == ["www.good.example. 30 IN A 192.0.2.1"]
    assert play.silent()
    play.waits(31)
    play.asks("dot", GOOD)
    assert play.sent()
    assert play.counters.udp["stale"] == 2


def test_a_stale_nxdomain_says_that_it_is_one():
    play = Play()
    play.asks("ann", GOOD)
    play.answers(play.sent(), rcode="NXDOMAIN", authority=[SOA])
    play.told("ann")
    play.waits(200)
    play.asks("bob", GOOD)
    play.answers(play.sent(), rcode="SERVFAIL")
    told = play.told("bob")
    assert told.rcode() == dns.rcode.NXDOMAIN
    assert [code for code, _ in ede_of(told)] == [19]


def test_an_answer_older_than_a_day_past_its_life_is_not_given():
    play = Play()
    kept_then_run_out(play)
    play.waits(86_400)
    play.asks("bob", GOOD)
    play.answers(play.sent(), rcode="SERVFAIL")
    assert play.told("bob").rcode() == dns.rcode.SERVFAIL


def test_a_stale_answer_is_judged_by_todays_policy():
    play = Play()
    kept_then_run_out(play)
    play.session.swap(blocks("192.0.2.0/24"))
    play.asks("bob", GOOD)
    play.answers(play.sent(), rcode="SERVFAIL")
    assert play.told("bob").rcode() == dns.rcode.NXDOMAIN


# Policy on answers, fresh and kept; swaps and lapsing.

EVASIONS = {
    "first hop": ["www.good.example. 60 IN CNAME x.bad.example.", "x.bad.example. 60 IN A 198.51.100.1"],
    "last hop": [
        "www.good.example. 60 IN CNAME a.good.example.",
        "a.good.example. 60 IN CNAME b.good.example.",
        "b.good.example. 60 IN CNAME BAD.example.",
        "bad.example. 60 IN A 198.51.100.1",
    ],
    "hop without an end": ["www.good.example. 60 IN CNAME bad.example."],
    "blocked address": ["www.good.example. 60 IN A 192.0.2.66"],
    "one of several addresses": [
        "www.good.example. 60 IN A 198.51.100.1",
        "www.good.example. 60 IN A 192.0.2.66",
    ],
}


@pytest.mark.parametrize("answers", EVASIONS.values(), ids=EVASIONS)
def test_what_leads_to_a_blocked_name_or_address_is_refused_fresh_and_kept_and_after_a_swap(answers):
    bad = blocks("bad.example", "192.0.2.0/24")
    fresh = Play(bad)
    for client in ("ann", "bob"):
        fresh.asks(client, GOOD)
        if fresh.asked:
            fresh.answers(fresh.sent(), *answers, authority=[SOA])
        told = fresh.told(client)
        assert told.rcode() == dns.rcode.NXDOMAIN
        assert ede_of(told)[0][0] == 16
    swapped = Play()
    swapped.asks("ann", GOOD)
    swapped.answers(swapped.sent(), *answers, authority=[SOA])
    assert swapped.told("ann").rcode() == dns.rcode.NOERROR
    swapped.session.swap(bad)
    swapped.asks("bob", GOOD)
    assert swapped.told("bob").rcode() == dns.rcode.NXDOMAIN
    assert swapped.silent(), "judged from the cache"
    swapped.session.swap(blocks())
    swapped.asks("cid", GOOD)
    assert swapped.told("cid").rcode() == dns.rcode.NOERROR, "unblocking travels as fast"


@pytest.mark.parametrize(
    "rdata", ["1 bad.example. alpn=h2", "1 . ipv4hint=192.0.2.66", "1 . ipv6hint=::ffff:192.0.2.66"]
)
def test_service_bindings_are_no_way_past_a_rule(rdata):
    play = Play(blocks("bad.example", "192.0.2.0/24"))
    play.asks("ann", GOOD, "HTTPS")
    play.answers(play.sent(), f"www.good.example. 60 IN HTTPS {rdata}")
    assert play.told("ann").rcode() == dns.rcode.NXDOMAIN


def test_a_rule_lapses_at_its_hour_for_names_and_for_kept_answers():
    play = Play(compiled(rule("192.0.2.0/24", expires=HOUR + 1), rule("bad.example", expires=HOUR + 1, number=2)))
    play.asks("ann", GOOD)
    play.answers(play.sent(), RECORD)
    assert play.told("ann").rcode() == dns.rcode.NXDOMAIN
    play.session.turn(HOUR + 1, 0.0)
    play.asks("ann", GOOD)
    assert lines(play.told("ann")) == [RECORD]
    play.asks("ann", "bad.example")
    assert play.sent()


def test_a_query_is_judged_to_its_end_by_the_policy_it_came_in_under():
    play = Play(blocks("bad.example"))
    play.asks("old", GOOD)
    play.session.swap(blocks("192.0.2.0/24"))
    play.asks("new", GOOD)
    play.answers(play.sent(), RECORD)
    by_client = {client: dns.message.from_wire(data).rcode() for client, data in play.replies}
    assert by_client == {"old": dns.rcode.NOERROR, "new": dns.rcode.NXDOMAIN}


def test_an_operators_exception_ends_the_matter_also_for_addresses():
    play = Play(blocks("192.0.2.0/24", "good.example", exceptions=["good.example"]))
    play.asks("ann", GOOD)
    play.answers(play.sent(), RECORD)
    assert lines(play.told("ann")) == [RECORD]
    play.asks("bob", GOOD)
    assert lines(play.told("bob")) == [RECORD]


def test_drop_says_nothing():
    play = Play(compiled(rule("bad.example", Action.DROP)))
    play.asks("ann", "bad.example")
    assert play.silent()
    assert play.counters.blocked["gambling", "drop"] == 1


def test_tcp_only_sends_udp_clients_to_tcp_and_answers_there():
    play = Play(compiled(rule("good.example", Action.TCP_ONLY)))
    play.asks("ann", GOOD)
    assert play.told("ann").flags & dns.flags.TC
    play.asks("ann", GOOD, tcp=True)
    play.answers(play.sent(), RECORD)
    assert lines(play.told("ann")) == [RECORD]


def test_local_addresses_are_given():
    play = Play(compiled(rule("bad.example", Action.LOCAL, data="203.0.113.9")))
    play.asks("ann", "bad.example")
    assert lines(play.told("ann")) == ["bad.example. 300 IN A 203.0.113.9"]


def test_a_local_name_comes_with_its_addresses_asked_for_once():
    play = Play(compiled(rule("bad.example", Action.LOCAL, data="notice.tpa.example")))
    play.asks("ann", "bad.example")
    ask = play.sent()
    assert dns.message.from_wire(ask.data).question[0].name.to_text().lower() == "notice.tpa.example."
    play.answers(ask, "notice.tpa.example. 900 IN A 203.0.113.9")
    expected = ["bad.example. 300 IN CNAME notice.tpa.example.", "notice.tpa.example. 300 IN A 203.0.113.9"]
    assert lines(play.told("ann")) == expected
    play.asks("bob", "bad.example")
    assert lines(play.told("bob")) == expected
    assert play.silent()


def test_a_local_name_that_cannot_be_resolved_still_gives_the_alias():
    play = Play(compiled(rule("bad.example", Action.LOCAL, data="notice.tpa.example")))
    play.asks("ann", "bad.example")
    play.answers(play.sent(), rcode="SERVFAIL")
    assert lines(play.told("ann")) == ["bad.example. 300 IN CNAME notice.tpa.example."]


def test_canaries_are_seen_and_left_out_of_the_blocked_counters():
    canary = Canary(name="canary.tpa.example", action=Action.NXDOMAIN)
    play = Play(compiled(canaries=[canary]))
    play.session.turn(HOUR, 1_800_000_000.0)
    play.asks("prober", "canary.tpa.example")
    assert play.told("prober").rcode() == dns.rcode.NXDOMAIN
    assert play.counters.canaries["nxdomain"] == 1_800_000_000.0
    assert not any(play.counters.blocked.values())
    assert play.counters.udp["canary"] == 1


def test_an_exception_is_no_canary():
    play = Play(blocks(exceptions=["good.example"]))
    play.session.turn(HOUR, 1_800_000_000.0)
    play.asks("ann", GOOD)
    assert not any(play.counters.canaries.values())


# What is no question for us.


def test_any_gets_one_small_record():
    play = Play()
    play.asks("ann", GOOD, "ANY")
    assert [line.split()[3] for line in lines(play.told("ann"))] == ["HINFO"]
    assert play.silent()


@pytest.mark.parametrize("rtype", ["AXFR", "TKEY", "TYPE41", "MAILA", "TYPE0"])
def test_transfers_and_meta_types_are_refused(rtype):
    play = Play()
    play.asks("ann", GOOD, rtype, tcp=True)
    assert play.told("ann").rcode() == dns.rcode.REFUSED
    assert play.silent()


def test_other_classes_are_refused():
    play = Play()
    play.asks("ann", "version.bind", "TXT", rdclass="CH")
    assert play.told("ann").rcode() == dns.rcode.REFUSED


def test_a_query_without_rd_learns_what_is_kept_and_no_more():
    play = Play()
    without = bytearray(query(GOOD))
    without[2] &= 0xFE
    play.says("ann", bytes(without))
    assert play.told("ann").rcode() == dns.rcode.REFUSED
    play.asks("ann", GOOD)
    play.answers(play.sent(), RECORD)
    play.told("ann")
    play.says("ann", bytes(without))
    assert lines(play.told("ann")) == [RECORD]


def test_answers_sent_to_us_are_not_answered():
    play = Play()
    play.says("ann", response(query(GOOD), RECORD))
    play.says("ann", b"\0" * 11)
    assert play.silent()
    assert play.counters.udp["dropped"] == 2


def test_other_opcodes_are_not_implemented():
    play = Play()
    data = bytearray(query(GOOD))
    data[2] |= 5 << 3
    play.says("ann", bytes(data))
    [(_, reply)] = play.replies
    assert reply[3] & 15 == dns.rcode.NOTIMP


def test_later_versions_of_edns_are_answered_with_badvers():
    play = Play()
    made = dns.message.make_query(GOOD, "A", use_edns=0)
    made.use_edns(1)
    play.says("ann", made.to_wire())
    assert play.told("ann").rcode() == dns.rcode.BADVERS


# Hostile upstreams and forgers.


def forged(ask, **changes) -> bytes:
    """The true answer with one thing wrong."""
    data = bytearray(response(ask.data, "www.good.example. 60 IN A 203.0.113.6"))
    if "id" in changes:
        data[0] ^= 0xFF
    if "name" in changes:
        data[13] = ord("v") if data[13] | 32 == ord("w") else ord("w")
    if "type" in changes:
        data[12 + 18 + 1] = 28
    if "qr" in changes:
        data[2] &= 0x7F
    if "case" in changes:
        data[13] ^= 0x20
    return bytes(data)


@pytest.mark.parametrize("wrong", ["id", "name", "type", "qr"])
def test_an_answer_that_does_not_fit_is_ignored_while_the_wait_goes_on(wrong):
    play = Play()
    play.asks("ann", GOOD)
    ask = play.sent()
    play.hears(ask, forged(ask, **{wrong: True}))
    assert play.silent()
    assert play.counters.near_misses == 1
    play.answers(ask, RECORD)
    assert lines(play.told("ann")) == [RECORD]


def test_after_some_near_misses_the_question_moves_to_tcp():
    play = Play()
    play.asks("ann", GOOD)
    ask = play.sent()
    for _ in range(8):
        play.hears(ask, forged(ask, id=True))
    again = play.sent()
    assert again.tcp
    assert list(play.open) == [again.token], "nothing that comes over UDP counts any more"
    play.hears(ask, response(ask.data, "www.good.example. 60 IN A 203.0.113.6"))
    assert not play.replies
    play.answers(again, RECORD)
    assert lines(play.told("ann")) == [RECORD]


def test_an_answer_in_another_spelling_is_not_taken_over_udp_but_asked_again_over_tcp():
    play = Play()
    play.asks("ann", GOOD)
    ask = play.sent()
    play.hears(ask, forged(ask, case=True))
    assert not play.replies
    again = play.sent()
    assert again.tcp
    play.answers(again, RECORD)
    assert lines(play.told("ann")) == [RECORD]
    assert play.session.health[0].keeps_case(play.now), "a forger's spelling says nothing of the upstream"


def test_an_upstream_that_folds_case_also_over_tcp_is_spared_the_mixing_for_an_hour():
    play = Play()
    play.asks("ann", GOOD)
    ask = play.sent()
    play.hears(ask, response(ask.data, RECORD).replace(ask.data[12:29], ask.data[12:29].lower()))
    again = play.sent()
    folded = response(again.data, RECORD)
    play.hears(again, folded[:12] + folded[12:29].lower() + folded[29:])
    assert lines(play.told("ann")) == [RECORD]
    play.asks("bob", "other.good.example")
    asked = play.sent().data
    assert asked[12:32] == asked[12:32].lower()
    play.waits(3700)
    play.asked.clear()
    assert play.session.health[0].keeps_case(play.now)


def test_random_ids_and_letters_differ_from_attempt_to_attempt():
    play = Play()
    for i in range(50):
        play.asks("ann", f"host{i:02}.some.long.name.of.many.letters.example")
    ids = {ask.data[:2] for ask in play.asked}
    cases = {ask.data[19:60].swapcase() for ask in play.asked}
    assert len(ids) > 45
    assert len(cases) > 45


def test_mixing_case_changes_nothing_but_letters():
    name = b"\x03a-1\x07example\x3f" + b"z" * 63 + b"\0"
    for seed in range(50):
        assert mixed_case(name, Random(seed)).lower() == name


def test_nothing_beyond_the_questions_chain_is_kept_or_handed_on():
    play = Play()
    play.asks("ann", GOOD)
    play.answers(
        play.sent(),
        RECORD,
        "bank.example. 60 IN A 203.0.113.66",
        authority=["com. 60 IN NS ns.evil.example."],
        additional=["ns.evil.example. 60 IN A 203.0.113.66"],
    )
    told = play.told("ann")
    assert lines(told) == [RECORD]
    assert not told.authority
    assert not told.additional
    play.asks("bob", "bank.example")
    assert play.sent(), "nothing was learned about another name"


def chain(hops: int) -> list[str]:
    names = [GOOD, *(f"h{i}.example" for i in range(1, hops + 1))]
    made = [f"{a}. 60 IN CNAME {b}." for a, b in pairwise(names)]
    return [*made, f"{names[-1]}. 60 IN A 192.0.2.1"]


def test_a_chain_of_eleven_aliases_is_followed_and_one_of_twelve_is_not():
    for hops, rcode in ((11, dns.rcode.NOERROR), (12, dns.rcode.SERVFAIL)):
        play = Play()
        play.asks("ann", GOOD)
        play.answers(play.sent(), *chain(hops))
        assert play.told("ann").rcode() == rcode


def test_an_alias_that_leads_to_itself_is_a_failure():
    play = Play()
    play.asks("ann", GOOD)
    play.answers(play.sent(), "www.good.example. 60 IN CNAME a.example.", "a.example. 60 IN CNAME www.good.example.")
    assert play.told("ann").rcode() == dns.rcode.SERVFAIL


def test_a_referral_is_no_answer():
    play = Play()
    play.asks("ann", GOOD)
    play.answers(play.sent(), authority=["example. 60 IN NS ns.example."])
    assert play.told("ann").rcode() == dns.rcode.SERVFAIL


def test_signatures_reach_those_who_asked_for_them_and_nobody_else():
    signed = "www.good.example. 60 IN RRSIG A 13 3 60 20270101000000 20260101000000 1 example. AAAA"
    for do in (True, False):
        play = Play()
        play.asks("ann", GOOD, do=do)
        play.answers(play.sent(), RECORD, signed)
        assert len(lines(play.told("ann"))) == 1 + do


@pytest.mark.parametrize("cut", [12, 30, 45, 50])
def test_a_torn_answer_is_a_lost_attempt_and_not_the_end(cut):
    play = Play(upstreams=("up0", "up1"))
    play.asks("ann", GOOD)
    ask = play.sent()
    play.hears(ask, response(ask.data, RECORD)[:cut])
    if not play.asked:
        play.waits(0.7)
    play.answers(play.sent(), RECORD)
    assert lines(play.told("ann")) == [RECORD]


def test_a_thousand_random_names_keep_every_bound():
    play = Play(config={"cache_bytes": 100_000, "max_outstanding": 50})
    for i in range(1000):
        play.asks("flood", f"r{i}.victim.example")
        for ask in play.asked[: 1 if i % 2 else 0]:
            play.answers(ask, rcode="NXDOMAIN", authority=[SOA])
            play.asked.remove(ask)
        play.waits(0.001)
    assert play.session.cache.bytes <= 100_000
    assert len(play.session.asking) <= 50
    assert len(play.open) <= 50 * MAX_ATTEMPTS
