"""Promises of the console command: fast help, no traceback, exit codes, and no arrow bent by loading commands."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocker.cli import SUMMARIES

BLOCKER = str(Path(sys.executable).parent / "blocker")
ISP_COMMANDS = ("feed", "ip", "dns")


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BLOCKER, *words], capture_output=True, text=True, env={**os.environ, **env}, timeout=60, check=False
    )


def test_help_is_there_in_under_300_milliseconds() -> None:
    def once() -> float:
        start = time.perf_counter()
        assert run("--help").returncode == 0
        return time.perf_counter() - start

    assert min(once() for _ in range(5)) < 0.3


def test_help_names_every_command_with_a_sentence() -> None:
    text = run("--help").stdout
    for name, sentence in SUMMARIES.items():
        assert f"  {name} " in text
        assert sentence[:40] in text


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_command_loads_and_explains_itself(name: str) -> None:
    done = run(name, "--help", BLOCKER_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert "Usage: blocker " + name in done.stdout


@pytest.mark.parametrize("name", ISP_COMMANDS)
def test_an_isp_s_command_loads_nothing_of_the_authority(name: str) -> None:
    program = (
        f"import sys; from blocker.cli import main; sys.argv = ['blocker', {name!r}, '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in sys.modules if m.startswith('blocker.') and not m == 'blocker.cli'], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("words", [["nonsense"], ["feed", "nonsense"], ["--nonsense"], ["feed", "pull", "--nonsense"]])
def test_wrong_usage_exits_with_2_and_a_sentence(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_configuration_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "blocker.toml"
    broken.write_text("[feed\n")
    done = run("--config", str(broken), "feed", "status")
    assert done.returncode == 1
    assert str(broken) in done.stderr
    assert "Next:" in done.stderr
    missing = run("--config", str(tmp_path / "none.toml"), "feed", "status")
    assert missing.returncode == 1
    assert "none.toml" in missing.stderr


def test_an_error_under_json_is_json(tmp_path: Path) -> None:
    done = run("feed", "pull", "--json", "--state", str(tmp_path / "none"))
    assert done.returncode != 0
    assert json.loads(done.stderr)["what"]
