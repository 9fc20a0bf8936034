"""`blocker dns`: what is refused before anything starts, and what `query` reads out of a reply."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from feeds.manifest import Canary
from feeds.rule import Action
from resolver.command.serve import readable
from tests.resolver.live import BLOCKER, LiveResolver, accept, free_port, plain_list, resolver, upstream
from tests.resolver.play import rule

FUTURE = 2_000_000


def blocker(*arguments: str | Path, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    run = subprocess.run([BLOCKER, "dns", *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    assert "Traceback" not in run.stderr
    return run


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveResolver]:
    where = tmp_path_factory.mktemp("command")
    state = where / "state"
    accept(
        state,
        7,
        rule("bad.com", expires=FUTURE, number=41),
        rule("page.com", Action.LOCAL, data="203.0.113.9", expires=FUTURE, number=42),
        canaries=(Canary(name="canary.tpa.example", action=Action.LOCAL, data="203.0.113.77"),),
    )
    with upstream() as double, resolver(where, [double.address], "--state", str(state)) as made:
        yield made


def asked(live: LiveResolver, *arguments: str) -> dict:
    run = blocker("query", *arguments, "--server", f"127.0.0.1:{live.port}", "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_query_tells_entry_decision_and_where_to_object(live):
    found = asked(live, "www.bad.com")
    assert found["verdict"] == "blocked"
    assert found["rcode"] == "NXDOMAIN"
    assert found["entry"] == "tpa:41"
    assert found["decision"] == "12/QD-2026"
    assert found["objections"] == "objections@tpa.example"
    assert found["rule"] == "bad.com"
    assert found["serial"] == 7
    assert found["errors"][0]["code"] == 16


def test_query_tells_the_upstream_that_answered(live):
    label = next(s for s in live.metrics() if s.startswith("blocker_dns_upstream_up")).split('"')[1]
    for origin in ("upstream", "cache"):
        found = asked(live, "told.net", "A")
        assert (found["verdict"], found["origin"], found["upstream"]) == ("answered", origin, label)
        assert found["answer"][0].endswith("A 192.0.2.1")


def test_query_speaks_to_people_and_reads_what_they_paste(live):
    run = blocker("query", "http://PAGE[.]com/login", "--server", f"127.0.0.1:{live.port}", "--tcp")
    assert run.returncode == 0
    for word in ("page.com", "blocked", "tpa:42", "12/QD-2026", "203.0.113.9"):
        assert word in run.stdout


def test_a_canary_is_reported_as_seen(live):
    assert live.metrics()['blocker_canary_last_seen_timestamp_seconds{action="local"}'] == 0
    assert asked(live, "canary.tpa.example")["answer"] == ["canary.tpa.example 300 A 203.0.113.77"]
    assert live.metrics()['blocker_canary_last_seen_timestamp_seconds{action="local"}'] > 1_700_000_000


def test_compile_puts_an_image_where_serve_finds_it_and_says_when_there_is_nothing_to_do(tmp_path):
    names = plain_list(tmp_path, "a.com", "com")
    for made in (True, False):
        run = blocker("compile", "--list", names, "--json")
        assert run.returncode == 0, run.stderr
        told = json.loads(run.stdout)
        size = (tmp_path / "list.txt.image").stat().st_size
        assert told == {
            "image": f"{names}.image", "compiled": made, "serial": 0, "rules": 1, "refused": 1, "bytes": size
        }  # fmt: skip
    with upstream() as double, resolver(tmp_path, [double.address], "--list", str(names)) as live:
        assert live.asks("x.a.com").rcode() == 3
    assert "fresh already" in blocker("compile", "--list", names).stdout
    run = blocker("compile", "--state", tmp_path / "nowhere")
    assert run.returncode == 1
    assert "holds no release yet" in run.stderr
    assert "`blocker dns serve --open`" in run.stderr


def test_query_without_a_server_is_one_sentence():
    run = blocker("query", "bad.com", "--server", f"127.0.0.1:{free_port()}")
    assert run.returncode == 1
    assert "cannot be reached" in run.stderr
    run = blocker("query", "bad.com", "BOGUS")
    assert run.returncode == 1
    assert "BOGUS" in run.stderr


def test_a_plain_list_is_for_this_machine_alone_unless_it_is_a_trial(tmp_path):
    names = plain_list(tmp_path, "a.com")
    run = blocker("serve", "--list", names, "--listen", "0.0.0.0:5399", "--upstream", "127.0.0.1:1")
    assert run.returncode == 1
    assert "--trial" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--listen", "resolver.example:53", "--upstream", "127.0.0.1:1"], 2, "resolver.example:53"),
        (["--listen", "127.0.0.1:99999", "--upstream", "127.0.0.1:1"], 2, "65535"),
        (["--listen", "127.0.0.1:5399"], 2, "--upstream"),
        (["--listen", "127.0.0.1:5399", "--upstream", "127.0.0.1:5399"], 2, "ask itself"),
        (["--list", "a", "--state", "b", "--upstream", "127.0.0.1:1"], 2, "not both"),
    ],
)
def test_wrong_usage_is_said_before_anything_starts(arguments, code, says):
    run = blocker("serve", *arguments)
    assert run.returncode == code
    assert says in run.stderr


def started(tmp_path: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    who = ["--user", "root"] if os.geteuid() == 0 else []
    where = ["--listen", f"127.0.0.1:{free_port()}", "--metrics", "off", "--upstream", "127.0.0.1:1"]
    run = blocker("serve", *arguments, *where, *who)
    # What stopped it is the last that is said, and no fault of the program.
    assert "Error: " in run.stderr
    assert "fault of the program" not in run.stderr
    return run


def test_a_missing_list_is_one_sentence(tmp_path):
    run = started(tmp_path, "--list", tmp_path / "none.txt")
    assert run.returncode == 1
    assert "none.txt cannot be read" in run.stderr


def test_a_list_of_nothing_that_may_be_blocked_is_refused_with_the_reasons(tmp_path):
    run = started(tmp_path, "--list", plain_list(tmp_path, "com", "com.vn", "a..b", "10.0.0.0/8"))
    assert run.returncode == 1
    for line in ("line 1", "line 2", "line 3", "line 4"):
        assert line in run.stderr


def test_without_any_release_it_does_not_start_and_says_what_to_do(tmp_path):
    run = started(tmp_path, "--state", tmp_path / "state")
    assert run.returncode == 1
    assert "blocker feed pull" in run.stderr
    assert "--open" in run.stderr


def test_a_line_of_the_exceptions_that_is_none_is_named(tmp_path):
    wrong = tmp_path / "except.txt"
    wrong.write_text("good.com\nno such..name\n")
    run = started(tmp_path, "--list", plain_list(tmp_path, "a.com"), "--except", wrong)
    assert run.returncode == 1
    assert "line 2" in run.stderr


@pytest.mark.parametrize(
    ("key", "says"), [("list.txt", "Next: give the certificate"), ("none", "Next: check the path")]
)
def test_what_is_no_certificate_with_its_key_is_refused_with_what_to_do(tmp_path, key, says):
    names = plain_list(tmp_path, "a.com")
    pair = ("--certificate", names, "--private-key", tmp_path / key)
    run = started(tmp_path, "--list", names, "--https", f"127.0.0.1:{free_port()}", *pair)
    assert run.returncode == 1
    assert says in run.stderr


def test_a_line_of_the_log_is_readable_in_vietnamese_and_writes_on_no_terminal():
    told = {"what": "không đọc được «a»", "path": "\x1b]0;x\x07\n\x85\u202e\udcff"}
    line = readable(told)
    assert json.loads(line) == told
    assert "không đọc được «a»" in line
    assert line.isprintable()
    assert line.encode()


def test_an_unknown_user_is_refused(tmp_path):
    names = plain_list(tmp_path, "a.com")
    run = blocker("serve", "--list", names, "--upstream", "127.0.0.1:1", "--user", "nobody-of-that-name")
    assert run.returncode == 1
    assert "nobody-of-that-name" in run.stderr


def test_exceptions_pass_and_the_floor_is_refused_and_counted(tmp_path):
    passed = tmp_path / "except.txt"
    passed.write_text("# ours\nwww.a.com\n=b.com\n192.0.2.1\n")
    names = plain_list(tmp_path, "a.com", "b.com", "com.vn", "192.0.2.0/24", "192.0.3.0/24")
    with (
        upstream() as double,
        resolver(tmp_path, [double.address], "--list", str(names), "--except", str(passed)) as live,
    ):
        rcodes = {name: live.asks(name).rcode() for name in ("a.com", "www.a.com", "b.com", "x.b.com", "hanoi.com.vn")}
        assert rcodes == {"a.com": 3, "www.a.com": 0, "b.com": 0, "x.b.com": 3, "hanoi.com.vn": 0}
        assert live.metrics()["blocker_dns_refused_rules"] == 2
