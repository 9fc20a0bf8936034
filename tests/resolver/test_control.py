"""Promises of what the control process says when it cannot read what it is to enforce."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feeds.errors import Unavailable
from resolver.loading import FEED, Origin
from resolver.rights import CODECS_NEEDED_LATER

NOBODY = 65534


def _as_nobody(code: str) -> str:
    """What this code prints, run by a user who may read nothing but what everybody may."""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_state_directory_the_user_may_not_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    state = tmp_path / "feed"
    (state / "releases").mkdir(parents=True)
    state.chmod(0o700)
    said = _as_nobody(
        "from pathlib import Path\n"
        "from feeds.errors import Failure\n"
        "from resolver.loading import Origin\n"
        "from resolver.rights import Rights\n"
        f"Rights({NOBODY}, {NOBODY}).drop()\n"
        "try:\n"
        f"    Origin(state=Path({str(state)!r})).load({{'feed': -1}})\n"
        "except Failure as error:\n"
        "    print(error.what, error.then, sep='|')\n"
    )
    assert f"{state} cannot be read: Permission denied" in said
    assert "the user the resolver runs as may read it" in said


def test_a_directory_that_is_not_there_is_no_fault_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="holds no release yet"):
        Origin(state=tmp_path / "nowhere").load({FEED: -1})


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_codecs_are_at_hand_after_the_rights_are_given_up() -> None:
    said = _as_nobody(
        "import encodings\n"
        "from resolver.rights import Rights\n"
        f"Rights({NOBODY}, {NOBODY}).drop()\n"
        # As if Python's own files could not be read any more.
        "encodings.__path__[:] = []\n"
        f"[''.encode(codec) for codec in {CODECS_NEEDED_LATER!r}]\n"
        "print('all')\n"
    )
    assert said == "all\n"
