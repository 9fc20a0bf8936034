"""Promises of README's first command: the whole way of a decision on any machine, and a clear word where it cannot."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def demo(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("BLOCKER_")}
    return subprocess.run(
        ["/bin/sh", str(ROOT / "deploy/demo.sh"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**clean, **env},
        timeout=600,
        check=False,
    )


@pytest.mark.slow
def test_the_demo_walks_from_a_decision_to_a_refused_query_and_back(tmp_path: Path) -> None:
    done = demo(TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout
    said = done.stdout
    places = [
        said.index(sentence)
        for sentence in (
            "The register is set up.",
            "is recorded.",
            "floor.training",
            "cannot approve it (four eyes)",
            "is approved by binh",
            "Published serial 1: 10 rules",
            "Release 1 is in force: 10 rules",
            "blocked (NXDOMAIN)",
            "answered (NOERROR)",
            "table inet blocker {",
            'blocker_dns_blocked_total{action="nxdomain",category="gambling"} 1.0',
            "Published serial 2: 9 rules, 0 added, 1 removed",
            "Done:",
        )
    ]
    assert places == sorted(places)
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == [], "the demo leaves nothing behind"


def test_the_demo_says_what_it_does_not_know() -> None:
    wrong = demo("--lits", "x")
    assert wrong.returncode == 1
    assert "«--lits» is not known here" in wrong.stdout
    missing = demo("--list", "/nonexistent/list.txt")
    assert missing.returncode == 1
    assert "/nonexistent/list.txt cannot be read" in missing.stdout
    assert "--keep" in demo("--help").stdout


@pytest.mark.parametrize("script", ["demo.sh", "test.sh"])
def test_both_commands_name_a_missing_python(script: str, tmp_path: Path) -> None:
    """With a PATH that holds the shell's own tools and no Python."""
    for tool in ("sh", "dirname", "cat", "cksum", "sed", "mktemp", "env"):
        (tmp_path / tool).symlink_to(Path("/usr/bin") / tool)
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "deploy" / script)],
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Python 3.11 or later is missing" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr
