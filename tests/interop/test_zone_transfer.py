"""Zones come from real primaries, signed, as wholes and as differences, and outlive them."""

import os
import signal
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from feeds.store import Store
from tests.interop.rpz_sets import APEX, free_port
from tests.interop.test_transfer_bind import ZONE as OWN_ZONE
from tests.interop.test_transfer_bind import accept, listed, serving
from tests.interop.test_transfer_unbound import certificate
from tests.resolver.live import LiveResolver, resolver, upstream

pytestmark = pytest.mark.interop

ZONE = "rpz.test"
SECRET = b64encode(bytes(range(32))).decode()
NAMED = """
key "k1" {{ algorithm hmac-sha256; secret "{secret}"; }};
options {{ directory "{home}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;
  session-keyfile none; recursion no; allow-transfer {{ key "k1"; }}; notify no; }};
controls {{ }};
zone "rpz.test" {{ type primary; file "rpz.db"; ixfr-from-differences yes; {more} }};
"""
NSD = """
server:
  port: {port}
  ip-address: 127.0.0.1
  username: ""
  zonesdir: "{home}"
  zonelistfile: "{home}/zone.list"
  xfrdfile: "{home}/xfrd.state"
  pidfile: "{home}/nsd.pid"
  xfrdir: "{home}"
  server-count: 1
remote-control:
  control-enable: no
key:
  name: "k1"
  algorithm: hmac-sha256
  secret: "{secret}"
zone:
  name: "rpz.test"
  zonefile: "rpz.db"
  provide-xfr: 127.0.0.1 k1
"""
PROGRAMS = {
    "bind": ("named", "bind9", NAMED, "named.conf", ("-g", "-n", "1", "-c")),
    "nsd": ("nsd", "nsd", NSD, "nsd.conf", ("-d", "-c")),
}


def zone(serial: int, *names: str, refresh: int = 10) -> str:
    rules = "".join(f"{name} CNAME .\n*.{name} CNAME .\n" for name in names)
    return f"$TTL 300\n@ SOA localhost. root {serial} {refresh} {refresh} 86400 60\n@ NS localhost.\n{rules}"


@contextmanager
def primary(
    program: str, kind: str, home: Path, text: str, more: str = ""
) -> Iterator[tuple[int, Callable[[str], None]]]:
    """A real primary: its port, and what gives it a new zone."""
    home.mkdir(exist_ok=True)
    _program, _package, form, name, words = PROGRAMS[kind]
    port = free_port()
    (home / "rpz.db").write_text(text)
    (home / name).write_text(form.format(home=home, port=port, secret=SECRET, more=more))
    with (home / "log").open("ab") as log:
        process = subprocess.Popen([program, *words, str(home / name)], stdout=log, stderr=log)

    def renew(text: str) -> None:
        (home / "rpz.db").write_text(text)
        process.send_signal(signal.SIGHUP)

    try:
        yield port, renew
    finally:
        process.terminate()
        process.wait(15)


def settings(tmp_path: Path, secret: str = SECRET) -> Path:
    (tmp_path / "k1.secret").write_text(secret)
    path = tmp_path / "zones.toml"
    path.write_text(f'[zone."{ZONE}"]\nkey = "k1"\nsecret_file = "k1.secret"\n')
    return path


def until(what: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def blocked(live: LiveResolver, name: str) -> bool:
    return int(live.asks(name, timeout=10).rcode()) == 3


@pytest.mark.parametrize("kind", list(PROGRAMS))
def test_a_zone_is_transferred_with_tsig_renewed_and_kept_without_its_primary(
    tmp_path: Path, need_program: Callable[[str, str], str], kind: str
) -> None:
    program = need_program(*PROGRAMS[kind][:2])
    state = tmp_path / "state"
    with upstream() as up, primary(program, kind, tmp_path / kind, zone(1, "bad.example")) as (port, renew):
        arguments = (
            "--zone", f"{ZONE}=127.0.0.1:{port}", "--zone-settings", str(settings(tmp_path)),
            "--zone-state", str(state), "--lanes", "1",
        )  # fmt: skip
        with resolver(tmp_path, [up.address], *arguments) as live:
            until(lambda: blocked(live, "x.bad.example"))
            assert not blocked(live, "worse.example")
            renew(zone(2, "worse.example", "third.example"))
            time.sleep(1)
            live.process.send_signal(signal.SIGHUP)
            until(lambda: blocked(live, "worse.example"))
            assert not blocked(live, "bad.example")
            found = live.metrics()
            assert found[f'blocker_dns_zone_serial{{zone="{ZONE}"}}'] == 2
            assert found[f'blocker_dns_zone_stale{{zone="{ZONE}"}}'] == 0
            assert abs(found[f'blocker_dns_zone_checked_timestamp_seconds{{zone="{ZONE}"}}'] - time.time()) < 30
            if kind == "bind":
                assert "IXFR ended" in (tmp_path / kind / "log").read_text()
    with upstream() as up, resolver(tmp_path, [up.address], *arguments) as live:
        assert blocked(live, "worse.example"), "a start without the primary enforces what was kept"
        [note] = live.waits_for("zone_not_transferred")
        assert "127.0.0.1" in note["why"]


def test_a_primary_that_signs_with_another_key_changes_nothing(
    tmp_path: Path, need_program: Callable[[str, str], str]
) -> None:
    program = need_program("named", "bind9")
    with upstream() as up, primary(program, "bind", tmp_path / "bind", zone(1, "bad.example")) as (port, _renew):
        other = settings(tmp_path, b64encode(bytes(32)).decode())
        with resolver(
            tmp_path, [up.address], "--zone", f"{ZONE}=127.0.0.1:{port}", "--zone-settings", str(other),
            "--zone-state", str(tmp_path / "state"), "--lanes", "1",
        ) as live:  # fmt: skip
            live.waits_for("zone_not_transferred")
            assert not blocked(live, "bad.example")
            until(lambda: live.metrics()[f'blocker_dns_zone_stale{{zone="{ZONE}"}}'] == 1)


def test_a_keeper_that_is_killed_is_back_within_seconds_and_the_zone_stays(
    tmp_path: Path, need_program: Callable[[str, str], str]
) -> None:
    program = need_program("named", "bind9")
    with upstream() as up, primary(program, "bind", tmp_path / "bind", zone(1, "bad.example")) as (port, renew):
        arguments = (
            "--zone", f"{ZONE}=127.0.0.1:{port}", "--zone-settings", str(settings(tmp_path)),
            "--zone-state", str(tmp_path / "state"), "--lanes", "1",
        )  # fmt: skip
        with resolver(tmp_path, [up.address], *arguments) as live:
            until(lambda: blocked(live, "bad.example"))
            [keeper] = keepers(live)
            os.kill(keeper, signal.SIGKILL)
            until(lambda: keepers(live) not in ([], [keeper]))
            assert blocked(live, "bad.example")
            renew(zone(2, "worse.example"))
            time.sleep(1)
            live.process.send_signal(signal.SIGHUP)
            until(lambda: blocked(live, "worse.example"))
            [keeper] = keepers(live)
        until(lambda: not Path(f"/proc/{keeper}").exists())


def test_a_signed_notify_brings_the_new_zone_long_before_the_refresh(
    tmp_path: Path, need_program: Callable[[str, str], str]
) -> None:
    program, here = need_program("named", "bind9"), free_port()
    tells = f"notify explicit; also-notify {{ 127.0.0.1 port {here} key k1; }};"
    first, second = (zone(serial, name, refresh=3600) for serial, name in ((1, "bad.example"), (2, "worse.example")))
    with upstream() as up, primary(program, "bind", tmp_path / "bind", first, tells) as (port, renew):
        arguments = (
            "--zone", f"{ZONE}=127.0.0.1:{port}", "--zone-settings", str(settings(tmp_path)),
            "--zone-state", str(tmp_path / "state"), "--zone-notify", f"127.0.0.1:{here}", "--lanes", "1",
        )  # fmt: skip
        with resolver(tmp_path, [up.address], *arguments) as live:
            until(lambda: blocked(live, "bad.example"))
            renew(second)
            until(lambda: blocked(live, "worse.example"))
    log = (tmp_path / "bind" / "log").read_text()
    assert "verify failure" not in log
    assert "retries exceeded" not in log


def test_our_own_zone_server_is_a_primary_over_tls_with_tsig(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "feed", url="https://feed.example/", root=b"{}", training=True)
    accept(store, 1, listed(range(1, 20)))
    port, tls_port = free_port(), free_port()
    chain, key = certificate(tmp_path / "tls", "primary.test")
    toml = tmp_path / "serve.toml"
    toml.write_text(f'[zone."{OWN_ZONE}"]\n[secondary.us]\nkey = "k1"\nsecret_file = "k1.secret"\n')
    pulls = settings(tmp_path)
    pulls.write_text(f'[zone."{OWN_ZONE}"]\nkey = "k1"\nsecret_file = "k1.secret"\ncertificate = "{chain}"\n')
    tls = ("--tls", f"127.0.0.1:{tls_port}", "--certificate", chain, "--private-key", key)
    arguments = (
        "--zone", f"{OWN_ZONE}=127.0.0.1:{tls_port}", "--zone-settings", str(pulls),
        "--zone-state", str(tmp_path / "state"), "--lanes", "1",
    )  # fmt: skip
    with (
        serving(toml, store, port, tmp_path / "serve.log", *tls),
        upstream() as up,
        resolver(tmp_path, [up.address], *arguments) as live,
    ):
        until(lambda: blocked(live, f"a.n5.{APEX}"))
        accept(store, 2, listed(range(10, 30)))
        time.sleep(2)
        live.process.send_signal(signal.SIGHUP)
        until(lambda: blocked(live, f"n25.{APEX}"))
        assert not blocked(live, f"n5.{APEX}")
        assert blocked(live, f"n15.{APEX}")


def keepers(live: LiveResolver) -> list[int]:
    """The processes of this resolver that keep zones: its control process's children."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (entry / "comm").read_text() == "blocker-zone\n" and parent(parent(int(entry.name))) == live.process.pid:
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
