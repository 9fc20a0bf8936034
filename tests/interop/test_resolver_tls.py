"""DNS over TLS as kdig and openssl see it, and its limits."""

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from resolver.server import StreamLimits
from tests.resolver.live import BLOCKER, LiveResolver, free_port, plain_list, resolver, upstream
from tests.resolver.play import query

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory, need_program: Callable[[str, str], str]) -> tuple[Path, Path]:
    where = tmp_path_factory.mktemp("pem")
    certificate, key = where / "certificate.pem", where / "key.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=dns.example"
    command = [need_program("openssl", "openssl"), *request.split(), "-addext", "subjectAltName=DNS:dns.example"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def live(pem: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveResolver, int]]:
    where, port = tmp_path_factory.mktemp("tls"), free_port()
    options = ["--tls", f"127.0.0.1:{port}", "--certificate", str(pem[0]), "--private-key", str(pem[1])]
    with (
        upstream() as double,
        resolver(where, [double.address], "--list", str(plain_list(where, "bad.com")), *options) as made,
    ):
        yield made, port


def test_kdig_checks_the_certificate_and_gets_refusals_and_answers(live, pem, need_program):
    kdig = need_program("kdig", "knot-dnsutils")
    trust = [f"+tls-ca={pem[0]}", "+tls-hostname=dns.example"]
    seen = {}
    for name in ("www.bad.com", "www.good.com"):
        command = [kdig, "@127.0.0.1", "-p", str(live[1]), "+tls", *trust, name]
        seen[name] = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    assert "TLS session (TLS1.3)" in seen["www.bad.com"]
    assert "status: NXDOMAIN" in seen["www.bad.com"]
    assert "192.0.2.1" in seen["www.good.com"]


@pytest.mark.parametrize("name", ["www.bad.com", "www.good.com"])
def test_a_padded_query_gets_a_padded_answer_over_tls_alone(live, pem, need_program, name):
    kdig = need_program("kdig", "knot-dnsutils")
    for port, how, padded in ((live[1], "+tls", True), (live[0].port, "+tcp", False)):
        command = [kdig, "@127.0.0.1", "-p", str(port), how, "+padding=128", "+edns", name]
        seen = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
        assert ("PADDING:" in seen) is padded
        assert ("Received 468 B" in seen) is padded


def connected(port: int, pem: tuple[Path, Path]) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(pem[0]))
    context.set_alpn_protocols(["dot"])
    plain = socket.create_connection(("127.0.0.1", port), 5)
    return context.wrap_socket(plain, server_hostname="dns.example")


def test_queries_may_be_sent_ahead_and_each_is_answered(live, pem):
    with connected(live[1], pem) as stream:
        assert stream.selected_alpn_protocol() == "dot"
        asked = [query(f"ahead{i}.com", id=i) for i in range(60)]
        stream.sendall(b"".join(len(one).to_bytes(2) + one for one in asked))
        with stream.makefile("rb") as file:
            ids = {file.read(int.from_bytes(file.read(2)))[:2] for _query in asked}
    assert ids == {i.to_bytes(2) for i in range(60)}


def test_connections_of_one_address_are_bounded_and_shown(live, pem):
    most = StreamLimits().per_address
    with ExitStack() as opened:
        for _connection in range(most):
            opened.enter_context(connected(live[1], pem))
        assert live[0].metrics()["blocker_dns_tcp_connections"] == most
        with pytest.raises(OSError, match=r"reset|EOF|eof|closed"):
            opened.enter_context(connected(live[1], pem))


def test_old_tls_and_plain_octets_get_nothing_and_harm_nobody(live, need_program):
    openssl = need_program("openssl", "openssl")
    command = [openssl, "s_client", "-connect", f"127.0.0.1:{live[1]}", "-tls1_2"]
    assert subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False).returncode != 0
    with socket.create_connection(("127.0.0.1", live[1]), 5) as stream:
        stream.settimeout(5)
        one = query("good.com")
        stream.sendall(len(one).to_bytes(2) + one)
        answer = stream.recv(100)
        assert answer[:1] in (b"", b"\x15"), "at most a TLS alert"
    assert live[0].metrics()["blocker_dns_faults_total"] == 0


def test_tls_without_its_files_and_files_that_are_none_are_refused(tmp_path, pem):
    start = [BLOCKER, "dns", "serve", "--upstream", "127.0.0.1:1", "--tls", "127.0.0.1:8853"]
    for more, code, said in (
        ((), 2, "--certificate"),
        (("--certificate", str(pem[1]), "--private-key", str(pem[0])), 1, "PEM"),
    ):
        ended = subprocess.run([*start, *more], capture_output=True, text=True, timeout=20, check=False)
        assert ended.returncode == code
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr
