"""`blocker zone serve` and what speaks to it as any secondary would: dig, kdig, NSD, dnspython, and hostile ones."""

import base64
import re
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.xfr
import dns.zone
import pytest

from feeds.name import DomainName
from feeds.render import render
from feeds.store import Store
from feeds.transfer.settings import Zone
from feeds.transfer.watching import Watch
from tests.interop.rpz_sets import APEX, free_port
from tests.interop.test_transfer_bind import ZONE, NeedProgram, accept, listed, serving, until
from tests.interop.test_transfer_unbound import certificate

pytestmark = pytest.mark.interop

# So many names that the way from the oldest serial is still shorter than the zone.
VERSIONS, WINDOW = 66, 200
ORIGIN = dns.name.from_text(ZONE)
SECRET = base64.b64encode(b"k" * 32).decode()
WRONG = base64.b64encode(b"x" * 32).decode()
# Who asks is told by key or certificate here; this address alone is let in as it is.
PLAIN = "127.0.0.3"


@dataclass(frozen=True)
class Served:
    """A primary that runs."""

    here: Path
    store: Store
    port: int
    tls: int
    metrics: int

    def counted(self, name: str, **labels: str) -> float:
        """The value of a series."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=10) as page:
            text = page.read().decode()
        inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        found = re.search(rf"^blocker_zone_{name}{{{inside}}} (\S+)$", text, re.M)
        assert found is not None, (name, labels, text)
        return float(found.group(1))


def settings_file(here: Path, notify: int | None = None) -> Path:
    (here / "secret").write_text(SECRET)
    certificate(here / "client", "client.example")
    path = here / "zone.toml"
    told = f'notify = ["127.0.0.1:{notify}"]\n' if notify else ""
    path.write_text(
        f'[zone."{ZONE}"]\n[secondary.short]\nkey = "short"\nsecret_file = "secret"\n{told}'
        '[secondary.long]\nkey = "long"\nalgorithm = "hmac-sha512"\nsecret_file = "secret"\n'
        f'[secondary.plain]\naddress = ["{PLAIN}"]\n'
        '[secondary.certified]\ncertificate = "client/cert.pem"\n'
    )
    return path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A primary with 66 versions behind it: version N lists n(N) to n(N+199)."""
    here = tmp_path_factory.mktemp("clients")
    store = Store.create(here / "state", url="https://feed.example/", root=b"{}", training=True)
    build_history(store)
    made = Served(here, store, free_port(), free_port(), free_port())
    chain, key = certificate(here / "server", "zone.example")
    more = ["--tls", f"127.0.0.1:{made.tls}", "--certificate", chain, "--private-key", key]
    more += ["--metrics", f"127.0.0.1:{made.metrics}"]
    with serving(settings_file(here), store, made.port, here / "serve.log", *more):
        yield made
        log = (here / "serve.log").read_text()
    assert "127.0.0.1" not in log.partition("\n")[2], log
    assert "Traceback" not in log, log


def build_history(store: Store) -> None:
    watch = Watch(store, (Zone(DomainName.parse(ZONE).name, "full"),))
    watch.open()
    for version in range(1, VERSIONS + 1):
        accept(store, version, listed(range(version, version + WINDOW)))
        for line, prepared in watch.look(datetime.now(UTC)):
            line.take(prepared)


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def asked(program: str, served: Served, *words: str, key: str = f"hmac-sha256:short:{SECRET}") -> str:
    return run(program, "@127.0.0.1", "-p", str(served.port), "-y", key, ZONE, *words)


def records(text: str) -> list[tuple[str, str, str]]:
    """Owner, type and data of each line of an answer."""
    parts = [line.split(None, 4) for line in text.splitlines() if line and not line.startswith(";")]
    return [(part[0].lower(), part[3], part[4]) for part in parts]


def canonical(text: str) -> list[str]:
    """A zone's text in one form, whoever wrote it."""
    return sorted(dns.zone.from_text(text, ORIGIN, relativize=False).to_text().splitlines())


def rendered(store: Store) -> str:
    found = store.accepted()
    assert found is not None
    return "".join(render("rpz", found, datetime.now(UTC), zone=ZONE))


def owners(version: int) -> set[str]:
    names = [f"n{n}.{APEX}.{ZONE}." for n in range(version, version + WINDOW)]
    return {*names, *(f"*.{name}" for name in names)}


CLIENTS = [("dig", "bind9-dnsutils"), ("kdig", "knot-dnsutils")]


@pytest.mark.parametrize(("program", "package"), CLIENTS)
@pytest.mark.parametrize("key", [f"hmac-sha256:short:{SECRET}", f"hmac-sha512:long:{SECRET}"])
def test_a_whole_transfer_is_the_zone_that_render_writes(
    served: Served, need_program: NeedProgram, program: str, package: str, key: str
) -> None:
    text = asked(need_program(program, package), served, "AXFR", "+noall", "+answer", key=key)
    found = records(text)
    assert found[0] == found[-1], text
    assert canonical("\n".join(text.strip().splitlines()[:-1])) == canonical(rendered(served.store))


@pytest.mark.parametrize(("program", "package"), CLIENTS)
def test_ixfr_from_each_of_the_last_64_serials_carries_deletions_and_leads_to_now(
    served: Served, need_program: NeedProgram, program: str, package: str
) -> None:
    tool = need_program(program, package)
    for version in range(VERSIONS - 64, VERSIONS):
        found = records(asked(tool, served, f"IXFR={version * 1000}", "+noall", "+answer"))
        assert found[1][1] == "SOA"
        assert found[1][2].split()[2] == str(version * 1000)
        have, adding = owners(version), True
        for owner, rtype, _data in found[1:-1]:
            if rtype == "SOA":
                adding = not adding
            elif adding:
                have.add(owner)
            else:
                have.remove(owner)
        assert have == owners(VERSIONS)


@pytest.mark.parametrize(("program", "package"), CLIENTS)
@pytest.mark.parametrize(
    ("key", "word", "reason"),
    [
        (f"hmac-sha256:nobody:{SECRET}", "BADKEY", "badkey"),
        (f"hmac-sha512:short:{SECRET}", "BADKEY", "badkey"),
        (f"hmac-sha256:short:{WRONG}", "BADSIG", "badsig"),
    ],
)
def test_a_bad_signature_is_told_as_what_it_is(
    served: Served, need_program: NeedProgram, program: str, package: str, key: str, word: str, reason: str
) -> None:
    before = served.counted("refused_total", reason=reason)
    said = asked(need_program(program, package), served, "SOA", "+tcp", key=key)
    assert word in said
    # kdig tells the TSIG error in the place of the code.
    assert program == "kdig" or "NOTAUTH" in said
    assert served.counted("refused_total", reason=reason) == before + 1
    assert records(asked(need_program(program, package), served, "AXFR", "+noall", "+answer", key=key)) == []


def test_a_truncated_signature_is_refused(served: Served, need_program: NeedProgram) -> None:
    said = asked(need_program("dig", "bind9-dnsutils"), served, "SOA", key=f"hmac-sha256-128:short:{SECRET}")
    assert "BADTRUNC" in said, said
    assert served.counted("refused_total", reason="badtrunc") >= 1


@pytest.mark.parametrize("ahead", [-400, 400])
def test_a_wrong_clock_is_told_and_by_how_much(served: Served, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    query = dns.message.make_query(ZONE, "SOA")
    query.use_tsig(dns.tsig.Key("short.", SECRET, "hmac-sha256"))
    moment = time.time()
    with monkeypatch.context() as changed:
        changed.setattr("time.time", lambda: moment + ahead)
        wire = query.to_wire()
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as stream:
        stream.sendall(len(wire).to_bytes(2) + wire)
        reply = dns.message.from_wire(message_from(stream), keyring=False)
    assert reply.rcode() == dns.rcode.NOTAUTH
    assert reply.tsig is not None
    assert reply.tsig[0].error == dns.rcode.BADTIME
    assert abs(int.from_bytes(reply.tsig[0].other) - moment) < 10


def message_from(stream: socket.socket) -> bytes:
    with stream.makefile("rb", buffering=0) as file:
        return exactly(file, int.from_bytes(exactly(file, 2)))


def exactly(file: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = file.read(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def test_an_address_alone_lets_in_and_others_are_refused(served: Served, need_program: NeedProgram) -> None:
    dig = need_program("dig", "bind9-dnsutils")
    common = [dig, "@127.0.0.1", "-p", str(served.port), ZONE]
    assert len(records(run(*common, "-b", PLAIN, "AXFR", "+noall", "+answer"))) == 2 * WINDOW + 3
    for asker in ([*common, "SOA"], [*common, "SOA", "+tcp"], [*common[:-1], "other.zone", "SOA", "-b", PLAIN]):
        said = run(*asker)
        assert "REFUSED" in said
        assert "ANSWER: 0" in said


def test_by_datagram_there_is_the_soa_a_small_ixfr_and_no_axfr(served: Served) -> None:
    def by_datagram(query: dns.message.Message) -> dns.message.Message:
        return dns.query.udp(query, "127.0.0.1", timeout=10, port=served.port, source=PLAIN, one_rr_per_rrset=True)

    assert by_datagram(dns.message.make_query(ZONE, "AXFR")).rcode() == dns.rcode.FORMERR
    for behind, size in ((1, 8), (30, 1)):
        query = dns.message.make_query(ZONE, "IXFR", payload=1232)
        soa = f"localhost. x. {(VERSIONS - behind) * 1000} 1 1 1 1"
        query.authority.append(dns.rrset.from_text(ORIGIN, 0, "IN", "SOA", soa))
        reply = by_datagram(query)
        assert len(reply.answer) == size
        assert reply.answer[0][0].serial == VERSIONS * 1000


def test_over_tls_a_certificate_lets_in_and_none_or_another_does_not(served: Served, need_program: NeedProgram) -> None:
    kdig = need_program("kdig", "knot-dnsutils")
    certificate(served.here / "stranger", "client.example")
    common = [kdig, "@127.0.0.1", "-p", str(served.tls), "+tls", ZONE, "AXFR"]

    def shown(folder: str) -> list[str]:
        return [f"+tls-certfile={served.here}/{folder}/cert.pem", f"+tls-keyfile={served.here}/{folder}/key.pem"]

    before = served.counted("transfers_total", form="axfr", secondary="certified", zone=ZONE)
    assert len(records(run(*common, *shown("client"), "+noall", "+answer"))) == 2 * WINDOW + 3
    assert served.counted("transfers_total", form="axfr", secondary="certified", zone=ZONE) == before + 1
    for words in ([], shown("stranger")):
        said = run(*common, *words)
        assert "REFUSED" in said, said
    # A key is as good over TLS as without.
    found = records(run(*common, "-y", f"hmac-sha256:short:{SECRET}", "+noall", "+answer"))
    assert len(found) == 2 * WINDOW + 3


def over_tls(served: Served, newest: ssl.TLSVersion) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = newest
    context.set_alpn_protocols(["dot"])
    context.load_cert_chain(served.here / "client" / "cert.pem", served.here / "client" / "key.pem")
    stream = socket.create_connection(("127.0.0.1", served.tls), timeout=10)
    try:
        return context.wrap_socket(stream)
    except OSError:
        stream.close()
        raise


def test_over_one_tls_connection_pipelined_requests_are_answered_in_their_order(served: Served) -> None:
    wanted = [(1, "SOA"), (2, "AXFR"), (3, "SOA"), (4, "AXFR")]
    wires = [dns.message.make_query(ZONE, qtype, id=number).to_wire() for number, qtype in wanted]
    with over_tls(served, ssl.TLSVersion.TLSv1_3) as stream:
        assert stream.selected_alpn_protocol() == "dot"
        stream.sendall(b"".join(len(wire).to_bytes(2) + wire for wire in wires))
        found: dict[int, int] = {}
        while found.get(4, 0) < 2 * WINDOW + 3:
            message = dns.message.from_wire(message_from(stream), one_rr_per_rrset=True)
            found[message.id] = found.get(message.id, 0) + len(message.answer)
    assert found == {1: 1, 2: 2 * WINDOW + 3, 3: 1, 4: 2 * WINDOW + 3}
    assert list(found) == [1, 2, 3, 4]


def test_tls_older_than_1_3_is_refused(served: Served) -> None:
    with pytest.raises(ssl.SSLError):
        over_tls(served, ssl.TLSVersion.TLSv1_2)


def test_promtool_takes_the_metrics(served: Served, need_program: NeedProgram) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.metrics}/metrics", timeout=10) as page:
        text = page.read()
    done = subprocess.run([need_program("promtool", "prometheus"), "check", "metrics"], input=text, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"127.0.0" not in text


def test_hostile_connections_delay_nobody_else(served: Served) -> None:
    over = served.counted("quota_refusals_total", quota="connections")
    with ExitStack() as held:
        for n in range(100):
            # 5 addresses, 20 connections each, 10 allowed: a half request, one too long (which is ended), nothing.
            stream = held.enter_context(socket.socket())
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.bind((f"127.0.1.{n % 5}", 0))
            with suppress(OSError):
                stream.connect(("127.0.0.1", served.port))
                stream.sendall((b"\0\x30\x12", b"\xff\xff" + b"x" * 3000, b"")[n % 3])
        began = time.monotonic()
        zone = dns.zone.Zone(ORIGIN)
        dns.query.inbound_xfr("127.0.0.1", zone, port=served.port, source=PLAIN, lifetime=10)
        assert time.monotonic() - began < 5
        for quota, least in (("connections", over + 1), ("request", 15)):
            took = until(lambda q=quota, n=least: served.counted("quota_refusals_total", quota=q) >= n, 5)  # type: ignore[misc]
            assert took < 5, quota


def ready(port: int, serial: int = 1000) -> None:
    """Until the zone can be had with that serial."""

    def there() -> bool:
        with suppress(dns.exception.Timeout, OSError):
            query = dns.message.make_query(ZONE, "SOA")
            answer = dns.query.udp(query, "127.0.0.1", 0.5, port, source=PLAIN).answer
            return bool(answer) and answer[0][0].serial == serial
        return False

    assert until(there, 30) < 30


NSD = """
server:
    ip-address: 127.0.0.1@{port}
    username: ""
    chroot: ""
    zonesdir: "{here}"
    xfrdir: "{here}"
    pidfile: "{here}/nsd.pid"
    zonelistfile: "{here}/zone.list"
    xfrdfile: "{here}/xfrd.state"
    database: ""
    zonefiles-write: 1
    xfrd-reload-timeout: 0
remote-control:
    control-enable: no
key:
    name: "short"
    algorithm: hmac-sha256
    secret: "{secret}"
zone:
    name: "{zone}"
    zonefile: "{zone}.zone"
    request-xfr: 127.0.0.1@{primary} short
    allow-notify: 127.0.0.1 short
"""


def test_nsd_as_a_secondary_holds_our_zone_follows_it_and_keeps_it_when_we_are_gone(
    tmp_path: Path, need_program: NeedProgram
) -> None:
    nsd, port, nsd_port = need_program("nsd", "nsd"), free_port(), free_port()
    store = Store.create(tmp_path / "state", url="https://feed.example/", root=b"{}", training=True)
    accept(store, 1, listed(range(1, 101)))
    settings = settings_file(tmp_path, nsd_port)
    config = NSD.format(port=nsd_port, here=tmp_path, secret=SECRET, zone=ZONE, primary=port)
    (tmp_path / "nsd.conf").write_text(config)

    def serial() -> int:
        query = dns.message.make_query(ZONE, "SOA")
        with suppress(dns.exception.DNSException, OSError, IndexError):
            return int(dns.query.udp(query, "127.0.0.1", 0.5, nsd_port).answer[0][0].serial)
        return 0

    def dumped() -> list[str]:
        with suppress(OSError, dns.exception.DNSException):
            return canonical((tmp_path / f"{ZONE}.zone").read_text())
        return []

    command = [nsd, "-d", "-c", str(tmp_path / "nsd.conf")]
    log = tmp_path / "nsd.log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            with serving(settings, store, port, tmp_path / "serve.log"):
                for version in (1, 2, 3):
                    if version > 1:
                        accept(store, version, listed(range(version * 10, 100 + version * 10)))
                    assert until(lambda wanted=version: serial() == wanted * 1000, 15) < 15, log.read_text()  # type: ignore[misc]
                    ours = canonical(rendered(store))
                    assert until(lambda wanted=ours: dumped() == wanted, 15) < 15, log.read_text()  # type: ignore[misc]
            accept(store, 4, listed(range(1, 10)))
            time.sleep(1)
            assert serial() == 3000
            assert dumped() == ours
        finally:
            server.terminate()
            server.wait(20)
