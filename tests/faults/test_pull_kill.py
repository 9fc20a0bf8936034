"""A pull that is killed: at 200 random instants, and before each of its file operations."""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from feeds.client import pull
from feeds.client.verifying import verify
from feeds.errors import Failure
from feeds.fetching import Fetcher
from feeds.release import Release
from feeds.store import Store
from tests.feeds.tuf_feed import NOW, TufFeed, many

LATER = NOW + timedelta(minutes=1)
RANDOM_KILLS = 200
EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "fcntl.flock", "shutil.rmtree")


class Scene:
    """A feed at release 2 and a state directory at release 1, set up afresh for each try."""

    def __init__(self, path: Path, first: bool) -> None:
        self.feed = TufFeed(path / "feed")
        self.template, self.state = path / "template", path / "state"
        store = Store.create(self.template, url=self.feed.url, root=self.feed.anchor, training=True)
        self.feed.publish(many(60))
        self.old: Release | None = None
        if not first:
            pull(store, Fetcher(), NOW)
            self.old = self.feed.releases[0]
            self.feed.publish(many(64))
        self.new = self.feed.releases[-1]

    def fresh(self) -> Store:
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.template, self.state, symlinks=True)
        return Store(self.state)

    def check(self, store: Store) -> Release | None:
        """The release that the killed pull left, which must be the old or the new one, whole."""
        accepted = store.accepted()
        if accepted is None:
            assert self.old is None
            return None
        assert not accepted.damage
        found = accepted.release()
        assert found in (self.old, self.new)
        assert verify(store).rules == len(found.rules)
        return found

    def heal(self, store: Store) -> None:
        """The next pull brings the new release and leaves nothing half-done behind."""
        pull(store, Fetcher(), LATER)
        assert store.accepted().release() == self.new  # type: ignore[union-attr]
        assert not [path for path in store.path.rglob("*") if path.name.startswith((".new-", "tmp"))]


def failure_of(store: Store) -> Failure | None:
    """Pull; the failure, if it failed."""
    try:
        pull(store, Fetcher(), LATER)
    except Failure as failure:
        return failure
    return None


def in_child(work: Callable[[], object]) -> int:
    """Run in a forked process, which ends without pytest's farewell; its id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


@pytest.fixture(params=[True, False], ids=["first pull", "later pull"])
def scene(request: pytest.FixtureRequest, quick_path: Path) -> Scene:
    return Scene(quick_path, request.param)


def test_a_pull_killed_at_random_instants_leaves_one_release_whole(scene: Scene) -> None:
    store = scene.fresh()
    began = time.monotonic()
    os.waitpid(in_child(lambda: pull(store, Fetcher(), LATER)), 0)
    lasts = time.monotonic() - began
    rng = random.Random(7)
    killed = 0
    for turn in range(RANDOM_KILLS // 2):
        store = scene.fresh()
        child = in_child(lambda store=store: pull(store, Fetcher(), LATER))  # type: ignore[misc]
        time.sleep(rng.uniform(0, lasts))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        scene.check(store)
        if turn % 10 == 0:
            scene.heal(store)
    # Otherwise the pulls were over before they could be killed, and nothing was tried.
    assert killed > RANDOM_KILLS // 8


def test_a_pull_killed_before_any_file_operation_leaves_one_release_whole(scene: Scene) -> None:
    left: set[object] = set()
    for point in range(1, 1000):
        store = scene.fresh()
        child = in_child(lambda store=store, point=point: _dying_pull(store, point))  # type: ignore[misc]
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            break
        found = scene.check(store)
        left.add(found.serial if found else None)
        if point % 7 == 0:
            scene.heal(store)
    else:
        pytest.fail("the pull never came to its end")
    assert point > 40
    # Both outcomes were seen, so the kills reached beyond the one instant at which the release is switched.
    assert left == {scene.old.serial if scene.old else None, scene.new.serial}


def _dying_pull(store: Store, point: int) -> None:
    """Pull, and kill this process just before its `point`-th operation on a file of the state directory."""
    here, count = str(store.path), 0

    def before(event: str, args: tuple[object, ...]) -> None:
        nonlocal count
        if event in EVENTS and (event == "fcntl.flock" or str(args[0]).startswith(here)):
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(before)
    pull(store, Fetcher(), LATER)
