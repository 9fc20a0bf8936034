"""`blocker zone serve` ends where it can no longer keep its zones new."""

import subprocess
import sys
from pathlib import Path

from feeds.store import Store

# A fault that nobody foresaw, on the second look.
PROGRAM = """
import sys
from feeds.transfer.watching import Watch
from feeds.command.zone_serve import serve
looks = []
def look(self, now):
    looks.append(now)
    if len(looks) == 2:
        raise ValueError("boom")
    return []
Watch.look = look
serve(sys.argv[1:])
"""


def test_a_primary_that_can_no_longer_look_ends_so_that_it_is_started_again(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "state", url="https://feed.example/", root=b"{}", training=True)
    settings = tmp_path / "zone.toml"
    settings.write_text('[zone."rpz.blocker"]\n[secondary.one]\naddress = ["127.0.0.1"]\n')
    command = [sys.executable, "-c", PROGRAM, str(settings), "--state", str(store.path), "--listen", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "boom" in done.stderr
    assert "Unhandled error" not in done.stderr
