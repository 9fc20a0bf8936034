"""Unbound over TLS as a secondary, from the printed stanza."""

import json
import subprocess
from pathlib import Path

import pytest

from feeds.store import Store
from tests.interop.rpz_sets import APEX, UPSTREAM_ZONE, free_port, running, seen
from tests.interop.test_transfer_bind import BLOCKER, ZONE, NeedProgram, accept, listed, serving, until

pytestmark = pytest.mark.interop

# Another loopback address than Unbound's, so that both may have the same ports, as two machines have.
PRIMARY = "127.0.0.2"
NAME = "zone.example"
CONFIG = """
server:
    directory: "{here}"
    chroot: ""
    username: ""
    pidfile: ""
    interface: 127.0.0.1
    port: {port}
    tls-port: {tls_port}
    do-daemonize: no
    use-syslog: no
    verbosity: 2
    trust-anchor-file: ""
remote-control:
    control-enable: no
auth-zone:
    name: "{apex}"
    zonefile: "{here}/upstream.zone"
    for-downstream: no
    for-upstream: yes
{stanza}
"""


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """A certificate that stands for itself, and its key."""
    folder.mkdir(exist_ok=True)
    certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
    request = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}"
    names = ["-addext", f"subjectAltName=DNS:{name}", "-out", certificate, "-keyout", key]
    subprocess.run(["openssl", *request.split(), *names], check=True, capture_output=True)
    return certificate, key


class Case:
    """A primary's and a secondary's files, and what is published.

    Unbound's own ports are `port` (for 53) and `unbound_tls_port` (for 853); the primary's are `port` and `tls_port`.
    """

    def __init__(self, here: Path, names: range, usual_ports: bool = True) -> None:
        self.here = here
        self.port, self.tls_port = free_port(), free_port()
        self.unbound_tls_port = self.tls_port if usual_ports else free_port()
        self.store = Store.create(here / "state", url="https://feed.example/", root=b"{}", training=True)
        accept(self.store, 1, listed(names))
        self.settings = here / "zone.toml"
        self.settings.write_text(
            f'[zone."{ZONE}"]\nflavour = "full"\n[secondary.unbound]\naddress = ["127.0.0.1"]\n'
            f'notify = ["127.0.0.1:{self.port}"]\n'
        )
        self.log = here / "unbound.log"

    def configure(self, trusted: str) -> list[str]:
        """Write unbound.conf around the printed stanza; the command that runs it."""
        asked = ["--for", "unbound", "--secondary", "unbound", "--zone", ZONE, "--tls-name", NAME]
        asked += ["--primary", f"{PRIMARY}:{self.tls_port}", "--authorities", trusted, "--json"]
        made = subprocess.run([BLOCKER, "zone", "config", str(self.settings), *asked], capture_output=True, check=True)
        stanza = json.loads(made.stdout)["stanza"].replace("/var/lib/unbound", str(self.here))
        (self.here / "upstream.zone").write_text(UPSTREAM_ZONE)
        config = CONFIG.format(here=self.here, port=self.port, tls_port=self.unbound_tls_port, apex=APEX, stanza=stanza)
        (self.here / "unbound.conf").write_text(config)
        return ["-d", "-p", "-c", str(self.here / "unbound.conf")]

    def refuses(self, number: int) -> bool:
        return seen(self.port, f"n{number}.{APEX}", 1) == "nxdomain"


@pytest.mark.parametrize("usual_ports", [True, False])
def test_unbound_follows_versions_over_tls_from_the_printed_stanza(
    tmp_path: Path, need_program: NeedProgram, usual_ports: bool
) -> None:
    """On the usual ports Unbound asks for the SOA on port 53, else on the port of TLS."""
    unbound, case = need_program("unbound", "unbound"), Case(tmp_path, range(1, 101), usual_ports)
    chain, key = certificate(tmp_path / "primary", NAME)
    command = [unbound, *case.configure(chain)]
    tls = ("--tls", f"{PRIMARY}:{case.tls_port}", "--certificate", chain, "--private-key", key)
    with (
        serving(case.settings, case.store, case.port, tmp_path / "serve.log", *tls, host=PRIMARY),
        running(command, case.port, f"probe.{APEX}", case.log),
    ):
        assert until(lambda: case.refuses(1), 10) < 10, case.log.read_text()[-3000:]
        for name in (f"n50.{APEX}", f"a.n50.{APEX}", f"a.b.n50.{APEX}", f"a.b.c.n50.{APEX}"):
            assert seen(case.port, name) == "nxdomain"
        assert not case.refuses(101)
        for serial in range(2, 7):
            accept(case.store, serial, listed(range(serial, 100 + serial)))
            took = until(lambda s=serial: case.refuses(99 + s) and not case.refuses(s - 1), 8)  # type: ignore[misc]
            assert took < 5, (serial, took, case.log.read_text()[-2000:])
    assert json.loads((case.store.path / "zone.json").read_text())["secondaries"]["unbound"][ZONE]["form"] == "ixfr"
    # What it writes of rewritten answers would name the client with its port.
    assert "rpz: applied" not in case.log.read_text()


def test_unbound_takes_no_zone_from_a_primary_that_cannot_prove_its_name(
    tmp_path: Path, need_program: NeedProgram
) -> None:
    unbound, case = need_program("unbound", "unbound"), Case(tmp_path, range(1, 3))
    trusted, _key = certificate(tmp_path / "trusted", NAME)
    chain, key = certificate(tmp_path / "false", NAME)
    command = [unbound, *case.configure(trusted)]
    tls = ("--tls", f"{PRIMARY}:{case.tls_port}", "--certificate", chain, "--private-key", key)
    with (
        serving(case.settings, case.store, case.port, tmp_path / "serve.log", *tls, host=PRIMARY),
        running(command, case.port, f"probe.{APEX}", case.log),
    ):
        failed = until(lambda: "certificate verify failed" in case.log.read_text(), 10)
        assert failed < 10, case.log.read_text()[-3000:]
        assert not case.refuses(1)
