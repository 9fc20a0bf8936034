"""Run a command and say what it cost: wall seconds, CPU seconds, peak memory; of all its processes."""

import os
import platform
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall and CPU in seconds, peak resident memory in MiB, exit code, and what it printed."""

    wall: float
    cpu: float
    peak_mb: int
    code: int
    out: str
    err: str


def cost(words: Sequence[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> Cost:
    """Run `words` to its end and measure it by wait4 (the kernel's own figures, children included)."""
    start = time.monotonic()
    process = subprocess.Popen(
        words, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    held: dict[str, str] = {}

    def drain(name: str) -> None:
        held[name] = getattr(process, name).read()

    readers = [threading.Thread(target=drain, args=(name,)) for name in ("stdout", "stderr")]
    for reader in readers:
        reader.start()
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for reader in readers:
        reader.join()
    return Cost(
        wall=time.monotonic() - start,
        cpu=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss // 1024,
        code=process.returncode,
        out=held["stdout"],
        err=held["stderr"],
    )


def machine() -> str:
    """One line about this machine: processor, cores, memory, Python."""
    processors = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in processors if line.startswith("model name")), "unknown")
    memory = Path("/proc/meminfo").read_text().split()
    gib = int(memory[memory.index("MemTotal:") + 1]) // 1024 // 1024
    return f"{cpu}, {os.cpu_count()} cores, {gib} GiB, Python {platform.python_version()}"
