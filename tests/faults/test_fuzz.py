"""The fuzz targets: their corpus at every run, new inputs for some seconds each on CI."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.fuzz.__main__ import CORPUS
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parent.parent.parent
SECONDS = 6  # a minute over all targets


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_of_the_corpus_breaks_a_law(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for path in inputs:
        try:
            TARGETS[name](path.read_bytes())
        except Exception as fault:
            raise AssertionError(f"python -m tests.fuzz {name} --again {path}") from fault


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_some_seconds_of_new_inputs_break_no_law(name: str, tmp_path: Path) -> None:
    if find_spec("atheris") is None:
        missing("atheris is not there for this machine")
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(SECONDS)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout[-500:] + run.stderr[-4000:]
