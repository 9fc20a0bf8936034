"""Unbound reads our RPZ zone and gives the verdicts that the rules give."""

from collections.abc import Callable
from pathlib import Path

import pytest

from feeds.render import render
from feeds.rule import Action
from tests.golden.sample import NOW, RULES, accepted
from tests.interop.rpz_sets import APEX, UPSTREAM_ZONE, expected, free_port, questions, random_rules, running, seen

pytestmark = pytest.mark.interop

QUICK = (Action.NXDOMAIN, Action.NODATA, Action.PASSTHRU, Action.TCP_ONLY, Action.LOCAL)

CONFIG = """
server:
    directory: "{here}"
    chroot: ""
    username: ""
    pidfile: ""
    interface: 127.0.0.1
    port: {port}
    do-daemonize: no
    use-syslog: no
    verbosity: 1
    module-config: "respip validator iterator"
    do-not-query-localhost: no
    trust-anchor-file: ""
remote-control:
    control-enable: no
auth-zone:
    name: "{apex}"
    zonefile: "{here}/upstream.zone"
    for-downstream: no
    for-upstream: yes
rpz:
    name: "rpz.blocker"
    zonefile: "{here}/rpz.zone"
    rpz-log: no
"""


def test_unbound_agrees_with_the_rules_on_random_sets(tmp_path: Path, need_program: Callable[[str, str], str]) -> None:
    unbound, port = need_program("unbound", "unbound"), free_port()
    rules = random_rules(20261125, QUICK)
    (tmp_path / "rpz.zone").write_text("".join(render("rpz", accepted((*rules, *RULES)), NOW)))
    (tmp_path / "upstream.zone").write_text(UPSTREAM_ZONE)
    (tmp_path / "unbound.conf").write_text(CONFIG.format(here=tmp_path, port=port, apex=APEX))
    command = [unbound, "-d", "-p", "-c", str(tmp_path / "unbound.conf")]
    with running(command, port, f"probe.{APEX}", tmp_path / "log"):
        asked = list(questions())
        wrong = [(n, got, want) for n in asked if (got := seen(port, n)) != (want := expected(rules, n))]
    assert len(asked) > 1000
    assert wrong == []
