"""What independent programs see of the resolver: dig its answers and reasons, promtool its metrics."""

import subprocess
from collections.abc import Callable, Iterator

import pytest

from feeds.rule import Action
from tests.resolver.live import LiveResolver, accept, resolver, upstream
from tests.resolver.play import rule

pytestmark = pytest.mark.interop
FUTURE = 2_000_000


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveResolver]:
    where = tmp_path_factory.mktemp("dig")
    accept(
        where / "state",
        3,
        rule("bad.com", expires=FUTURE, number=1),
        rule("empty.com", Action.NODATA, expires=FUTURE, number=2),
        rule("page.com", Action.LOCAL, data="203.0.113.9,2001:db8::9", expires=FUTURE, number=3),
        rule("stream.com", Action.TCP_ONLY, expires=FUTURE, number=4),
        rule("quiet.com", Action.DROP, expires=FUTURE, number=5),
    )
    with upstream() as double, resolver(where, [double.address], "--state", str(where / "state")) as made:
        yield made


@pytest.fixture
def dig(live: LiveResolver, need_program: Callable[[str, str], str]) -> Callable[..., str]:
    program = need_program("dig", "bind9-dnsutils")

    def run(*arguments: str) -> str:
        command = [program, "@127.0.0.1", "-p", str(live.port), "+tries=1", "+time=2", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout

    return run


def test_dig_shows_the_reason_and_the_contact(dig):
    seen = dig("www.bad.com", "A")
    assert "status: NXDOMAIN" in seen
    assert "EDE: 16 (Censored): (entry tpa:1; decision 12/QD-2026; objections objections@tpa.example)" in seen
    assert "objections.tpa.example." in seen, "the RNAME, for those without EDNS"


def test_dig_takes_our_cookie_and_finds_it_good_the_second_time(dig, live):
    seen = dig("www.bad.com", "A", "+cookie=0123456789abcdef")
    [line] = [line for line in seen.splitlines() if "COOKIE:" in line]
    assert line.endswith("(good)"), line
    cookie = line.split()[2]
    assert cookie.startswith("0123456789abcdef01000000")
    before = live.metrics()['blocker_dns_cookies_total{result="proven"}']
    assert f"COOKIE: {cookie} (good)" in dig("www.good.com", "A", f"+cookie={cookie}")
    assert live.metrics()['blocker_dns_cookies_total{result="proven"}'] == before + 1


def test_dig_asks_for_a_structured_error_and_gets_json(dig):
    seen = dig("www.bad.com", "A", "+ednsopt=26")
    assert 'EDE: 16 (Censored): ({"c":["mailto:objections@tpa.example"],"j":"entry tpa:1;' in seen


@pytest.mark.parametrize("how", ["+noedns", "+dnssec", "+cdflag", "+tcp", "+adflag"])
def test_no_way_of_asking_gets_past_a_rule(dig, how):
    seen = dig("www.bad.com", "A", how)
    assert "status: NXDOMAIN" in seen
    assert "ANSWER: 0" in seen
    assert "SOA" in seen
    flags = seen.partition("flags:")[2].partition(";")[0]
    assert "ad" not in flags.split()


def test_each_action_is_what_dig_sees(dig):
    nodata = dig("empty.com", "A")
    assert "status: NOERROR" in nodata
    assert "ANSWER: 0" in nodata
    assert "203.0.113.9" in dig("page.com", "A", "+short")
    assert "2001:db8::9" in dig("page.com", "AAAA", "+short")
    assert "tc" in dig("stream.com", "A", "+ignore").partition("flags:")[2].partition(";")[0]
    assert "192.0.2.1" in dig("stream.com", "A", "+short"), "dig goes on to TCP by itself"
    assert "no servers could be reached" in dig("quiet.com", "A")


def test_any_is_minimal_and_transfers_are_refused(dig):
    assert 'HINFO	"RFC8482"' in dig("free.net", "ANY")
    assert "Transfer failed" in dig("free.net", "AXFR")


def test_cookies_and_unknown_options_do_no_harm(dig):
    assert "192.0.2.1" in dig("cookie.net", "A", "+short", "+cookie", "+nsid", "+subnet=192.0.2.0/24")


def test_promtool_finds_no_fault_in_the_metrics(live, need_program):
    promtool = need_program("promtool", "prometheus")
    text = live.exposition()
    run = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert not run.stderr.strip(), run.stderr
