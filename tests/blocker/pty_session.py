"""A person at a terminal: start the console command on a pseudo-terminal, wait for a question, type an answer."""

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("blocker")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")


class Session:
    """One run of the command. `screen` is all it has shown so far, without control sequences."""

    def __init__(self, *args: str, columns: int = 80, **environment: str) -> None:
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "BLOCKER_"))}
        env = {**keep, "TERM": "dumb", "COLUMNS": str(columns), "PYTHONUTF8": "1", **environment}
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(PROGRAM, ["blocker", *args], env)
        self.screen = ""
        self._read_to = 0
        self._raw = b""
        self.ended = False

    def expect(self, words: str, seconds: float = 30) -> str:
        """Wait until `words` (a part of a question) appear after what was expected before; returns what came."""
        deadline = time.monotonic() + seconds
        while words not in self.screen[self._read_to :]:
            left = deadline - time.monotonic()
            assert left > 0, f"{words!r} did not come; the screen shows:\n{self.screen}"
            assert self._more(left), f"ended before {words!r} came; the screen shows:\n{self.screen}"
        end = self.screen.index(words, self._read_to) + len(words)
        shown, self._read_to = self.screen[self._read_to : end], end
        return shown

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.terminal, text.encode() + b"\n")

    def answer(self, question: str, text: str) -> None:
        """Wait for a question, then type the answer."""
        self.expect(question)
        self.type(text)

    def end(self, seconds: float = 30) -> int:
        """Wait for the end; its exit code."""
        deadline = time.monotonic() + seconds
        while self._more(max(0.0, deadline - time.monotonic())):
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                break
        os.close(self.terminal)
        _pid, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def _more(self, seconds: float) -> bool:
        ready, _w, _x = select.select([self.terminal], [], [], seconds)
        if not ready:
            return not self.ended
        try:
            data = os.read(self.terminal, 65536)
        except OSError:
            # EIO: the other side has closed.
            data = b""
        if not data:
            self.ended = True
            return False
        self._raw += data
        self.screen = _CONTROL.sub("", self._raw.decode("utf-8", "replace"))
        return True
