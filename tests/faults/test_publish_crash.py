"""A publication that dies at any instant: readers see the old release or the new, and no serial is used twice."""

import errno
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from blocker.publishing.layout import Disk
from blocker.register import Register
from feeds import durable
from feeds.errors import Failure, Refused
from feeds.manifest import ChainHead
from feeds.rule import Rule, Serial
from tests.blocker.tuf_client import Reader
from tests.feeds.feed_factory import FeedFactory, MemoryLedger, Reserved
from tests.rules import rule

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
MOST_WRITES = 30  # more than any publication makes; a bound for the loops below
KILLS = 24


def some(count: int) -> list[Rule]:
    return [rule(f"evil{n}.test", n) for n in range(1, count + 1)]


def failure_of(call: Callable[[], object]) -> Failure | None:
    """What it says when it fails; None if it does not."""
    try:
        call()
    except Failure as error:
        return error
    return None


class Killed(BaseException):
    """The process is gone: nothing after this runs, no tidying either."""


class FaultyDisk(Disk):
    """Fails at the n-th write: before it, in the middle (a half-written hidden file stays), or right after it."""

    def __init__(self, root: Path, number: int, moment: str, fault: BaseException) -> None:
        super().__init__(root)
        self.left = number
        self.moment = moment
        self.fault = fault

    def write(self, path: Path, data: bytes) -> None:
        self.left -= 1
        if self.left == 0 and self.moment != "after":
            if self.moment == "middle":
                path.parent.mkdir(parents=True, exist_ok=True)
                (path.parent / f"{durable.UNFINISHED}{path.name}-1").write_bytes(data[: len(data) // 2])
            raise self.fault
        super().write(path, data)
        if self.left == 0:
            raise self.fault


class FileLedger(MemoryLedger):
    """A ledger that outlives its process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        saved = json.loads(path.read_text()) if path.exists() else []
        self.rows = [Reserved(s, d, datetime.fromisoformat(p) if p else None) for s, d, p in saved]

    def _save(self) -> None:
        rows = [(r.serial, r.digest, r.published.isoformat() if r.published else "") for r in self.rows]
        durable.write(self.path, json.dumps(rows).encode())

    def reserve_serial(self, now: datetime, published_serial: int = 0) -> Serial:
        serial = super().reserve_serial(now, published_serial)
        self._save()
        return serial

    def mark_published(self, serial: Serial, digest: str, chain: ChainHead, now: datetime) -> None:
        super().mark_published(serial, digest, chain, now)
        self._save()


@pytest.mark.parametrize("moment", ["before", "middle", "after"])
def test_a_kill_at_each_write_leaves_old_or_new_and_the_next_run_goes_on(tmp_path: Path, moment: str) -> None:
    made = FeedFactory(tmp_path / "feed", now=NOW)
    made.publish(some(60), NOW)
    reader = Reader(made.path, made.anchor)
    seen = set()
    for number in range(1, MOST_WRITES):
        now = NOW + number * HOUR
        before, _release = reader.pull(now)
        made.disk = FaultyDisk(made.path, number, moment, Killed())
        made.state_bulk("crash me", some(60 + 2 * number), now)
        try:
            made.publish(some(60 + 2 * number), now)
        except Killed:
            pass
        else:
            break
        after, release = reader.pull(now)
        seen.add(after.serial - before.serial > 0)
        assert len(release.rules) == (60 + 2 * number if after.serial > before.serial else before.counts["rules"])
        reserved = made.ledger.rows[-1].serial
        made.disk = Disk(made.path)
        made.publish(some(61 + 2 * number), now + HOUR / 2)
        final, release = reader.pull(now + HOUR / 2)
        assert final.serial > after.serial
        assert final.serial > reserved
        assert len(release.rules) == 61 + 2 * number
        assert made.ledger.last() is not None
        assert not list(made.path.rglob(durable.UNFINISHED + "*")), "what was half-written is cleaned away"
    else:
        pytest.fail("a publication never ended")
    assert number > 8, "every file of a publication was hit"
    assert seen == ({False, True} if moment == "after" else {False})


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_disk_error_at_each_write_is_said_and_loses_nothing(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = FeedFactory(tmp_path / "feed", now=NOW)
    made.publish(some(60), NOW)
    reader = Reader(made.path, made.anchor)
    real = os.fsync
    for number in range(1, 2 * MOST_WRITES):
        now = NOW + number * HOUR
        left = number

        def fails(handle: int, now: datetime = now) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(code, os.strerror(code))
            real(handle)

        monkeypatch.setattr(os, "fsync", fails)
        said = failure_of(lambda n=number, t=now: made.publish(some(60 + n), t))
        if said is not None:
            assert "cannot be written" in said.what
            assert os.strerror(code) in said.what
            assert said.kept
        monkeypatch.setattr(os, "fsync", real)
        _manifest, release = reader.pull(now)
        assert len(release.rules) in (60 + number - 1, 60 + number)
        if left > 0:
            break
        made.publish(some(60 + number), now + HOUR / 2)
        assert len(reader.pull(now + HOUR / 2)[1].rules) == 60 + number
    else:
        pytest.fail("a publication never ended")
    assert number > 10


def test_killed_for_real_at_random_instants(tmp_path: Path) -> None:
    made = FeedFactory(tmp_path / "feed", now=NOW)
    made.publish(some(60), NOW)
    ledger = tmp_path / "ledger.json"
    on_disk = FileLedger(ledger)
    on_disk.rows = made.ledger.rows
    on_disk._save()
    reader = Reader(made.path, made.anchor)
    chance = random.Random(20261124)
    serials = []
    for kill in range(1, KILLS + 1):
        now = NOW + kill * HOUR

        def work(first: int = kill, start: datetime = now) -> Iterator[None]:
            made.ledger = FileLedger(ledger)
            for step in range(1000):
                made.publish(some(60 + (first + step) % 50), start + step * timedelta(seconds=1))
                yield

        kill_while(work, chance)
        manifest, _release = reader.pull(now)
        made.ledger = FileLedger(ledger)
        published = made.ledger.last()
        assert published is not None
        assert manifest.serial >= published.serial, "the register is never ahead in what it calls published"
        serials.append(manifest.serial)
    made.publish(some(7), now + HOUR)
    assert reader.pull(now + HOUR)[0].serial > serials[-1]
    numbers = [row.serial for row in FileLedger(ledger).rows]
    assert numbers == sorted(set(numbers)), "no serial was reserved twice"
    assert serials[-1] > KILLS, "the kills hit a working publisher"


def test_killed_for_real_with_the_register_s_own_database(tmp_path: Path) -> None:
    made = FeedFactory(tmp_path / "feed", now=NOW)
    assert made.genesis is not None
    url = f"sqlite:///{tmp_path / 'register.db'}"
    roots = [key.public_hex for key in made.roots]
    Register.create(url, made.genesis, roots, 2, NOW).close()
    reader = Reader(made.path, made.anchor)
    chance = random.Random(20261125)
    last = 0
    for kill in range(1, KILLS // 2 + 1):
        now = NOW + kill * HOUR

        def work(first: int = kill, start: datetime = now) -> Iterator[None]:
            made.ledger = cast(MemoryLedger, Register.open(url).publications)
            for step in range(1000):
                content = made.content(some(60 + (first + step) % 50), length=0)
                made.publish_content(content, start + step * timedelta(seconds=1))
                yield

        kill_while(work, chance)
        manifest = reader.manifest(now)
        register = Register.open(url)
        published, reserved = register.publications.last(), register.publications.list(1)
        register.close()
        assert (published.serial if published else 0) <= (manifest.serial if manifest else 0)
        assert (manifest.serial if manifest else 0) <= (reserved[0].serial if reserved else 0)
        last = manifest.serial if manifest else 0
    assert last > KILLS // 2, "the kills hit a working publisher"


def kill_while(work: Callable[[], Iterator[None]], chance: random.Random) -> None:
    """Run `work` in a process of its own and kill -9 it somewhere in its second to fourth step."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for _step in work():
                os.write(there, b".")
        finally:
            os._exit(1)
    os.close(there)
    pace = 0.0
    for _step in range(chance.randint(2, 4)):
        begun = time.perf_counter()
        assert os.read(here, 1) == b".", "the child fell over by itself"
        pace = time.perf_counter() - begun
    time.sleep(chance.uniform(0.0, pace))
    os.kill(child, signal.SIGKILL)
    os.close(here)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "the child fell over by itself"


def lost(call: Callable[..., object], before: bool) -> Callable[..., object]:
    """The call whose COMMIT is lost: it happened or it did not, and the caller cannot tell."""

    def wrapped(*args: object) -> object:
        if not before:
            call(*args)
        raise Failure("the connection was lost")

    return wrapped


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("step", ["reserve_serial", "mark_published"])
def test_an_unknown_commit_outcome_is_cleared_up_at_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, before: bool
) -> None:
    made = FeedFactory(tmp_path / "feed", now=NOW)
    made.publish(some(60), NOW)
    reader = Reader(made.path, made.anchor)
    with monkeypatch.context() as patch:
        patch.setattr(made.ledger, step, lost(getattr(made.ledger, step), before))
        with pytest.raises(Failure, match="connection was lost"):
            made.publish(some(61), NOW + HOUR)
    seen = reader.pull(NOW + HOUR)[0].serial
    assert seen == (2 if step == "mark_published" else 1)
    outcome = made.publish_outcome(some(62), NOW + 2 * HOUR)
    assert reader.pull(NOW + 2 * HOUR)[0].serial == outcome.serial > seen
    last = made.ledger.last()
    assert last is not None
    assert last.serial == outcome.serial
    numbers = [row.serial for row in made.ledger.rows]
    assert numbers == sorted(set(numbers))
    if step == "mark_published":
        assert made.ledger.rows[1].digest, "the serial that was out is now noted as published"


def test_a_restored_database_cannot_bring_a_serial_back_after_a_crash(tmp_path: Path) -> None:
    made = FeedFactory(tmp_path / "feed", now=NOW)
    made.publish(some(60), NOW)
    backup = [Reserved(r.serial, r.digest, r.published) for r in made.ledger.rows]
    made.disk = FaultyDisk(made.path, 8, "after", Killed())
    while made.standing().serial == 1:
        try:
            made.publish(some(61), NOW + HOUR)
        except Killed:
            made.disk = Disk(made.path)
    made.ledger.rows = backup
    before = {p: p.read_bytes() for p in made.path.rglob("*") if p.is_file()}
    with pytest.raises(Refused):
        made.publish(some(62), NOW + 2 * HOUR)
    assert {p: p.read_bytes() for p in made.path.rglob("*") if p.is_file()} == before, "nothing was written"


def test_a_truncated_file_of_a_standing_feed_is_never_signed_over(tmp_path: Path) -> None:
    made = FeedFactory(tmp_path / "feed", now=NOW)
    made.publish(some(60), NOW)
    made.publish(some(62), NOW + HOUR)
    shutil.copytree(made.path, tmp_path / "good")
    needed = [p for p in made.path.rglob("*.json") if p.name != "root.json"] + list(made.path.rglob("*.release.zst"))
    refused = 0
    for path in needed:
        good = path.read_bytes()
        path.write_bytes(good[: len(good) // 2])
        said = failure_of(lambda: made.publish(some(63), NOW + 2 * HOUR))
        if said is not None:
            refused += 1
            assert "damaged" in said.what
            assert made.ledger.rows[-1].serial == 2
            path.write_bytes(good)
        else:
            # An old edition's file: nothing that is signed now refers to it.
            shutil.rmtree(made.path)
            shutil.copytree(tmp_path / "good", made.path)
            made.ledger.rows = made.ledger.rows[:2]
    assert refused >= 6
