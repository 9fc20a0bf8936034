"""DNS over HTTPS as kdig and curl see it, beside TCP; what floods cost; and a certificate that is renewed."""

import base64
import os
import pwd
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame

from resolver.server import StreamLimits
from tests.resolver.live import (
    BLOCKER,
    LiveResolver,
    UpstreamDouble,
    free_port,
    obliging,
    plain_list,
    resolver,
    upstream,
)
from tests.resolver.play import query, response
from tests.resolver.play_https import Browser, frames_of

pytestmark = pytest.mark.interop

SECONDS = 20


def certify(openssl: str, where: Path, name: str) -> tuple[Path, Path]:
    """A certificate of its own key for dns.example, in files of that name."""
    certificate, key = where / f"{name}.pem", where / f"{name}-key.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=dns.example"
    command = [openssl, *request.split(), "-addext", "subjectAltName=DNS:dns.example,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def openssl(need_program: Callable[[str, str], str]) -> str:
    return need_program("openssl", "openssl")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory, openssl: str) -> tuple[Path, Path]:
    return certify(openssl, tmp_path_factory.mktemp("pem"), "dns")


@dataclass
class Served:
    live: LiveResolver
    port: int
    double: UpstreamDouble
    certificate: Path

    @property
    def url(self) -> str:
        return f"https://dns.example:{self.port}/dns-query"

    def curl(self, program: str, *arguments: str, version: str = "--http2") -> subprocess.CompletedProcess[bytes]:
        """A request to dns.example, its certificate checked."""
        resolve = ["--resolve", f"dns.example:{self.port}:127.0.0.1", "--cacert", str(self.certificate)]
        command = [program, "-sS", version, *resolve, *arguments]
        return subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)

    def connects(self) -> "Connected":
        return Connected(self.port, self.certificate)


class Connected:
    """A connection over TLS that speaks HTTP/2 as its browser does, or as nobody should."""

    def __init__(self, port: int, certificate: Path, alpn: str = "h2", host: str = "127.0.0.1") -> None:
        context = ssl.create_default_context(cafile=str(certificate))
        context.set_alpn_protocols([alpn])
        plain = socket.create_connection((host, port), 5)
        self.stream = context.wrap_socket(plain, server_hostname="dns.example")
        self.browser = Browser()

    def asks(self, message: bytes) -> bytes:
        """The answer to one query."""
        stream = self.browser.post(message)
        self.stream.sendall(self.browser.out())
        while stream not in self.browser.whole:
            data = self.stream.recv(65_536)
            if not data:
                raise ConnectionError("it ended")
            self.browser.hear(data)
            if more := self.browser.out():
                self.stream.sendall(more)
        return self.browser.bodies[stream]

    def __enter__(self) -> "Connected":
        return self

    def __exit__(self, *_what: object) -> None:
        self.stream.close()


def mind(data: bytes, tcp: bool) -> list[bytes] | None:
    """One name is short-lived, one is long, one is unknown, one never answered."""
    name = data[13 : 13 + data[12]].lower()
    if name == b"silent":
        return None
    if name == b"none":
        soa = "net. 900 IN SOA ns.net. root.net. 1 3600 600 86400 120"
        return [response(data, rcode="NXDOMAIN", authority=[soa])]
    owner = ".".join(("large" if name == b"large" else name.decode(), "net."))
    if name == b"large":
        texts = [f'{owner} 60 IN TXT "{"x" * 200} {i}"' for i in range(250)]
        return [response(data, *texts)] if tcp else [response(data, flags=0x0200)]
    return [response(data, f"{owner} 60 IN A 192.0.2.1")]


@pytest.fixture(scope="module")
def served(pem: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    where, port = tmp_path_factory.mktemp("https"), free_port()
    options = ["--https", f"127.0.0.1:{port}", "--certificate", str(pem[0]), "--private-key", str(pem[1])]
    with (
        upstream(mind) as double,
        resolver(where, [double.address], "--list", str(plain_list(where, "bad.com")), *options) as made,
    ):
        yield Served(made, port, double, pem[0])


def eventually(true: Callable[[], bool]) -> bool:
    """Is it so within five seconds?"""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.05)
    return False


def over_tcp(live: LiveResolver, message: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", live.port), 5) as stream, stream.makefile("rb") as file:
        stream.sendall(len(message).to_bytes(2) + message)
        return file.read(int.from_bytes(file.read(2)))


@pytest.mark.parametrize("how", ["+https", "+https-get"])
def test_kdig_checks_the_certificate_and_gets_refusals_and_answers(served, need_program, how):
    kdig = need_program("kdig", "knot-dnsutils")
    trust = [f"+tls-ca={served.certificate}", "+tls-hostname=dns.example"]
    seen = {}
    for name in ("www.bad.com", "good.net"):
        command = [kdig, "@127.0.0.1", "-p", str(served.port), "+https", how, *trust, name]
        seen[name] = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    method = "GET" if how.endswith("get") else "POST"
    assert f"HTTP session (HTTP/2-{method})" in seen["good.net"]
    assert "(status: 200)" in seen["good.net"]
    assert "192.0.2.1" in seen["good.net"]
    assert "status: NXDOMAIN" in seen["www.bad.com"]
    assert "EDE: 15 (Blocked)" in seen["www.bad.com"]
    assert "Received 468 B" in seen["www.bad.com"], "padded, as kdig's query was"
    assert "Received 468 B" in seen["good.net"]


def test_curl_gets_an_answer_by_post_and_get_with_its_type_and_lifetime(served, need_program, tmp_path):
    curl, message, body = need_program("curl", "curl"), query("fresh.net", id=0), tmp_path / "answer"
    (tmp_path / "query").write_bytes(message)
    by_post = ["-H", "content-type: application/dns-message", "--data-binary", f"@{tmp_path}/query", served.url]
    by_get = [f"{served.url}?dns={base64.urlsafe_b64encode(message).rstrip(b'=').decode()}"]
    for arguments in (by_post, by_get):
        done = served.curl(curl, "-D", "-", "-o", str(body), *arguments)
        assert done.stderr == b""
        head = done.stdout.decode().replace("\r", "").splitlines()
        assert head[0].split() == ["HTTP/2", "200"]
        assert "content-type: application/dns-message" in head
        assert any(line in head for line in ("cache-control: max-age=60", "cache-control: max-age=59"))
        assert body.read_bytes()[:2] == b"\0\0"
        assert body.read_bytes()[-4 - 11 :][:4] == bytes((192, 0, 2, 1))


def test_curl_resolves_names_by_us(served, need_program):
    curl = need_program("curl", "curl")
    doh = ["--doh-url", served.url, "-o", "/dev/null", "-w", "%{remote_ip}", "--connect-timeout", "2"]
    refused = served.curl(curl, *doh, "http://www.bad.com/")
    assert refused.returncode == 6, "the name could not be resolved"
    resolved = served.curl(curl, *doh, "http://good.net:1/", "--connect-timeout", "1")
    assert resolved.returncode in (7, 28), "resolved, and of course nobody is at 192.0.2.1"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["-X", "PUT"], "405"),
        (["-d", "x"], "415"),
        ([], "400"),
        (["-H", "content-type: application/dns-message", "--data-binary", "@big"], "413"),
        (["-H", "content-type: application/dns-message", "--data-binary", "short"], "400"),
        (["--path-as-is", "--url-query", "dns=AAAA=="], "400"),
    ],
)
def test_curl_is_told_why_there_is_no_answer(served, need_program, tmp_path, arguments, status):
    curl, big = need_program("curl", "curl"), tmp_path / "big"
    big.write_bytes(bytes(1_000_000))
    if "--url-query" in arguments:
        arguments, url = [], served.url + "?dns=AAAA=="
    else:
        url = served.url
    arguments = [word.replace("@big", f"@{big}") for word in arguments]
    done = served.curl(curl, "-o", "/dev/null", "-w", "%{http_code}", *arguments, url)
    assert (done.stdout, done.stderr) == (status.encode(), b"")


def test_http_1_is_refused_in_the_handshake_and_told_so_without_one(served, need_program):
    curl = need_program("curl", "curl")
    assert served.curl(curl, served.url, version="--http1.1").returncode == 35
    done = served.curl(curl, "--no-alpn", "-o", "/dev/null", "-w", "%{http_code}", served.url, version="--http1.1")
    assert done.stdout == b"505"
    with pytest.raises(ssl.SSLError):
        Connected(served.port, served.certificate, alpn="dot")


def test_blocked_forwarded_cached_large_and_unknown_answers_are_those_of_tcp(served):
    with served.connects() as connected:
        for name, times in (("www.bad.com", 1), ("first.net", 2), ("none.net", 1), ("large.net", 2)):
            rtype = "TXT" if name == "large.net" else "A"
            for number in range(times):
                message = query(name, rtype, id=number)
                https, tcp = connected.asks(message), over_tcp(served.live, message)
                # The second may have been answered a second later.
                assert https in (tcp, over_tcp(served.live, message)) or len(https) == len(tcp) > 10_000
                assert https[:2] == number.to_bytes(2)


def test_stale_answers_are_those_of_tcp(pem, tmp_path):
    silent = False

    def short(data: bytes, tcp: bool) -> list[bytes] | None:
        return None if silent else [response(data, "old.net. 1 IN A 192.0.2.9")]

    port = free_port()
    options = ["--https", f"127.0.0.1:{port}", "--certificate", str(pem[0]), "--private-key", str(pem[1])]
    with (
        upstream(short) as double,
        resolver(tmp_path, [double.address], "--list", str(plain_list(tmp_path, "bad.com")), *options) as live,
        Connected(port, pem[0]) as connected,
    ):
        message = query("old.net", id=7)
        over_tcp(live, message)
        time.sleep(1.2)
        silent = True
        stale = over_tcp(live, message)
        assert (30).to_bytes(4) in stale
        assert connected.asks(message) == stale
        assert live.metrics()['blocker_dns_queries_total{outcome="stale",transport="tcp"}'] == 2


def test_told_to_stop_it_answers_what_waits_and_says_goodbye(pem, tmp_path):
    def slow(data: bytes, tcp: bool) -> list[bytes]:
        time.sleep(0.5)
        return obliging(data, tcp)

    port, names = free_port(), plain_list(tmp_path, "bad.com")
    options = ["--https", f"[::1]:{port}", "--certificate", str(pem[0]), "--private-key", str(pem[1])]
    with (
        upstream(slow) as double,
        resolver(tmp_path, [double.address], "--list", str(names), *options) as live,
        Connected(port, pem[0], host="::1") as connected,
    ):
        assert connected.asks(query("www.bad.com"))[3] & 15 == 3
        stream = connected.browser.post(query("slow.net"))
        connected.stream.sendall(connected.browser.out())
        assert eventually(lambda: any(b"\4slow" in data.lower() for data, _client in double.heard)), "it waits"
        live.process.send_signal(signal.SIGTERM)
        said = b""
        with suppress(OSError):
            while data := connected.stream.recv(65_536):
                said += data
        kinds = [type(frame) for frame in frames_of(said)]
        assert kinds == [GoAwayFrame, HeadersFrame, DataFrame]
        assert frames_of(said)[-1].stream_id == stream
        assert live.process.wait(10) == 0


def test_connections_over_https_and_tcp_are_counted_together(served):
    most = StreamLimits().per_address
    with ExitStack() as opened:
        for _connection in range(most // 2):
            opened.enter_context(served.connects())
        for _connection in range(most - most // 2):
            opened.enter_context(socket.create_connection(("127.0.0.1", served.live.port), 5))
        assert eventually(lambda: served.live.metrics()["blocker_dns_tcp_connections"] == most)
        with pytest.raises(OSError, match=r"reset|EOF|eof|closed"):
            opened.enter_context(served.connects())


def flooded(served: Served, send: Callable[[Connected, int], None], seconds: float = 2.0) -> float:
    """Floods from six connections, each begun again when it is ended; the slowest answer that others got over UDP."""
    until, slowest, turn = time.monotonic() + seconds, 0.0, 0
    attackers: list[Connected | None] = [None] * 6
    while time.monotonic() < until:
        for place, attacker in enumerate(attackers):
            try:
                if attacker is None:
                    attackers[place] = attacker = served.connects()
                    attacker.stream.settimeout(0.01)
                send(attacker, turn)
            except OSError:
                if attacker is not None:
                    attacker.stream.close()
                attackers[place] = None
        turn += 1
        before = time.monotonic()
        assert served.live.asks("www.bad.com").rcode() == 3
        slowest = max(slowest, time.monotonic() - before)
    for attacker in attackers:
        if attacker is not None:
            attacker.stream.close()
    return slowest


def rapid_reset(attacker: Connected, _turn: int) -> None:
    for number in range(100):
        with suppress(Exception):
            stream = attacker.browser.post(query(f"reset{number}.net"))
            attacker.browser.h2.reset_stream(stream, 8)
    attacker.stream.sendall(attacker.browser.out())


def pings(attacker: Connected, _turn: int) -> None:
    attacker.stream.sendall(attacker.browser.out(*[PingFrame(0, bytes(8)) for _ping in range(500)]))


def unasked_resets(attacker: Connected, turn: int) -> None:
    attacker.stream.sendall(attacker.browser.out(*[RstStreamFrame(2 * i + 1) for i in range(turn, turn + 500)]))


def never_read(attacker: Connected, turn: int) -> None:
    if turn == 0:
        attacker.browser.h2.increment_flow_control_window(2**30)
        attacker.browser.h2.update_settings({4: 2**30})
    if attacker.browser.h2.open_outbound_streams < 100:
        for _query in range(20):
            attacker.browser.post(query("large.net", "TXT"))
    attacker.stream.sendall(attacker.browser.out())


def memory(pid: int) -> int:
    """Octets resident in a process and its children."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    total = 0
    for one in pids:
        with suppress(OSError):
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return total


@pytest.mark.parametrize("flood", [rapid_reset, pings, unasked_resets, never_read])
def test_others_are_served_while_a_flood_goes_on_and_memory_stays_where_it_was(served, flood):
    time.sleep(0.2)
    before = memory(served.live.process.pid)
    slowest = flooded(served, flood)
    assert slowest < 1
    assert memory(served.live.process.pid) - before < 60 << 20
    assert served.live.metrics()["blocker_dns_faults_total"] == 0
    with served.connects() as connected:
        assert connected.asks(query("www.bad.com"))[3] & 15 == 3


def test_the_log_names_no_client_and_no_query(served):
    with served.connects() as connected:
        connected.asks(query("secret-name.net"))
    text = served.live.log_path.read_text()
    assert "secret-name" not in text
    assert "127.0.0.1" not in text


def shows(port: int, certificate: Path) -> bool:
    """Is that what clients see?"""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=5).split() == certificate.read_text().split()


def renewed(live: LiveResolver, event: str, count: int = 1) -> dict[str, object]:
    live.process.send_signal(signal.SIGHUP)
    return live.waits_for(event, count)[-1]


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_new_certificate_is_shown_after_sighup_and_a_bad_one_is_not(tmp_path, openssl, lanes):
    first, second = certify(openssl, tmp_path, "first"), certify(openssl, tmp_path, "second")
    at, key, port, tls = tmp_path / "live.pem", tmp_path / "live-key.pem", free_port(), free_port()
    at.write_bytes(first[0].read_bytes())
    key.write_bytes(first[1].read_bytes())
    options = ["--https", f"127.0.0.1:{port}", "--tls", f"127.0.0.1:{tls}"]
    options += ["--certificate", str(at), "--private-key", str(key), "--list", str(plain_list(tmp_path, "bad.com"))]
    with upstream() as double, resolver(tmp_path, [double.address], *options, lanes=lanes) as live:
        assert shows(port, first[0])
        with Connected(port, first[0]) as old:
            at.write_bytes(second[0].read_bytes())
            kept = renewed(live, "certificate_kept")
            assert "certificate and its private key" in str(kept["what"])
            assert kept["kept"] == "the certificate read before"
            assert shows(port, first[0]), "half a renewal changes nothing"
            key.write_bytes(second[1].read_bytes())
            renewed(live, "certificate_renewed")
            for one in (port, tls):
                assert eventually(lambda one=one: shows(one, second[0]))
            assert old.asks(query("www.bad.com"))[3] & 15 == 3, "open connections go on"
        key.unlink()
        kept = renewed(live, "certificate_kept", 2)
        assert "No such file" in str(kept["what"])
        assert shows(port, second[0])


@pytest.mark.root
@pytest.mark.usefixtures("need_root")
@pytest.mark.parametrize("readable", [False, True])
def test_a_key_that_the_user_cannot_read_any_more_is_named_and_one_of_its_group_is_read(openssl, readable):
    with tempfile.TemporaryDirectory() as name:
        where, port = Path(name), free_port()
        where.chmod(0o755)
        first, second = certify(openssl, where, "first"), certify(openssl, where, "second")
        os.chown(second[1], 0, pwd.getpwnam("nobody").pw_gid)
        second[1].chmod(0o640 if readable else 0o600)
        options = ["--https", f"127.0.0.1:{port}", "--certificate", str(first[0]), "--private-key", str(first[1])]
        options += ["--list", str(plain_list(where, "bad.com"))]
        with upstream() as double, resolver(where, [double.address], *options, user="nobody") as live:
            second[0].replace(first[0])
            second[1].replace(first[1])
            if readable:
                renewed(live, "certificate_renewed")
                assert eventually(lambda: shows(port, first[0]))
            else:
                kept = renewed(live, "certificate_kept")
                assert "Permission denied" in str(kept["what"])
                assert "LoadCredential" in str(kept["then"])


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--https", "127.0.0.1:8443"], 2, "--certificate"),
        (["--https", "127.0.0.1:8443", "--tls", "127.0.0.1:8443"], 2, "--certificate"),
        (["--https", "127.0.0.1:8443", "--certificate", "/none", "--private-key", "/none"], 1, "No such file"),
    ],
)
def test_https_without_what_it_needs_is_refused_at_the_start(more, code, said):
    start = [BLOCKER, "dns", "serve", "--upstream", "127.0.0.1:1", *more]
    ended = subprocess.run(start, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
