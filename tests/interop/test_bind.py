"""BIND reads our RPZ zones without a complaint and gives the verdicts that the rules give."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from feeds.name import DomainName
from feeds.pruning import prune
from feeds.render import formats, render
from feeds.rule import Action
from tests.golden.sample import CANARIES, NOW, RULES, accepted, rule
from tests.interop.rpz_sets import (
    APEX,
    NOTICE,
    UPSTREAM_ZONE,
    expected,
    free_port,
    questions,
    random_rules,
    running,
    seen,
)

pytestmark = pytest.mark.interop
NeedProgram = Callable[[str, str], str]

QUICK = (Action.NXDOMAIN, Action.NODATA, Action.PASSTHRU, Action.TCP_ONLY, Action.LOCAL)

CONFIG = """
options {{
    directory "{here}"; pid-file none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion yes; allow-query {{ 127.0.0.1; }}; dnssec-validation no; notify no; session-keyfile none;
    response-policy {{ zone "rpz.blocker" policy given max-policy-ttl 300 min-update-interval 1 log no; }}
        qname-wait-recurse no nsip-wait-recurse no;
}};
controls {{ }};
logging {{ channel out {{ stderr; severity info; }}; category default {{ out; }}; category rpz {{ out; }}; }};
zone "." {{ type hint; file "{here}/root.hint"; }};
zone "rpz.blocker" {{ type primary; file "{here}/rpz.zone"; check-names ignore; }};
zone "{apex}" {{ type primary; file "{here}/upstream.zone"; check-names ignore; }};
"""


@pytest.mark.parametrize("name", ["rpz", "rpz-names"])
def test_named_checkzone_takes_the_golden_zone(name: str, need_program: NeedProgram) -> None:
    checker = need_program("named-checkzone", "bind9-utils")
    path = Path(__file__).parent.parent / "golden" / formats()[name].file_name
    done = subprocess.run([checker, "rpz.blocker", path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loaded serial 7001" in done.stdout


@pytest.mark.data
def test_named_checkzone_takes_a_real_list(
    tmp_path: Path, need_program: NeedProgram, real_list: Callable[[str], list[str]]
) -> None:
    checker = need_program("named-checkzone", "bind9-utils")
    names = dict.fromkeys(real_list("threat-vn.domains.txt"))
    rules = prune(rule(DomainName.parse(name).name.text, number=n) for n, name in enumerate(names, 1)).kept
    rendering = render("rpz", accepted(rules), NOW)
    (tmp_path / "zone").write_text("".join(rendering))
    assert rendering.left_out == {}
    done = subprocess.run([checker, "rpz.blocker", tmp_path / "zone"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def serve(tmp_path: Path, need_program: NeedProgram, zone: str) -> tuple[list[str], int]:
    named = need_program("named", "bind9")
    port = free_port()
    (tmp_path / "root.hint").write_text(". 3600000 NS none.invalid.\nnone.invalid. 3600000 A 127.0.0.1\n")
    (tmp_path / "upstream.zone").write_text(UPSTREAM_ZONE)
    (tmp_path / "rpz.zone").write_text(zone)
    (tmp_path / "named.conf").write_text(CONFIG.format(here=tmp_path, port=port, apex=APEX))
    return [named, "-f", "-n", "1", "-c", str(tmp_path / "named.conf")], port


def test_bind_agrees_with_the_rules_on_random_sets(tmp_path: Path, need_program: NeedProgram) -> None:
    rules = random_rules(20261124, QUICK)
    command, port = serve(tmp_path, need_program, "".join(render("rpz", accepted(rules), NOW)))
    with running(command, port, f"probe.{APEX}", tmp_path / "log"):
        asked = list(questions())
        wrong = [(n, got, want) for n in asked if (got := seen(port, n)) != (want := expected(rules, n))]
    assert len(asked) > 1000
    assert wrong == []


def test_bind_carries_out_drop_and_addresses_and_complains_of_no_record(
    tmp_path: Path, need_program: NeedProgram
) -> None:
    rules = (
        *RULES,
        rule(f"drop.{APEX}", Action.DROP, number=90),
        rule("198.51.100.1/32", Action.LOCAL, data=NOTICE, number=91),
        rule(f"free.{APEX}", Action.PASSTHRU, number=92),
        rule("2001:db8:5:0:1::/80", number=93),
        rule("2001:db8:0:1:0:1:0:1/128", number=94),
    )
    zone = "".join(render("rpz", accepted(rules, canaries=CANARIES), NOW))
    command, port = serve(tmp_path, need_program, zone)
    with running(command, port, f"free.{APEX}", tmp_path / "log"):
        assert seen(port, f"drop.{APEX}", 0.7) == "drop"
        assert seen(port, f"below.drop.{APEX}", 0.7) == "drop"
        assert seen(port, f"other.{APEX}") == "local", "the upstream's address lies in a listed prefix"
        assert seen(port, f"free.{APEX}") == "answer"
        assert seen(port, "canary-nxdomain.example") == "nxdomain"
    # BIND says so where a trigger is not in the form it would write itself, or is skipped.
    log = [line for line in (tmp_path / "log").read_text().splitlines() if "rpz" in line.lower()]
    assert any("reload done: success" in line for line in log), log
    assert not [line for line in log if any(word in line for word in ("canonical", "invalid", "warning", "error"))], log
