"""A training register with its feed, made and moved by the console commands."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from blocker.cli import blocker
from feeds.errors import Failure

DECISION = "12/QĐ-STTTT"


class Authority:
    """Two officers, `an` and `binh`, at one desk; everything below `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.register = path / "register.db"
        self.feed = path / "feed"
        secret = path / "passphrase"
        secret.write_text("correct horse battery staple\n")
        secret.chmod(0o600)
        self.secret = ["--passphrase-file", str(secret)]
        self.env = {
            "BLOCKER_REGISTER": str(self.register),
            "BLOCKER_FEED": str(self.feed),
            "BLOCKER_FEED_KEYS": str(path / "feed-keys"),
        }
        self.done(
            *["register", "init", "--authority", "vn-test", "--name", "Sở TTTT", "--training"],
            *["--contact-email", "objections@authority.example", "--directory", str(path)],
            *["--officer", "an", "--officer", "binh", *self.secret],
        )
        self.done(
            *["decision", "add", "--officer", "an", "--number", DECISION, "--agency", "Sở TTTT"],
            *["--date", "2026-11-01", "--subject", "s", "--legal-basis", "b", "--sha256", "0" * 64],
            *["--contact", "objections@authority.example"],
        )

    def run(self, *words: str) -> Result:
        """A command, whatever becomes of it."""
        return CliRunner().invoke(blocker, words, env=self.env)

    def done(self, *words: str) -> Any:
        """A command that must succeed; its JSON."""
        result = self.run(*words, "--json")
        assert result.exit_code == 0, (words, result.output, result.exception)
        return json.loads(result.stdout)

    def fails(self, *words: str) -> Failure:
        """A command that must fail; what it says."""
        result = self.run(*words)
        assert isinstance(result.exception, Failure), (result.output, result.exception)
        return result.exception

    def signing(self, officer: str) -> list[str]:
        """The options by which an officer signs."""
        return ["--officer", officer, "--key", str(self.path / "officer-keys" / f"{officer}.pem"), *self.secret]

    def propose(self, *targets: str, expires: str = "30d") -> int:
        """A proposal of new entries, signed by `an`; its number."""
        number = int(self.done("proposal", "new", "--decision", DECISION)["proposal"])
        listed = self.path / f"list-{number}.txt"
        listed.write_text("\n".join(targets) + "\n")
        self.done(
            *["proposal", "import", str(listed), "--proposal", str(number), "--category", "gambling"],
            *["--reason", "r", "--expires", expires],
        )
        self.done("proposal", "sign", str(number), *self.signing("an"))
        return number

    def approve(self, *targets: str, expires: str = "30d") -> int:
        """The same, approved by `binh`."""
        number = self.propose(*targets, expires=expires)
        self.done("review", "approve", str(number), *self.signing("binh"))
        return number
