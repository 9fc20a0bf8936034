"""PowerDNS Recursor with TSIG as a secondary, from the printed stanza; kdig over TLS."""

import json
import subprocess
from pathlib import Path

import pytest

from feeds.store import Store
from tests.interop.rpz_sets import APEX, free_port, running, seen
from tests.interop.test_transfer_bind import (
    BLOCKER,
    ZONE,
    NeedProgram,
    accept,
    listed,
    serving,
    settings_file,
    until,
)

pytestmark = pytest.mark.interop


def stanza(settings: Path, program: str, primary: str, *more: str) -> str:
    asked = ["--for", program, "--secondary", "bind", "--zone", ZONE, "--primary", primary, *more, "--json"]
    made = subprocess.run([BLOCKER, "zone", "config", str(settings), *asked], capture_output=True, check=True)
    return str(json.loads(made.stdout)["stanza"])


def follows(store: Store, port: int, log: Path) -> None:
    took = until(lambda: seen(port, f"n1.{APEX}", 1) == "nxdomain", 10)
    assert took < 10, log.read_text()[-3000:]
    accept(store, 2, listed(range(2, 102)))
    took = until(lambda: (seen(port, f"n1.{APEX}", 1), seen(port, f"n101.{APEX}", 1)) == ("answer", "nxdomain"), 8)
    assert took < 5, log.read_text()[-3000:]


def store_in(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "state", url="https://feed.example/", root=b"{}", training=True)
    accept(store, 1, listed(range(1, 101)))
    return store


def test_kdig_transfers_over_tls_1_3_and_an_older_tls_is_refused(tmp_path: Path, need_program: NeedProgram) -> None:
    kdig = need_program("kdig", "knot-dnsutils")
    port, tls_port = free_port(), free_port()
    settings = settings_file(tmp_path, port)
    lines = settings.read_text().splitlines()
    settings.write_text("\n".join(line for line in lines if not line.startswith(("key", "secret"))))
    pem = [str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")]
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=zone.example"
    names = ["-addext", "subjectAltName=DNS:zone.example", "-out", pem[0], "-keyout", pem[1]]
    subprocess.run(["openssl", *request.split(), *names], check=True, capture_output=True)
    more = ("--tls", f"127.0.0.1:{tls_port}", "--certificate", pem[0], "--private-key", pem[1])
    with serving(settings, store_in(tmp_path), port, tmp_path / "serve.log", *more):
        trust = [f"+tls-ca={pem[0]}", "+tls-host=zone.example", "+noall", "+answer"]
        command = [kdig, *trust, "@127.0.0.1", "-p", str(tls_port), "AXFR", ZONE]

        def transfer() -> list[str]:
            return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.splitlines()

        assert until(lambda: any(f"n1.{APEX}" in line for line in transfer()), 10) < 10
        assert sum("CNAME" in line for line in transfer()) == 200
        old = ["openssl", "s_client", "-connect", f"127.0.0.1:{tls_port}", "-tls1_2"]
        refused = subprocess.run(old, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10)
        assert "alert protocol version" in refused.stderr


def test_powerdns_follows_with_tsig_from_the_printed_stanza(tmp_path: Path, need_program: NeedProgram) -> None:
    recursor = need_program("pdns_recursor", "pdns-recursor")
    primary_port, port = free_port(), free_port()
    settings = settings_file(tmp_path, port)
    lua, plain = stanza(settings, "powerdns", f"127.0.0.1:{primary_port}").split("\n\n")[:2]
    (tmp_path / "rpz.lua").write_text(lua.replace("/var/lib/powerdns", str(tmp_path)))
    (tmp_path / "zone").write_text("@ 60 IN SOA a. b. 1 60 60 60 60\n@ 60 IN NS a.\n* 60 IN A 198.51.100.1\n")
    (tmp_path / "recursor.conf").write_text(
        f"local-address=127.0.0.1\nlocal-port={port}\nlua-config-file={tmp_path}/rpz.lua\nsocket-dir={tmp_path}\n"
        f"auth-zones={APEX}={tmp_path}/zone\ndaemon=no\ndnssec=off\nhint-file=no\nallow-notify-from=127.0.0.1\n"
        f"allow-notify-for={ZONE}\nsecurity-poll-suffix=\nquiet=yes\nthreads=1\n{plain}\n"
    )
    store, log = store_in(tmp_path), tmp_path / "pdns.log"
    with (
        serving(settings, store, primary_port, tmp_path / "serve.log"),
        running([recursor, f"--config-dir={tmp_path}"], port, f"probe.{APEX}", log),
    ):
        follows(store, port, log)
