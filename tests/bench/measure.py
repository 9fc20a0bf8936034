"""Run a command and say what it cost: wall seconds, CPU seconds, peak memory; of all its processes."""

import contextlib
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
    """Run `words` to its end and measure it: CPU by wait4, memory by its high-water mark, read every 20 ms."""
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
    # The kernel's ru_maxrss counts what this process held when it forked; the child's own high-water mark does not.
    peak_kib, waited = 0, 0
    while not waited:
        with contextlib.suppress(OSError, ValueError):
            fields = Path(f"/proc/{process.pid}/status").read_text().split()
            peak_kib = max(peak_kib, int(fields[fields.index("VmHWM:") + 1]))
        waited, status, usage = os.wait4(process.pid, os.WNOHANG)
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)
    for reader in readers:
        reader.join()
    return Cost(
        wall=time.monotonic() - start,
        cpu=usage.ru_utime + usage.ru_stime,
        peak_mb=peak_kib // 1024,
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
