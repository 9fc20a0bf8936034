"""Under systemd a killed resolver is started again by systemd; a double keeps what it is given, as systemd does."""

import array
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.rcode
import pytest

from tests.faults.family import family, lives, until
from tests.load.upstream import fast_upstream
from tests.resolver.live import LiveResolver, plain_list, resolver

# As systemd starts a service: what it keeps is passed from descriptor 3 on, to the process whose number it says.
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.fixture
def notified() -> Iterator[tuple[str, socket.socket]]:
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{short}/n")
        sock.settimeout(10)
        yield f"{short}/n", sock


def hears(sock: socket.socket, word: str) -> tuple[str, list[int]]:
    """The next message with that word in it, and the descriptors that came with it."""
    size = array.array("i").itemsize
    for _message in range(200):
        data, passed, _flags, _from = sock.recvmsg(1000, socket.CMSG_SPACE(size))
        if word in data.decode():
            return data.decode(), [n for _level, _kind, value in passed for n in array.array("i", value[:size])]
    raise AssertionError(word)


@contextmanager
def started_again(live: LiveResolver, kept: int, name: str, environ: dict[str, str]) -> Iterator[LiveResolver]:
    words = [str(word) for word in live.process.args]  # type: ignore[union-attr]
    with live.log_path.open("ab") as log:
        command = [sys.executable, "-c", START, str(kept), name, *words]
        process = subprocess.Popen(command, stderr=log, env={**os.environ, **environ}, pass_fds=(kept,))
    again = LiveResolver(process, live.port, live.metrics_port, live.log_path)
    try:
        yield again
    finally:
        again.stop()


def test_the_lanes_left_behind_answer_until_those_of_the_new_service_do(tmp_path: Path, notified):
    path, sock = notified
    environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"}
    names = plain_list(tmp_path, "listed.com")
    with (
        fast_upstream() as address,
        resolver(tmp_path, [address], "--list", str(names), lanes=2, environ=environ) as live,
    ):
        told, [kept] = hears(sock, "FDSTORE=1")
        name = told.partition("FDNAME=")[2]
        hears(sock, "READY=1")
        time.sleep(0.2)
        there = family(live.process.pid)
        assert len(there["lane"]) == 2
        assert not there["standby"], "one alone starts it again"
        os.kill(live.process.pid, signal.SIGKILL)
        live.process.wait(5)
        until(lambda: not lives(there["control"][0]), 5)
        for _time in range(10):
            assert live.asks("listed.com").rcode() == dns.rcode.NXDOMAIN
        assert all(map(lives, there["lane"]))
        until(lambda: _silent(sock))
        start = time.monotonic()
        with started_again(live, kept, name, environ) as again:
            hears(sock, "READY=1")
            until(lambda: not any(map(lives, there["lane"])), 5)
            print(f"ready and alone after {time.monotonic() - start:.2f} s")
            assert len(family(again.process.pid)["lane"]) == 2
            for _time in range(10):
                assert again.asks("listed.com").rcode() == dns.rcode.NXDOMAIN
            assert again.stop() == 0
        os.close(kept)


def test_it_is_ready_only_when_all_lanes_answer_and_feeds_no_watchdog_without_one(tmp_path: Path, notified):
    path, sock = notified
    environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}
    names = plain_list(tmp_path, "listed.com")
    with (
        fast_upstream() as address,
        resolver(tmp_path, [address], "--list", str(names), lanes=3, environ=environ) as live,
    ):
        hears(sock, "READY=1")
        assert live.metrics()["blocker_dns_lanes"] == 3
        hears(sock, "WATCHDOG=1")
        lanes = family(live.process.pid)["lane"]
        for pid in lanes:
            os.kill(pid, signal.SIGSTOP)
        try:
            # Silence is noticed after some seconds; then nothing more is heard.
            until(lambda: _silent(sock), 20)
        finally:
            for pid in lanes:
                os.kill(pid, signal.SIGCONT)
        hears(sock, "WATCHDOG=1")


def _silent(sock: socket.socket) -> bool:
    sock.settimeout(0.5)
    try:
        sock.recv(1000)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(10)
    return False
