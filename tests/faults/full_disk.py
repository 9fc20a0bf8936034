"""Run in a mount namespace: pulls onto a small disk that is filled to different heights. Prints how often it was full
and how often the pull came through; ends with 1 where a release was lost.
"""

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from feeds.errors import Unavailable
from tests.faults.test_pull_kill import Scene, failure_of


def main(path: Path) -> None:
    scene = Scene(path, first=False)
    disk = path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=True)
    scene.state = disk / "state"
    full = whole = 0
    for left in range(0, 120_000, 4096):
        store = scene.fresh()
        free = shutil.disk_usage(disk).free
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * max(free - left, 0))
        failure = failure_of(store)
        if failure is None:
            whole += 1
        else:
            assert isinstance(failure, Unavailable), failure
            assert "No space left" in failure.what, failure.what
            full += 1
        scene.check(store)
        ballast.unlink()
        scene.heal(store)
    print(full, whole)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
