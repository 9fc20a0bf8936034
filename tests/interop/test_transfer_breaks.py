"""Transfers that break: whoever breaks off leaves nothing behind, and a secondary whose primary dies keeps its zone."""

import random
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone
import pytest

from feeds.store import Store
from tests.golden.sample import rule
from tests.interop.rpz_sets import APEX, free_port
from tests.interop.test_transfer_bind import BLOCKER, ZONE, accept, serving
from tests.interop.test_transfer_clients import ORIGIN, PLAIN, SECRET, Served, exactly, ready, settings_file

pytestmark = pytest.mark.interop

# A zone that does not fit the buffers of a connection.
LARGE = 6_000
LONG = f"{'x' * 63}.{'y' * 63}"


def large(serial: int) -> list[Any]:
    return [rule(f"n{n}.{LONG}.{APEX}", number=n) for n in range(serial, serial + LARGE)]


@pytest.fixture(scope="module")
def large_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    here = tmp_path_factory.mktemp("large")
    store = Store.create(here / "state", url="https://feed.example/", root=b"{}", training=True)
    accept(store, 1, large(1))
    return store


def begin(port: int) -> socket.socket:
    """A transfer that has been asked for, by one that takes little at once."""
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.bind((PLAIN, 0))
    stream.settimeout(20)
    stream.connect(("127.0.0.1", port))
    wire = dns.message.make_query(ZONE, "AXFR").to_wire()
    stream.sendall(len(wire).to_bytes(2) + wire)
    return stream


def test_transfers_that_break_at_random_points_leave_nothing_behind(large_store: Store) -> None:
    here, port, metrics = large_store.path.parent, free_port(), free_port()
    served = Served(here, large_store, port, 0, metrics)
    chance = random.Random(5)
    with serving(settings_file(here), large_store, port, here / "serve.log", "--metrics", f"127.0.0.1:{metrics}"):
        ready(port)
        for _n in range(25):
            with begin(port) as stream:
                left = chance.randrange(700_000)
                while left > 0:
                    left -= len(stream.recv(min(left, 65_536)))
        # Each had one of four places; none of them is still taken.
        zone = dns.zone.Zone(ORIGIN)
        dns.query.inbound_xfr("127.0.0.1", zone, port=port, source=PLAIN, lifetime=30)
        assert len(zone.nodes) == 2 * LARGE + 1
        assert served.counted("transfers_total", form="axfr", secondary="plain", zone=ZONE) == 1
    assert "Traceback" not in (here / "serve.log").read_text()


def test_slow_readers_keep_their_own_places_and_delay_nobody_else(large_store: Store) -> None:
    here, port, metrics = large_store.path.parent, free_port(), free_port()
    served = Served(here, large_store, port, 0, metrics)
    key = dns.tsig.Key("short.", SECRET, "hmac-sha256")
    with (
        serving(settings_file(here), large_store, port, here / "serve.log", "--metrics", f"127.0.0.1:{metrics}"),
        ExitStack() as held,
    ):
        ready(port)
        for _n in range(4):
            held.enter_context(begin(port)).recv(100)
        fifth = held.enter_context(begin(port))
        with suppress(ConnectionResetError):
            assert fifth.recv(100) == b""
        zone, began = dns.zone.Zone(ORIGIN), time.monotonic()
        query = dns.xfr.make_query(zone, keyring=key)[0]
        dns.query.inbound_xfr("127.0.0.1", zone, query, port=port, lifetime=30)
        took = time.monotonic() - began
        assert len(zone.nodes) == 2 * LARGE + 1
        assert took < 10
        assert served.counted("quota_refusals_total", quota="transfers") == 1
        assert served.counted("transfers_total", form="axfr", secondary="plain", zone=ZONE) == 0


def take_and_kill(file: Any, zone: dns.zone.Zone, server: subprocess.Popen[bytes]) -> None:
    """Transfer into the zone; the primary dies after the third message."""
    with dns.xfr.Inbound(zone, dns.rdatatype.AXFR) as inbound:
        for count in range(1, 10_000):
            wire = exactly(file, int.from_bytes(exactly(file, 2)))
            if count == 3:
                server.kill()
            assert not inbound.process_message(dns.message.from_wire(wire, xfr=True, origin=ORIGIN))


def test_a_primary_killed_in_the_middle_leaves_the_secondary_its_old_zone(large_store: Store) -> None:
    here, port = large_store.path.parent, free_port()
    zone = dns.zone.Zone(ORIGIN)
    settings = settings_file(here)
    with serving(settings, large_store, port, here / "serve.log"):
        ready(port)
        dns.query.inbound_xfr("127.0.0.1", zone, port=port, source=PLAIN, lifetime=30)
    held = zone.to_text()
    accept(large_store, 2, large(1000))
    command = [BLOCKER, "zone", "serve", str(settings), "--listen", f"127.0.0.1:{port}"]
    with (
        (here / "killed.log").open("w") as log,
        subprocess.Popen([*command, "--state", str(large_store.path)], stdout=log, stderr=log) as server,
    ):
        ready(port, 2000)
        with begin(port) as stream, stream.makefile("rb") as file, pytest.raises((EOFError, OSError)):
            take_and_kill(file, zone, server)
    assert zone.to_text() == held
    with serving(settings, large_store, port, here / "serve.log"):
        ready(port, 2000)
        dns.query.inbound_xfr("127.0.0.1", zone, port=port, source=PLAIN, lifetime=30)
    assert zone.get_soa().serial == 2000
    assert zone.get_node(f"n1.{LONG}.{APEX}") is None
    assert zone.get_node(f"n6500.{LONG}.{APEX}") is not None
