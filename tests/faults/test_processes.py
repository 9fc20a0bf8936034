"""kill -9 of any process of the resolver: the others keep answering, and all is back within two seconds."""

import os
import pwd
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import dns.edns
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.faults.family import ended_at_last, family, lives, until
from tests.load.sending import Result, sending
from tests.load.upstream import fast_upstream
from tests.resolver.live import LiveResolver, accept, plain_list, resolver
from tests.resolver.play import query, rule

FUTURE = 2_000_000
BACK_SECONDS = 2.0
RATE = 400  # queries a second, far below what one lane answers
LOST_MOST = RATE // 10  # what a lane may leave unread in its sockets on a machine that is busy for a tenth of a second
NAMES = ("listed.com", "free.net")
NXDOMAIN, NOERROR = dns.rcode.NXDOMAIN, dns.rcode.NOERROR


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with fast_upstream() as found:
        yield found


def a_rule(name: str = "listed.com"):
    return rule(name, expires=FUTURE)


class Load:
    """Steady queries from another process, each answered as it should be or lost."""

    def __init__(self, tmp_path: Path, live: LiveResolver, seconds: float) -> None:
        queries = [query(name) for name in NAMES]
        self._sending = sending(tmp_path, live.port, queries, seconds=seconds, rate=RATE, sockets=16)

    def __enter__(self) -> "Load":
        self._sender = self._sending.__enter__()
        time.sleep(0.5)
        return self

    def __exit__(self, *why: object) -> None:
        self._sending.__exit__(*why)

    def result(self) -> Result:
        found = self._sender.result()
        for fate in found.fates:
            assert fate.lost or fate.rcode == (NXDOMAIN if fate.which == 0 else NOERROR), fate
        return found


def back(live: LiveResolver, parent: int, lanes: int = 2) -> float:
    """Seconds until every process is there and all lanes answer."""

    def whole() -> bool:
        there = family(parent)
        if (len(there["lane"]), len(there["control"]), len(there["standby"])) != (lanes, 1, 1):
            return False
        try:
            metrics = live.metrics()
        except URLError:
            return False
        return metrics["blocker_dns_lanes"] == lanes and metrics["blocker_dns_control_up"] == 1

    return until(whole)


def all_asked(live: LiveResolver, count: int = 40) -> list[int]:
    """The rcodes of a listed name, asked from so many ports that every lane is met."""
    return [int(live.asks("listed.com").rcode()) for _ in range(count)]


def test_with_a_lane_killed_the_other_answers_and_it_is_back_with_the_release_in_force(tmp_path: Path, address: str):
    state = tmp_path / "state"
    accept(state, 1, a_rule("old.com"))
    with resolver(tmp_path, [address], "--state", str(state), lanes=2) as live:
        accept(state, 2, a_rule())
        live.waits_for("enforcing", 2)
        parent = live.process.pid
        back(live, parent)
        with Load(tmp_path, live, 4) as load:
            victim = family(parent)["lane"][0]
            os.kill(victim, signal.SIGKILL)
            # All that counts from here on: a lane that is started again must not answer before it enforces.
            took = back(live, parent)
            assert victim not in family(parent)["lane"]
            result = load.result()
        print(f"back in {took:.2f} s; {result.text()}")
        assert took < BACK_SECONDS
        assert result.lost <= LOST_MOST
        assert set(all_asked(live)) == {NXDOMAIN}
        metrics = live.metrics()
        assert metrics['blocker_dns_restarts_total{process="lane"}'] == 1
        assert metrics["blocker_dns_faults_total"] == 0


def test_when_a_release_is_said_to_be_enforced_every_lane_enforces_it(tmp_path: Path, address: str):
    state = tmp_path / "state"
    accept(state, 1, a_rule())
    with resolver(tmp_path, [address], "--state", str(state), lanes=3) as live:
        for serial in range(2, 8):
            accept(state, serial, a_rule("listed.com" if serial % 2 else "other.com"))
            live.waits_for("enforcing", serial)
            assert set(all_asked(live)) == {NXDOMAIN if serial % 2 else NOERROR}
        assert live.metrics()["blocker_dns_swaps_total"] == 7


def test_with_the_control_process_killed_nothing_is_lost_and_releases_come_again(tmp_path: Path, address: str):
    state = tmp_path / "state"
    accept(state, 1, a_rule())
    with resolver(tmp_path, [address], "--state", str(state), lanes=2) as live:
        parent = live.process.pid
        back(live, parent)
        with Load(tmp_path, live, 3) as load:
            [control] = family(parent)["control"]
            os.kill(control, signal.SIGKILL)
            live.waits_for("control_lost")
            took = back(live, parent)
            result = load.result()
        print(f"back in {took:.2f} s; {result.text()}")
        assert took < BACK_SECONDS
        assert result.lost == 0
        accept(state, 2, a_rule("new.com"))
        assert live.waits_for("enforcing", 2)[-1]["serial"] == 2, "and the one in force was not swapped in again"
        assert live.asks("new.com").rcode() == NXDOMAIN
        assert live.metrics()['blocker_dns_restarts_total{process="control"}'] == 1


def test_with_the_parent_killed_its_lanes_answer_until_those_of_the_standby_do(tmp_path: Path, address: str):
    state = tmp_path / "state"
    accept(state, 1, a_rule())
    with resolver(tmp_path, [address], "--state", str(state), lanes=2) as live, ended_at_last(live):
        parent = live.process.pid
        back(live, parent)
        old = [pid for pids in family(parent).values() for pid in pids]
        with Load(tmp_path, live, 5) as load:
            [standby] = family(parent)["standby"]
            os.kill(parent, signal.SIGKILL)
            live.process.wait(5)
            took = until(lambda: any(line["event"] == "took_over" for line in live.log()))
            took += back(live, standby)
            until(lambda: not any(lives(pid) for pid in old if pid != standby), 5)
            result = load.result()
        print(f"back in {took:.2f} s; {result.text()}")
        assert took < BACK_SECONDS
        assert result.lost == 0
        accept(state, 2, a_rule("new.com"))
        assert live.waits_for("enforcing", 3, bereft=True)[-1]["serial"] == 2
        assert live.asks("new.com").rcode() == NXDOMAIN
        assert back(live, standby) < BACK_SECONDS, "and there is an standby process again"


def test_with_parent_after_parent_killed_at_once_there_is_one_more(tmp_path: Path, address: str):
    names = plain_list(tmp_path, "listed.com")
    with resolver(tmp_path, [address], "--list", str(names), lanes=2) as live, ended_at_last(live):
        parent = live.process.pid
        back(live, parent)
        every = {pid for pids in family(parent).values() for pid in pids}
        with Load(tmp_path, live, 8) as load:
            for generation in (1, 2, 3):
                [parent], victim = family(parent)["standby"], parent
                os.kill(victim, signal.SIGKILL)
                live.waits_for("took_over", generation, bereft=True)
                until(lambda at=parent: bool(family(at)["standby"]))  # type: ignore[misc]
                every |= {pid for pids in family(parent).values() for pid in pids}
            live.process.wait(5)
            back(live, parent)
            every -= {pid for pids in family(parent).values() for pid in pids}
            until(lambda: not any(lives(pid) for pid in every if pid != parent))
            result = load.result()
        print(result.text())
        assert result.lost == 0


def test_a_standby_that_was_killed_is_there_again(tmp_path: Path, address: str):
    names = plain_list(tmp_path, "listed.com")
    with resolver(tmp_path, [address], "--list", str(names), lanes=2) as live, ended_at_last(live):
        back(live, live.process.pid)
        [first] = family(live.process.pid)["standby"]
        os.kill(first, signal.SIGKILL)
        until(lambda: not lives(first))
        assert back(live, live.process.pid) < BACK_SECONDS
        [second] = family(live.process.pid)["standby"]
        live.process.kill()
        live.process.wait(5)
        live.waits_for("took_over", bereft=True)
        back(live, second)
        assert set(all_asked(live)) == {NXDOMAIN}, "and it knows what is in force"


def test_with_the_parent_killed_and_the_disk_gone_the_same_release_stays_in_force(tmp_path: Path, address: str):
    state = tmp_path / "state"
    accept(state, 1, a_rule())
    with resolver(tmp_path, [address], "--state", str(state), lanes=2) as live, ended_at_last(live):
        back(live, live.process.pid)
        [standby] = family(live.process.pid)["standby"]
        time.sleep(0.5)
        state.rename(tmp_path / "gone")
        live.process.kill()
        live.process.wait(5)
        live.waits_for("took_over", bereft=True)
        back(live, standby)
        assert set(all_asked(live)) == {NXDOMAIN}
        assert live.metrics()["blocker_dns_release_serial"] == 1


@pytest.mark.parametrize("victim", ["nobody", "lane", "control", "standby"])
def test_told_to_stop_it_leaves_no_process(tmp_path: Path, address: str, victim: str):
    names = plain_list(tmp_path, "listed.com")
    with resolver(tmp_path, [address], "--list", str(names), lanes=2) as live:
        parent = live.process.pid
        back(live, parent)
        every = [pid for pids in family(parent).values() for pid in pids]
        assert len(every) == 4
        for pid in family(parent)[victim][:1]:
            os.kill(pid, signal.SIGKILL)
        assert live.stop(signal.SIGINT if victim == "nobody" else signal.SIGTERM) == 0
        assert not any(map(lives, every))


def test_told_again_while_it_ends_it_says_nothing_of_faults(tmp_path: Path, address: str):
    names = plain_list(tmp_path, "listed.com")
    with resolver(tmp_path, [address], "--list", str(names), lanes=2) as live:
        back(live, live.process.pid)
        lanes = family(live.process.pid)["lane"]
        # While one is connected, its lane waits a moment for its question.
        with socket.create_connection(("127.0.0.1", live.port)):
            for pid in (live.process.pid, *lanes, *lanes):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                time.sleep(0.03)
            assert live.process.wait(10) == 0
        assert "Traceback" not in live.log_path.read_text()


def test_all_killed_but_a_lane_it_answers_on_and_ends_when_told(tmp_path: Path, address: str):
    names = plain_list(tmp_path, "listed.com")
    with resolver(tmp_path, [address], "--list", str(names), lanes=2) as live:
        parent = live.process.pid
        back(live, parent)
        there = family(parent)
        last = there["lane"].pop()
        # Or it would start another standby.
        os.kill(parent, signal.SIGSTOP)
        for pid in (*there["standby"], parent, *there["control"], *there["lane"]):
            os.kill(pid, signal.SIGKILL)
        live.process.wait(5)
        try:
            until(lambda: not any(lives(pid) for pids in there.values() for pid in pids))
            assert set(all_asked(live)) == {NXDOMAIN}
        finally:
            os.kill(last, signal.SIGTERM)
        until(lambda: not lives(last))


def test_a_lane_that_nobody_looks_after_any_more_ends_by_itself(tmp_path: Path, address: str):
    names = plain_list(tmp_path, "listed.com")
    code = "import resolver.processes.lane as lane; lane.ORPHAN_SECONDS = 1; from blocker.cli import main; main()"
    program = (sys.executable, "-c", code)
    with resolver(tmp_path, [address], "--list", str(names), lanes=2, program=program) as live:
        parent = live.process.pid
        back(live, parent)
        there = family(parent)
        for pid in (*there["standby"], parent):
            os.kill(pid, signal.SIGKILL)
        live.process.wait(5)
        assert set(all_asked(live)) == {NXDOMAIN}
        assert until(lambda: not any(lives(pid) for pids in there.values() for pid in pids)) < 5


def killed_again_and_again(tmp_path: Path, address: str, times: int) -> None:
    names = plain_list(tmp_path, "listed.com")
    with resolver(tmp_path, [address], "--list", str(names), lanes=2) as live:
        parent = live.process.pid
        back(live, parent)
        time.sleep(0.2)
        files = len(os.listdir(f"/proc/{parent}/fd"))
        refused = 'blocker_dns_queries_total{outcome="blocked",transport="udp"}'
        seen, worst = 0.0, 0.0
        for _time in range(times):
            assert set(all_asked(live, 8)) == {NXDOMAIN}
            counted = live.metrics()[refused]
            assert counted == seen + 8, "every lane's counts are there, those of the dead, too"
            seen = counted
            os.kill(family(parent)["lane"][0], signal.SIGKILL)
            worst = max(worst, back(live, parent))
        print(f"{times} kills, back within {worst:.2f} s")
        assert worst < BACK_SECONDS
        assert live.metrics()['blocker_dns_restarts_total{process="lane"}'] == times
        # The last who looked at the figures may still be connected.
        until(lambda: len(os.listdir(f"/proc/{parent}/fd")) <= files)
        assert live.stop() == 0


def test_a_lane_killed_again_and_again_comes_back_and_no_counter_goes_backwards(tmp_path: Path, address: str):
    killed_again_and_again(tmp_path, address, 4)


@pytest.mark.slow
def test_a_lane_killed_twenty_times(tmp_path: Path, address: str):
    killed_again_and_again(tmp_path, address, 20)


def test_a_lane_that_hangs_is_ended_and_started_again(tmp_path: Path, address: str):
    names = plain_list(tmp_path, "listed.com")
    with resolver(tmp_path, [address], "--list", str(names), lanes=2) as live:
        back(live, live.process.pid)
        victim = family(live.process.pid)["lane"][0]
        os.kill(victim, signal.SIGSTOP)
        start = time.monotonic()
        assert "blocker_dns_lanes" in live.exposition()
        assert time.monotonic() - start < 2, "figures come without it"
        live.waits_for("lane_silent")
        back(live, live.process.pid)
        assert set(all_asked(live)) == {NXDOMAIN}


def test_a_cookie_is_good_in_every_lane_and_after_one_was_started_again(tmp_path: Path, address: str):
    names = plain_list(tmp_path, "listed.com")
    with resolver(tmp_path, [address], "--list", str(names), lanes=2) as live:
        back(live, live.process.pid)

        def asks(data: bytes) -> bytes:
            made = dns.message.make_query("free.net", "A", options=[dns.edns.GenericOption(10, data)])
            reply = dns.query.udp(made, "127.0.0.1", port=live.port, timeout=3)
            return bytes(next(one.to_wire() for one in reply.options if one.otype == 10))

        given = asks(bytes(8))
        assert {asks(given) for _ in range(20)} == {given}
        os.kill(family(live.process.pid)["lane"][0], signal.SIGKILL)
        back(live, live.process.pid)
        assert {asks(given) for _ in range(20)} == {given}


def low_port() -> int:
    for port in range(1023, 600, -1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            try:
                udp.bind(("127.0.0.1", port))
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no low port is free")


@pytest.mark.root
@pytest.mark.usefixtures("need_root")
def test_a_low_port_is_bound_again_by_an_ordinary_user_that_keeps_no_right_for_longer(address: str):
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        where.chmod(0o755)
        names = plain_list(where, "listed.com")
        more = {"user": "nobody", "lanes": 2, "port": low_port(), "hosts": ("127.0.0.1",)}
        with resolver(where, [address], "--list", str(names), **more) as live, ended_at_last(live):
            parent = live.process.pid
            back(live, parent)
            rights(parent, permitted=1 << 10)
            for role, pids in family(parent).items():
                for pid in pids:
                    rights(pid, permitted=1 << 10 if role == "standby" else 0)
            for _time in range(2):
                os.kill(family(parent)["lane"][0], signal.SIGKILL)
                assert back(live, parent) < BACK_SECONDS
            assert set(all_asked(live)) == {NXDOMAIN}
            [standby], behind = family(parent)["standby"], family(parent)["lane"]
            os.kill(parent, signal.SIGKILL)
            live.process.wait(5)
            live.waits_for("took_over", bereft=True)
            back(live, standby)
            assert set(all_asked(live)) == {NXDOMAIN}
            # A connection that is just being made to one of them may be reset.
            until(lambda: not any(map(lives, behind)))
            assert live.asks("listed.com", tcp=True).rcode() == NXDOMAIN
            for role, pids in family(standby).items():
                for pid in pids:
                    rights(pid, permitted=1 << 10 if role == "standby" else 0)


def rights(pid: int, permitted: int) -> None:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert set(status["Uid"].split()) == {str(pwd.getpwnam("nobody").pw_uid)}
    assert not status["Groups"].split()
    assert int(status["CapPrm"], 16) == permitted
    for empty in ("CapEff", "CapInh", "CapAmb"):
        assert int(status[empty], 16) == 0, empty
