"""A disk that is full or fails, and files that are cut off."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from feeds.client import pull
from feeds.errors import Unavailable
from feeds.fetching import Fetcher
from feeds.store import Store
from tests.faults.test_pull_kill import LATER, NOW, Scene, failure_of
from tests.feeds.tuf_feed import TufFeed, many
from tests.rules import rule

CALLS = ("write", "fsync", "replace", "rename", "symlink", "mkdir")


class _Disk:
    """Lets the `point`-th of all writing calls fail, and every one after it if `lasting`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, point: int, lasting: bool) -> None:
        self.count, self._point, self._lasting = 0, point, lasting
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self._point or (self._lasting and self.count > self._point):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

        return call


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("first", [True, False], ids=["first pull", "later pull"])
def test_no_space_at_any_write_leaves_one_release_whole(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool, lasting: bool
) -> None:
    scene = Scene(quick_path, first)
    failures = 0
    for point in range(1, 1000):
        store = scene.fresh()
        with monkeypatch.context() as patch:
            disk = _Disk(patch, point, lasting)
            failure = failure_of(store)
        if failure is not None:
            failures += 1
            assert isinstance(failure, Unavailable)
            assert "No space left" in failure.what
            assert failure.kept
            assert failure.then
        scene.check(store)
        scene.heal(store)
        if disk.count < point:
            break
    else:
        pytest.fail("the pull never came to its end")
    assert failures > 10


@pytest.mark.root
def test_a_real_full_disk_keeps_the_old_release(tmp_path: Path, need_root: None) -> None:
    """A tmpfs of one megabyte in a mount namespace of its own, filled to different heights before the pull."""
    script = Path(__file__).with_name("full_disk.py")
    found = subprocess.run(
        ["unshare", "--mount", sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert found.returncode == 0, found.stdout + found.stderr
    full, whole = map(int, found.stdout.split())
    assert full > 3
    assert whole > 0


def _every_file(store: Store) -> list[Path]:
    return sorted(path.relative_to(store.path) for path in store.path.rglob("*") if path.is_file())


def test_any_truncated_file_is_noticed_or_harmless_and_the_next_pull_heals_it(quick_path: Path) -> None:
    scene = Scene(quick_path, first=False)
    template = scene.fresh()
    scene.feed.publish([*many(64), rule("google.com", 999)])
    pull(template, Fetcher(), LATER)
    whole = scene.feed.releases
    names = _every_file(template)
    assert len(names) > 15
    for name in names:
        size = (template.path / name).stat().st_size
        for length in {0, size // 2, max(size - 1, 0)}:
            store = Store(quick_path / "cut")
            subprocess.run(["rm", "-rf", store.path], check=True)
            subprocess.run(["cp", "-a", template.path, store.path], check=True)
            os.truncate(store.path / name, length)
            accepted = store.accepted()
            assert accepted is not None
            newest = len(accepted.release().rules) == 64 and accepted.manifest.serial == 3
            older = accepted.release() == whole[0] and accepted.manifest.serial == 1
            assert newest or (older and "is damaged" in accepted.damage), name
            failure = failure_of(store)
            if failure is not None:
                assert str(name) in ("settings.json", "root.json")
                assert "damaged" in failure.what
                Store.create(store.path, url=scene.feed.url, root=scene.feed.anchor, training=True)
            pull(store, Fetcher(), LATER + timedelta(minutes=1))
            assert store.accepted().manifest.serial == 3  # type: ignore[union-attr]
            assert not store.accepted().damage  # type: ignore[union-attr]


def test_where_no_release_is_whole_any_more_it_is_said_and_fetched_again(tmp_path: Path) -> None:
    feed = TufFeed(tmp_path / "feed")
    store = Store.create(tmp_path / "s", url=feed.url, root=feed.anchor, training=True)
    feed.publish(many(3))
    pull(store, Fetcher(), NOW)
    for file in store.path.glob("releases/*/release.zst"):
        file.write_bytes(b"")
    with pytest.raises(Unavailable, match=r"no release in .* is whole"):
        store.accepted()
    pull(store, Fetcher(), NOW)
    assert store.accepted().release() == feed.releases[0]  # type: ignore[union-attr]
