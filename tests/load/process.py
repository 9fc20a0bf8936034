"""What a running process costs: CPU time, memory, open files; with all that it started."""

import os
import time
from contextlib import suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of the process so far, of all its threads, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def family_cpu_seconds(pid: int) -> float:
    return sum(map(cpu_seconds, family(pid)))


def memory_mb(pid: int) -> float:
    """Proportional set size of the process and its descendants, in MiB."""
    total = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/smaps_rollup").read_text().split()
        total += int(fields[fields.index("Pss:") + 1])
    return total / 1024


def open_files(pid: int) -> int:
    """Open descriptors of the process and its descendants."""
    return sum(len(os.listdir(f"/proc/{one}/fd")) for one in family(pid))


def kernel_drops(port: int) -> int:
    """Datagrams that the kernel has thrown away since the sockets of that local port were full."""
    rows = (line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:])
    return sum(int(row[-1]) for row in rows if row[1].endswith(f":{port:04X}"))


def prefer(*processes: int) -> None:
    """What else this machine has to do shall not be what is measured. Without root it is, too."""
    for process in processes:
        for thread in Path(f"/proc/{process}/task").iterdir():
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, int(thread.name), -15)
