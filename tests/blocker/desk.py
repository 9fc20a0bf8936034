"""An authority's desk for tests: a training register with two officers, and the console command run in-process."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import blocker.cli as console

PASSPHRASE = "correct horse battery"
DECISION = "123/QĐ-STTTT"


@dataclass(frozen=True)
class Desk:
    """`run("decision", "list")` is `blocker decision list`; `an` and `binh` sign."""

    folder: Path
    runner: CliRunner = field(default_factory=CliRunner)

    def run(self, *args: object, code: int = 0, **environment: str) -> Result:
        """Run it as the console script does (exit codes and all), and check the exit code."""
        # The command sets LANGUAGE for its process; the runner gives the test's own back.
        env = {"LANGUAGE": "en", "BLOCKER_REGISTER": str(self.folder / "register.db"), **environment}
        done = self.runner.invoke(Console(), [str(a) for a in args], env=env)
        assert done.exit_code == code, f"exit {done.exit_code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *args: object, code: int = 0) -> Any:
        """What it prints with --json."""
        return json.loads(self.run(*args, "--json", code=code).stdout)

    def signing(self, officer: str) -> tuple[str, ...]:
        """The options with which an officer signs."""
        key = self.folder / "officer-keys" / f"{officer}.pem"
        return ("--officer", officer, "--key", str(key), "--passphrase-file", str(self.folder / "pass"))

    def decide(self, number: str = DECISION) -> None:
        """Record a decision."""
        words = {"agency": "Sở TTTT", "date": "24/11/2026", "subject": "Cờ bạc trực tuyến", "legal-basis": "Luật 24"}
        options = [part for name, text in words.items() for part in (f"--{name}", text)]
        self.run("decision", "add", "--officer", "an", "--number", number, "--contact", "k@stttt.example", *options)

    def propose(self, *targets: str) -> int:
        """A signed proposal with these targets."""
        number = int(self.json("proposal", "new", "--decision", DECISION)["proposal"])
        self.run("proposal", "add", *targets, "--proposal", number, "--category", "gambling", "--reason", "Cá cược")
        self.run("proposal", "sign", number, *self.signing("an"))
        return number


class Console:
    """`blocker.cli.main` in the shape that click's runner calls."""

    name = "blocker"

    def main(self, args: list[str], prog_name: str, **_extra: Any) -> None:
        before = sys.argv
        sys.argv = [prog_name, *args]
        try:
            console.main()
        finally:
            sys.argv = before


def set_up(folder: Path) -> Desk:
    """`register init --training`, with keys made on the spot."""
    secret = folder / "pass"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    desk = Desk(folder)
    names = ("--officer", "an", "--officer", "binh", "--officer-name", "an=Nguyễn Văn An")
    where = ("--directory", folder, "--passphrase-file", secret)
    who = ("--authority", "tn", "--name", "Sở TTTT", "--contact-email", "k@stttt.example", "--training")
    desk.run("register", "init", *who, *names, *where)
    return desk
