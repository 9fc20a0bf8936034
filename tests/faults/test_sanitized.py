"""The compiled parts under AddressSanitizer and UndefinedBehaviorSanitizer: tests and new inputs find nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("blocker", "feeds", "resolver", "tests")
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1"
OPTIONS = {
    # What Python itself never frees is no news; what is read or written outside of memory, or undefined, ends it.
    "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
# All that calls the extensions without starting a `blocker` of its own.
TESTS = (
    "tests/laws/test_lanes.py",
    "tests/laws/test_lane_answers.py",
    "tests/laws/test_lane_zone.py",
    "tests/resolver/test_fast_lane.py",
    "tests/laws/test_bulk.py",
    "tests/faults/test_fuzz.py",
)
# What starts one, with the lane's threads and sockets; a process that a sanitizer ends answers no more.
LIVE_TESTS = (
    "tests/resolver/test_spoofing.py",
    "tests/resolver/test_evasion.py",
    "tests/faults/test_hostile_queries.py",
    "tests/faults/test_hostile_upstream.py",
)
WAITING = "behaviour or plays"  # tests that wait for an upstream most of the time
FUZZED = ("lane", "lane-answer", "lane-image")
FUZZ_SECONDS = 20


def library(name: str) -> str:
    """Where gcc has it."""
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        missing(f"gcc has no {name}")
    return found


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of the sources with their extensions built in place, and the environment to run it in."""
    if shutil.which("gcc") is None:
        missing("no gcc (Debian package gcc)")
    folder = tmp_path_factory.mktemp("sanitized")
    skipped = shutil.ignore_patterns("*.so", "*.c", "__pycache__", "fuzz-*")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=skipped)
    for source in (ROOT / "tests").rglob("*.c"):
        shutil.copy(source, folder / source.relative_to(ROOT))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    building = {**os.environ, "CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined"}
    command = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "build_ext", "--inplace"]
    built = subprocess.run(command, cwd=folder, env=building, capture_output=True, text=True, timeout=600, check=False)
    # The extensions are optional, so a failure to build one is only a warning.
    for home in (folder / "resolver" / "lane", folder / "feeds" / "ipfilter"):
        assert list(home.glob("native.*.so")), built.stdout + built.stderr
    preload = " ".join(map(library, ("libasan.so", "libubsan.so")))
    return folder, {**os.environ, **OPTIONS, "LD_PRELOAD": preload, "PYTHONPATH": str(folder), "TMPDIR": str(folder)}


def run(sanitized: tuple[Path, dict[str, str]], *words: str) -> str:
    folder, environment = sanitized
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    said = done.stdout + done.stderr
    assert "Sanitizer" not in said, said[-6000:]
    assert "runtime error:" not in said, said[-6000:]
    assert done.returncode == 0, said[-6000:]
    return said


@pytest.mark.slow
def test_the_sanitized_extension_is_what_is_tested_and_it_would_tell(sanitized):
    folder, _environment = sanitized
    said = run(sanitized, "-c", "import resolver.lane.native as n; print(n.__file__)")
    assert str(folder) in said
    symbols = subprocess.run(["nm", "-D", said.strip()], capture_output=True, text=True, check=True).stdout
    assert "__asan_report_load1" in symbols
    assert "__ubsan_handle" in symbols


@pytest.mark.slow
def test_the_lanes_tests_read_and_write_nothing_outside_of_memory(sanitized):
    folder, _environment = sanitized
    there = [test for test in TESTS if (folder / test).exists()]
    said = run(sanitized, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *there)
    print(said.splitlines()[-1])
    assert " passed" in said


@pytest.mark.slow
def test_a_lane_that_is_attacked_reads_and_writes_nothing_outside_of_memory(sanitized):
    folder, environment = sanitized
    fast = folder, {**environment, "BLOCKER_LANE": "fast"}
    said = run(
        fast,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-m",
        "not slow",
        "-p",
        "no:cacheprovider",
        "-k",
        f"not ({WAITING})",
        *LIVE_TESTS,
    )
    print(said.splitlines()[-1])
    assert " passed" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FUZZED if name in TARGETS])
def test_new_inputs_make_the_lane_read_and_write_nothing_outside_of_memory(sanitized, name):
    run(sanitized, "-m", "tests.fuzz", name, "--seconds", str(FUZZ_SECONDS))
