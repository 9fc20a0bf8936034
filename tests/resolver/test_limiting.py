"""How many answers a network gets over UDP, and who is never limited."""

import socket

import dns.flags
import dns.rcode
import pytest

from resolver.limiting import ANSWERS_PER_SECOND, BURST_SECONDS, Limiter, network
from tests.resolver.live import plain_list, resolver, upstream
from tests.resolver.play import Play, blocks, query
from tests.resolver.test_cookie import CLIENT_COOKIE, cookie, cookie_of


def flood(limiter: Limiter, host: str, kind: str, count: int, now: float) -> int:
    """How many of them were let through."""
    return sum(not limiter.over(host, kind, now) for _ in range(count))


def test_a_network_gets_its_burst_and_then_the_rate():
    limiter = Limiter(100)
    assert 400 <= flood(limiter, "192.0.2.1", "answer", 1000, 0.0) <= 401
    assert flood(limiter, "192.0.2.1", "answer", 1000, 1.0) in (100, 101)
    assert flood(limiter, "192.0.2.1", "answer", 1000, 1.5) in (49, 50, 51)


def test_networks_and_kinds_are_counted_apart_and_addresses_of_one_network_together():
    limiter = Limiter(1)
    flood(limiter, "192.0.2.1", "answer", 100, 0.0)
    assert limiter.over("192.0.2.200", "answer", 0.0)
    assert not limiter.over("192.0.3.1", "answer", 0.0)
    assert not limiter.over("192.0.2.1", "blocked", 0.0)
    flood(limiter, "2001:db8:0:100::1", "answer", 100, 0.0)
    assert limiter.over("2001:db8:0:1ff::9", "answer", 0.0)
    assert not limiter.over("2001:db8:0:200::1", "answer", 0.0)


def test_a_link_local_address_with_its_interface_is_an_address_too():
    assert network("fe80::1%eth0") == network("fe80::2%eth0")


def test_the_table_is_bounded_and_a_flood_of_sources_does_not_wash_out_a_limited_network():
    limiter = Limiter(1, max_networks=50)
    flood(limiter, "192.0.2.1", "answer", 100, 0.0)
    for i in range(500):
        limiter.over(f"10.0.{i % 250}.{i // 250}", "answer", 0.0)
        assert len(limiter) <= 50
        assert i % 10 or limiter.over("192.0.2.1", "answer", 0.0)


@pytest.mark.parametrize(("burst", "per_second"), [(300, 20), (3000, 900)])
def test_by_default_neither_a_household_nor_a_network_of_256_of_them_is_ever_limited(burst, per_second):
    limiter = Limiter(ANSWERS_PER_SECOND)
    assert flood(limiter, "192.0.2.1", "answer", burst, 0.0) == burst
    for second in range(1, 120):
        assert flood(limiter, "192.0.2.1", "answer", per_second, float(second)) == per_second
    assert BURST_SECONDS * ANSWERS_PER_SECOND >= 4000


def limited(play: Play, host: str = "192.0.2.77", **more) -> None:
    """Ask until the limit is met; the replies so far are forgotten."""
    for _query in range(10):
        play.asks("ann", "bad.example", host=host, **more)
    assert len(play.replies) < 10
    play.replies.clear()


def test_over_the_limit_every_second_answer_is_a_short_one_that_says_tcp_and_the_rest_are_not_sent():
    play = Play(blocks("bad.example"), config={"rate_limit": 1})
    limited(play)
    before = play.counters.limited.copy()
    for _query in range(4):
        play.asks("bob", "bad.example")
    assert len(play.replies) == 2
    for _who, data in play.replies:
        assert data[2] & dns.flags.TC >> 8
        assert len(data) <= len(query("bad.example")), "no more octets than the query had"
    assert play.counters.limited["shortened"] - before["shortened"] == 2
    assert play.counters.limited["dropped"] - before["dropped"] == 2


def test_answers_from_the_cache_and_from_the_upstream_and_errors_are_limited_alike():
    play = Play(config={"rate_limit": 1, "max_outstanding": 1000})
    for i in range(20):
        play.asks("ann", f"host{i}.example")
        play.answers(play.asked.pop(), f"host{i}.example. 60 IN A 192.0.2.1")
    assert len(play.replies) < 15
    play.replies.clear()
    for _query in range(20):
        play.asks("ann", "host1.example", host="203.0.113.1")
    assert len(play.replies) < 15
    play.replies.clear()
    for _query in range(20):
        play.says("ann", query("host1.example")[:-12] + b"?", host="203.0.113.1")
    assert len(play.replies) < 15


def test_a_client_with_our_cookie_over_tcp_or_on_this_machine_is_never_limited():
    play = Play(blocks("bad.example"), config={"rate_limit": 1})
    play.asks("ann", "bad.example", **cookie(CLIENT_COOKIE))
    proof = cookie_of(play.told("ann"))
    limited(play)
    for _query in range(20):
        play.asks("ann", "bad.example", **cookie(proof))
        assert play.told("ann").rcode() == dns.rcode.NXDOMAIN
        play.asks("ann", "bad.example", tcp=True)
        assert play.told("ann").rcode() == dns.rcode.NXDOMAIN
        play.says("ann", query("bad.example"), local=True)
        assert play.told("ann").rcode() == dns.rcode.NXDOMAIN


def test_a_client_that_speaks_cookies_is_told_badcookie_and_gets_through_with_the_one_it_brings():
    play = Play(blocks("bad.example"), config={"rate_limit": 1})
    limited(play)
    while not play.replies:
        play.asks("ann", "bad.example", **cookie(CLIENT_COOKIE))
    told = play.told("ann")
    assert told.rcode() == dns.rcode.BADCOOKIE
    play.asks("ann", "bad.example", **cookie(cookie_of(told)))
    assert play.told("ann").rcode() == dns.rcode.NXDOMAIN


def test_no_limit_means_no_limit():
    play = Play(blocks("bad.example"), config={"rate_limit": 0})
    for _query in range(6000):
        play.asks("ann", "bad.example")
    assert len(play.replies) == 6000


def test_the_metrics_show_limits_and_cookies_from_the_start():
    from resolver.metrics import Figures, ResolverCollector, Standing, exposition

    collector = ResolverCollector(Figures(Play().counters), Standing())
    text = exposition(collector).decode()
    for line in (
        'blocker_dns_limited_total{result="shortened"} 0.0',
        'blocker_dns_limited_total{result="dropped"} 0.0',
        'blocker_dns_cookies_total{result="given"} 0.0',
        'blocker_dns_cookies_total{result="proven"} 0.0',
    ):
        assert line in text


def test_a_running_resolver_limits_a_flood_and_writes_no_address_anywhere(tmp_path):
    options = ["--list", str(plain_list(tmp_path, "bad.com")), "--trial", "--rate-limit", "10"]
    with (
        upstream() as double,
        resolver(tmp_path, [double.address], *options, hosts=("0.0.0.0",)) as live,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood,
    ):
        flood.bind(("127.0.0.77", 0))
        flood.settimeout(0.5)
        for _query in range(300):
            flood.sendto(query("bad.com"), ("127.0.0.1", live.port))
        answers = []
        while len(answers) < 300:
            try:
                answers.append(flood.recv(4096))
            except TimeoutError:
                break
        whole = [data for data in answers if not data[2] & 2]
        assert 40 <= len(whole) < 80
        assert 90 <= len(answers) - len(whole) <= 140, "half of the rest say TCP"
        assert live.asks("bad.com", tcp=True).rcode() == dns.rcode.NXDOMAIN
        shown = live.exposition()
        assert live.metrics()['blocker_dns_limited_total{result="dropped"}'] > 90
    for text in (shown, live.log_path.read_text()):
        assert "127.0.0.77" not in text
        assert "127.0.0.0/" not in text
