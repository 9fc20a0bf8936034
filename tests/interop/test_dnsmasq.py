"""dnsmasq takes our configuration, refuses what was decided and answers the rest."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from feeds.render import formats, render
from feeds.rule import Action
from tests.golden.sample import NOW, accepted, rule
from tests.interop.rpz_sets import free_port, running, seen

pytestmark = pytest.mark.interop
GOLDEN = Path(__file__).parent.parent / "golden"


def test_dnsmasq_takes_the_golden_configuration(need_program: Callable[[str, str], str]) -> None:
    dnsmasq = need_program("dnsmasq", "dnsmasq-base")
    path = GOLDEN / formats()["dnsmasq"].file_name
    done = subprocess.run([dnsmasq, "--test", "-C", path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "syntax check OK" in done.stderr


def test_dnsmasq_refuses_and_answers(tmp_path: Path, need_program: Callable[[str, str], str]) -> None:
    dnsmasq, port = need_program("dnsmasq", "dnsmasq-base"), free_port()
    rules = (
        rule("bet.example"),
        rule("free.bet.example", Action.PASSTHRU, number=2),
        rule("=exact.example", number=3),
        rule("notice.example", Action.LOCAL, data="192.0.2.1", number=4),
    )
    (tmp_path / "conf").write_text("".join(render("dnsmasq", accepted(rules), NOW)))
    (tmp_path / "hosts").write_text("".join(render("hosts", accepted(rules), NOW)))
    command = [dnsmasq, "-k", "-C", str(tmp_path / "conf"), f"--port={port}", "--listen-address=127.0.0.1"]
    command += ["--bind-interfaces", "--no-resolv", "--no-hosts", "--user=", "--pid-file=", "--local-ttl=1"]
    command += ["--address=/ok.example/198.51.100.1"]
    with running(command, port, "ok.example", tmp_path / "log"):
        assert seen(port, "bet.example") == seen(port, "x.y.bet.example") == "['0.0.0.0']"
        assert seen(port, "a.notice.example") == "local"
        # There is no upstream, so what is let through is refused by dnsmasq itself, not answered by the list.
        assert seen(port, "free.bet.example") == seen(port, "exact.example") == "REFUSED"
    command = [*command, f"--addn-hosts={tmp_path / 'hosts'}"]
    with running(command, port, "ok.example", tmp_path / "log"):
        assert seen(port, "exact.example") == "['0.0.0.0']"
        assert seen(port, "below.exact.example") == "REFUSED"
