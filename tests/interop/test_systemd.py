"""systemd takes our units, finds them hardened, and what they start is a command that exists with these options."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from blocker.cli import blocker

pytestmark = pytest.mark.interop

UNITS = Path(__file__).parent.parent.parent / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
INSTALLED = "/opt/blocker/bin/blocker"
# Of 10; systemd calls up to 2 "OK" with a smile, and most of Debian's daemons stand above 9.
MOST_EXPOSED = 2.0


@pytest.fixture
def analyze(need_program: Callable[[str, str], str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    program = need_program("systemd-analyze", "systemd")
    for path in UNITS.iterdir():
        text = path.read_text().replace(INSTALLED, str(Path(sys.executable).parent / "blocker"))
        (tmp_path / path.name).write_text(text)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *words], capture_output=True, text=True, timeout=60, cwd=tmp_path)

    return run


@pytest.mark.parametrize("name", [*SERVICES, *sorted(path.name for path in UNITS.glob("*.timer"))])
def test_systemd_verifies_the_unit(name: str, analyze: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = analyze("verify", "--man=no", f"./{name}")
    # Units of the machine that stand beside ours may have faults of their own.
    ours = [line for line in done.stderr.splitlines() if "blocker" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_the_service_is_hardened(name: str, analyze: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = analyze("security", "--offline=yes", "--no-pager", f"./{name}")
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found.group(1)) <= MOST_EXPOSED, done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_what_the_unit_starts_is_a_command_with_these_options(name: str) -> None:
    text = (UNITS / name).read_text()
    variables = dict(
        part.split("=", 1) for line in re.findall(r"^Environment=(.*)$", text, re.M) for part in shlex.split(line)
    )
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.M)
    line = re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found.group(1), "/run/credentials"), line)
    program, *words = shlex.split(line)
    assert program == INSTALLED
    command: click.Command = blocker
    context = click.Context(blocker, info_name="blocker")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command = found
        context = click.Context(command, parent=context)
    # Raises for an option that does not exist.
    command.make_parser(context).parse_args(words)


def test_the_long_running_services_tell_systemd_that_they_live() -> None:
    for name in ("blocker-feed.service", "blocker-dns.service", "blocker-zone.service"):
        text = (UNITS / name).read_text()
        for setting in ("Type=notify", "WatchdogSec=", "DynamicUser=yes", "StateDirectory=blocker", "Restart="):
            assert setting in text, (name, setting)


def test_the_resolver_does_not_stop_with_the_feed() -> None:
    text = (UNITS / "blocker-dns.service").read_text()
    assert not re.search(r"^(Requires|BindsTo|PartOf)=", text, re.M)


def test_the_keys_come_as_credentials_and_the_timer_runs_what_removes_only() -> None:
    text = (UNITS / "blocker-publish.service").read_text()
    assert {f"{role}.pem" for role in ("targets", "snapshot", "timestamp")} == set(
        re.findall(r"^LoadCredential=(\S+?):", text, re.M)
    )
    assert " publish --due " in text
    assert " ip apply nftables --lapse " in (UNITS / "blocker-ip.service").read_text()


def test_the_resolver_outlives_the_process_that_systemd_knows() -> None:
    text = (UNITS / "blocker-dns.service").read_text()
    for setting in ("KillMode=process", "Restart=always", "StartLimitIntervalSec=0"):
        assert re.search(rf"^{setting}$", text, re.M), setting
    assert int(*re.findall(r"^FileDescriptorStoreMax=(\d+)$", text, re.M)) > 0
    # Without it the right to bind low ports could not be given up.
    assert re.findall(r"^SystemCallFilter=(.*)$", text, re.M)[-1] == "capset"
