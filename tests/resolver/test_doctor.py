"""`blocker doctor` says what keeps a resolver from its work, and its exit code says whether anything does."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from resolver import lane
from resolver.command.compiling import compile_image
from resolver.command.doctor import doctor
from tests.resolver.live import accept, free_port
from tests.resolver.play import rule


@pytest.fixture
def state(tmp_path: Path) -> Path:
    accept(tmp_path / "state", 7, rule("listed.com", expires=2_000_000))
    return tmp_path / "state"


def run(state: Path, *more: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    done = CliRunner().invoke(doctor, ["--json", "--state", str(state), *more])
    told = json.loads(done.output)
    found: dict[str, list[dict[str, Any]]] = {}
    for one in told["findings"]:
        found.setdefault(one["about"], []).append(one)
    assert told["ok"] is (done.exit_code == 0)
    return done.exit_code, found


def listen() -> tuple[str, str]:
    return "--listen", f"127.0.0.1:{free_port()}"


def test_a_machine_with_a_release_is_well_and_learns_that_an_image_would_be_quicker(state):
    code, found = run(state, *listen())
    assert code == 0
    [release] = found["release"]
    assert release["state"] == "good"
    assert "release 7 with 1 rules" in release["what"]
    assert found["image"][0]["state"] == "warning"
    assert CliRunner().invoke(compile_image, ["--state", str(state)]).exit_code == 0
    assert run(state, *listen())[1]["image"][0]["state"] == "good"
    accept(state, 8, rule("other.com", expires=2_000_000))
    assert run(state, *listen())[1]["image"][0]["state"] == "warning", "it is of the release before"


def test_without_a_release_it_says_what_to_run_and_fails(tmp_path):
    code, found = run(tmp_path, *listen())
    assert code == 1
    assert found["release"][0]["state"] == "bad"
    assert "blocker feed pull" in found["release"][0]["then"]


def test_a_damaged_image_is_seen(state):
    assert CliRunner().invoke(compile_image, ["--state", str(state)]).exit_code == 0
    image = state / "resolver.image"
    data = bytearray(image.read_bytes())
    data[-300] ^= 1
    image.write_bytes(data)
    assert "damaged" in run(state, *listen())[1]["image"][0]["what"]


def test_a_port_in_use_is_named_and_no_fault_since_the_resolver_itself_may_have_it(state):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, found = run(state, "--listen", f"127.0.0.1:{port}")
    assert code == 0
    assert found["port"][0]["state"] == "warning"
    assert f"127.0.0.1:{port}" in found["port"][0]["what"]


def test_an_address_that_this_machine_does_not_have_would_keep_the_resolver_from_starting(state):
    code, found = run(state, "--listen", "192.0.2.53:5353")
    assert (code, found["port"][0]["state"]) == (1, "bad")
    assert "an address that this machine has" in found["port"][0]["then"]


def test_the_right_to_bind_port_53_is_looked_for(state, monkeypatch):
    monkeypatch.setattr("resolver.command.doctor.may_bind", lambda port: port != 53)
    code, found = run(state, "--listen", "127.0.0.1:53")
    assert (code, found["port"][0]["state"]) == (1, "bad")
    assert "CAP_NET_BIND_SERVICE" in found["port"][0]["then"]


@pytest.mark.parametrize(("why", "state_"), [("", "good"), ("No module named 'resolver.lane.native'", "warning")])
def test_it_says_why_there_is_no_compiled_lane(state, monkeypatch, why, state_):
    monkeypatch.setattr(lane, "missing", lambda: why)
    code, found = run(state, *listen())
    assert code == 0
    assert found["lane"][0]["state"] == state_
    assert why in found["lane"][0]["what"]


def test_kernel_limits_and_processors_are_told(state):
    _code, found = run(state, *listen())
    assert found["sealed_memory"][0]["state"] == found["shared_ports"][0]["state"] == "good"
    assert f"{len(os.sched_getaffinity(0))} processes answer" in found["processors"][0]["what"]
    assert {"open_files", "receive_buffer"} <= set(found)
