"""The way of a list from an officer's sheet to an ISP's disk, each step a real command, each measured."""

import gzip
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.measure import Cost, cost

BLOCKER = str(Path(sys.executable).parent / "blocker")


@dataclass(frozen=True, slots=True)
class Step:
    """One measured step; `note` is what the command itself counted."""

    what: str
    cost: Cost
    note: str = ""


class Way:
    """A scratch authority and a scratch ISP under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps: list[Step] = []
        self.secret = root / "passphrase"
        self.secret.touch(0o600)
        self.secret.write_text("benchmark only\n")
        self.env = {
            "XDG_CACHE_HOME": str(root / "cache"),
            "BLOCKER_REGISTER": str(root / "register.db"),
            "BLOCKER_STATE": str(root / "isp"),
        }

    def blocker(self, what: str, *words: str, codes: Sequence[int] = (0,)) -> Cost:
        """Run a command; a step of the table if `what` is not empty."""
        done = cost([BLOCKER, *words], env=self.env)
        if done.code not in codes:
            raise SystemExit(f"blocker {' '.join(words)} exited with {done.code}:\n{done.err}")
        if what:
            self.steps.append(Step(what, done, _note(done)))
            print(f"  {what}: {done.wall:.1f} s, CPU {done.cpu:.1f} s, {done.peak_mb} MiB", file=sys.stderr, flush=True)
        return done

    def signing(self, officer: str) -> list[str]:
        key = self.root / "authority" / "officer-keys" / f"{officer}.pem"
        return ["--officer", officer, "--key", str(key), "--passphrase-file", str(self.secret)]

    def found(self) -> None:
        """Register, officers, one decision."""
        words = ["--directory", str(self.root / "authority"), "--authority", "vn-bench", "--name", "Benchmark"]
        contact = ["--contact-email", "objections@authority.example"]
        officers = ["--officer", "an", "--officer-name", "an=An", "--officer", "binh", "--officer-name", "binh=Bình"]
        self.blocker("", "register", "init", *words, *contact, *officers, "--passphrase-file", str(self.secret))
        law = ["--legal-basis", "benchmark", "--subject", "benchmark", "--contact", "objections@authority.example"]
        what = ["--number", "1/QĐ", "--agency", "Benchmark", "--date", "2026-11-24", "--sha256", "0" * 64]
        self.blocker("", "decision", "add", "--officer", "an", *what, *law)

    def propose(self, label: str, path: Path, category: str) -> dict[str, int]:
        """Import with the guard, sign, confirm what must be confirmed, approve. Findings by rule id."""
        number = str(json.loads(self.blocker("", "proposal", "new", "--decision", "1/QĐ", "--json").out)["proposal"])
        words = ["--proposal", number, "--category", category, "--reason", "benchmark", "--json"]
        done = self.blocker(f"{label}: import and guard", "proposal", "import", str(path), *words, codes=(0, 6))
        report = json.loads(done.out)
        self.blocker(f"{label}: sign", "proposal", "sign", number, "--yes", *self.signing("an"))
        shown = json.loads(self.blocker("", "review", "show", number, "--all", "--json").out)
        confirmed = self.root / "confirmed"
        confirmed.write_text("".join(f"{item['target']}=benchmark\n" for item in shown["confirm"]))
        words = ["--yes", "--confirm-file", str(confirmed), *self.signing("binh")]
        self.blocker(f"{label}: approve", "review", "approve", number, *words)
        return {row["rule"]: row["targets"] for row in report["rules"]}

    def publish(self, what: str) -> None:
        feed = ["--repository", str(self.root / "authority/feed"), "--keys", str(self.root / "authority/feed-keys")]
        self.blocker(what, "publish", *feed, "--accept-hold")

    @contextmanager
    def served(self) -> Any:
        """The built-in feed server over the feed; yields its address."""
        port = free_port()
        feed = self.root / "authority" / "feed"
        with running([BLOCKER, "feed", "serve", str(feed), "--listen", f"127.0.0.1:{port}"]):
            url = f"http://127.0.0.1:{port}/"
            until(lambda: urllib.request.urlopen(url + "metadata/timestamp.json", timeout=2).read())
            yield url

    def init_isp(self, url: str, *more: str) -> None:
        self.blocker("", "feed", "init", "--root", str(self.root / "authority" / "feed" / "root.json"), *more, url)


def _note(done: Cost) -> str:
    lines = done.out.strip().splitlines()
    return lines[-1][:140] if lines and not done.out.lstrip().startswith(("{", "[")) else ""


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def until(ready: Any, seconds: float = 120) -> None:
    """Call `ready` until it raises nothing."""
    end = time.monotonic() + seconds
    while True:
        try:
            ready()
            return
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextmanager
def running(words: list[str], env: dict[str, str] | None = None, cpus: str | None = None) -> Any:
    """A program that runs while the block does; ended by its own process id."""
    pinned = ["taskset", "-c", cpus, *words] if cpus else words
    process = subprocess.Popen(
        pinned, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def lines_of(path: Path) -> list[str]:
    """The lines of a list, .gz or not."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [line for line in raw.decode().splitlines() if line]
