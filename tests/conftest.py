"""What tests of all rooms share: real lists, other projects' programs, the rule that CI skips nothing."""

import fcntl
import gzip
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
ON_CI = os.environ.get("CI") == "true"

# CI tries the same examples each time, so that a run says something about the change and nothing about luck;
# everybody's own runs explore.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=ON_CI)
settings.load_profile("default")


def missing(reason: str) -> None:
    """Skip the test, or fail it on CI, where everything must be there."""
    if ON_CI:
        pytest.fail(f"CI must not skip: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def real_list() -> Callable[[str], list[str]]:
    """`real_list("gambling-vn.domains.txt.gz")`: the lines of a real list of the shared data folder."""

    def lines(name: str) -> list[str]:
        path = DATA / name
        if not path.exists():
            missing(f"the real list {name} is not here")
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return [line for line in raw.decode().splitlines() if line]

    return lines


@pytest.fixture(scope="session")
def need_program() -> Callable[[str, str], str]:
    """`need_program("named-checkzone", "bind9-utils")`: its path; installed with apt-get when root, else skipped."""

    def find(program: str, package: str) -> str:
        search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        found = shutil.which(program, path=search)
        if found is None and os.geteuid() == 0:
            _install(package)
            found = shutil.which(program, path=search)
        if found is None:
            missing(f"{program} is not installed (Debian package {package})")
            raise AssertionError  # not reached
        return found

    return find


@pytest.fixture(scope="session")
def need_root() -> None:
    """Skip unless root."""
    if os.geteuid() != 0:
        missing("this test needs root")


# What starts a resolver; deploy/test.sh runs those tests in both lanes.
STARTS_A_RESOLVER = re.compile(r"tests\.(resolver\.live|resolver import live|faults\.family|load)\b")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a resolver."""
    sources: dict[Path, bool] = {}
    for item in items:
        if item.path not in sources:
            sources[item.path] = STARTS_A_RESOLVER.search(item.path.read_text()) is not None
        if sources[item.path]:
            item.add_marker(pytest.mark.resolver)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On CI a skipped test is a failed one, whoever skipped it."""
    report = yield
    if ON_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


def _install(package: str) -> None:
    """apt-get install, one at a time over all test workers, with no daemon started by it."""
    policy = Path("/usr/sbin/policy-rc.d")
    with (Path(tempfile.gettempdir()) / "blocker-test-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        had = policy.exists()
        if not had:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        try:
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
            if subprocess.run(install, env=env, capture_output=True, timeout=900, check=False).returncode != 0:
                subprocess.run(["apt-get", "update", "-q"], env=env, capture_output=True, timeout=300, check=False)
                subprocess.run(install, env=env, capture_output=True, timeout=900, check=False)
        finally:
            if not had:
                policy.unlink(missing_ok=True)
