"""Whatever befalls the state directory or the control process, the resolver answers with the last good release."""

import signal
import socket
import threading
import time
from pathlib import Path

import dns.rcode
import pytest

from feeds.rule import hours
from tests.resolver.live import LiveResolver, UpstreamDouble, accept, plain_list, resolver, upstream
from tests.resolver.play import query, rule

FUTURE = 2_000_000
NXDOMAIN, NOERROR = dns.rcode.NXDOMAIN, dns.rcode.NOERROR


def a_rule(name: str, number: int = 1):
    return rule(name, expires=FUTURE, number=number)


@pytest.fixture
def double():
    with upstream() as made:
        yield made


def serial(live: LiveResolver) -> float:
    return live.metrics()["blocker_dns_release_serial"]


def test_a_new_release_is_taken_up_by_itself_and_unblocks_as_fast(tmp_path: Path, double: UpstreamDouble):
    state = tmp_path / "state"
    accept(state, 1, a_rule("one.com"))
    with resolver(tmp_path, [double.address], "--state", str(state)) as live:
        assert (live.asks("one.com").rcode(), live.asks("two.com").rcode()) == (NXDOMAIN, NOERROR)
        accept(state, 2, a_rule("two.com"))
        live.waits_for("enforcing", 2)
        assert (live.asks("one.com").rcode(), live.asks("two.com").rcode()) == (NOERROR, NXDOMAIN)
        assert serial(live) == 2


def test_with_the_state_directory_gone_it_answers_on_and_says_that_it_cannot_reload(tmp_path, double):
    state = tmp_path / "state"
    accept(state, 1, a_rule("one.com"))
    with resolver(tmp_path, [double.address], "--state", str(state)) as live:
        # In one step: the compiled list may just be written into it.
        state.rename(tmp_path / "gone")
        time.sleep(0.7)
        assert live.asks("one.com").rcode() == NXDOMAIN
        live.process.send_signal(signal.SIGHUP)
        live.waits_for("load_failed")
        assert live.asks("one.com").rcode() == NXDOMAIN
        assert live.asks("free.net").rcode() == NOERROR
        assert live.metrics()["blocker_dns_swap_failures_total"] == 1
        accept(state, 2, a_rule("two.com"))
        live.waits_for("enforcing", 2)
        assert live.asks("two.com").rcode() == NXDOMAIN


@pytest.mark.parametrize("name", ["release.zst", "manifest.json", "note.json"])
def test_a_damaged_newest_release_leaves_the_one_before_it_in_force(tmp_path, double, name):
    state = tmp_path / "state"
    accept(state, 1, a_rule("one.com"))
    accept(state, 2, a_rule("two.com"))
    newest = max((state / "releases").iterdir())
    (newest / name).write_bytes((newest / name).read_bytes()[:-5])
    with resolver(tmp_path, [double.address], "--state", str(state)) as live:
        assert live.asks("one.com").rcode() == NXDOMAIN
        assert live.waits_for("release_damaged")
        assert serial(live) == 1


def test_open_it_answers_before_the_first_release_and_enforces_once_it_is_there(tmp_path, double):
    state = tmp_path / "state"
    state.mkdir()
    with resolver(tmp_path, [double.address], "--state", str(state), "--open", wait=False) as live:
        live.waits_for("open")
        assert live.asks("one.com").rcode() == NOERROR
        assert live.metrics()["blocker_dns_open"] == 1
        accept(state, 1, a_rule("one.com"))
        live.waits_for("enforcing")
        assert live.asks("one.com").rcode() == NXDOMAIN
        assert live.metrics()["blocker_dns_open"] == 0


def test_a_rule_that_lapsed_before_the_start_is_not_enforced(tmp_path, double):
    from datetime import UTC, datetime

    state = tmp_path / "state"
    accept(state, 1, rule("old.com", expires=hours(datetime.now(UTC))), a_rule("one.com", 2))
    with resolver(tmp_path, [double.address], "--state", str(state)) as live:
        assert (live.asks("old.com").rcode(), live.asks("one.com").rcode()) == (NOERROR, NXDOMAIN)


def test_a_clock_that_was_ahead_once_does_not_revive_lapsed_rules(tmp_path, double):
    from datetime import UTC, datetime, timedelta

    state = tmp_path / "state"
    now = datetime.now(UTC)
    store = accept(state, 1, rule("old.com", expires=hours(now) + 2), a_rule("one.com", 2))
    store.clock(now + timedelta(hours=5))
    with resolver(tmp_path, [double.address], "--state", str(state)) as live:
        until = time.monotonic() + 5
        while live.asks("old.com").rcode() == NXDOMAIN and time.monotonic() < until:
            time.sleep(0.05)
        assert (live.asks("old.com").rcode(), live.asks("one.com").rcode()) == (NOERROR, NXDOMAIN)


def test_a_list_is_read_again_on_sighup_and_a_bad_one_changes_nothing(tmp_path, double):
    names = plain_list(tmp_path, "one.com")
    with resolver(tmp_path, [double.address], "--list", str(names)) as live:
        plain_list(tmp_path, "two.com")
        live.process.send_signal(signal.SIGHUP)
        live.waits_for("enforcing", 2)
        assert (live.asks("one.com").rcode(), live.asks("two.com").rcode()) == (NOERROR, NXDOMAIN)
        plain_list(tmp_path, "com")
        live.process.send_signal(signal.SIGHUP)
        live.waits_for("load_failed")
        assert live.asks("two.com").rcode() == NXDOMAIN


def test_ten_swaps_under_load_lose_no_query_and_no_answer_mixes_releases(tmp_path, double):
    """Each release blocks `always.com` and one name of its own; every query is answered, `always.com` refused."""
    state = tmp_path / "state"
    filler = [a_rule(f"filler{i}.com", i + 10) for i in range(3000)]
    accept(state, 1, a_rule("always.com"), a_rule("own1.com", 2), *filler)
    with resolver(tmp_path, [double.address], "--state", str(state)) as live:
        wrong: list[str] = []
        asked = [0]
        stop = threading.Event()

        def ask() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(2)
                sock.connect(("127.0.0.1", live.port))
                for i in range(1_000_000):
                    if stop.is_set():
                        return
                    name = "x.always.com" if i % 2 else "free.net"
                    sock.send(query(name, id=i & 0xFFFF))
                    try:
                        reply = sock.recv(2000)
                    except TimeoutError:
                        wrong.append(f"{name} lost")
                        continue
                    if reply[:2] != (i & 0xFFFF).to_bytes(2, "big") or reply[3] & 15 != (3 if i % 2 else 0):
                        wrong.append(f"{name} {reply[:4].hex()}")
                    asked[0] += 1

        asker = threading.Thread(target=ask)
        asker.start()
        try:
            for number in range(2, 12):
                accept(state, number, a_rule("always.com"), a_rule(f"own{number}.com", 2), *filler)
                live.waits_for("enforcing", number)
        finally:
            stop.set()
            asker.join()
        assert not wrong
        assert asked[0] > 500
        assert serial(live) == 11
        assert live.metrics()["blocker_dns_faults_total"] == 0
