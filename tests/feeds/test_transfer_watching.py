"""What is to be shown is shown, whatever happens to another zone, to the disk, or to the process before."""

from collections.abc import Callable
from pathlib import Path

import pytest

from feeds.errors import Unavailable
from feeds.name import DomainName
from feeds.store import Store
from feeds.transfer.kept import Draft
from feeds.transfer.settings import Zone
from feeds.transfer.watching import Watch
from tests.golden.sample import NOW, rule
from tests.interop.test_transfer_bind import accept

ONE, TWO, CATALOG = (DomainName.parse(f"{name}.blocker").name for name in ("one", "two", "catalog"))


@pytest.fixture
def watch(tmp_path: Path) -> Callable[..., Watch]:
    store = Store.create(tmp_path / "state", url="https://feed.example/", root=b"{}", training=True)
    accept(store, 1, [rule("evil.example", number=1)])
    return lambda *names, catalog=None: Watch(store, tuple(Zone(name, "full") for name in names), catalog)


def shown(watch: Watch) -> list[bytes]:
    return [line.zone for line, _prepared in watch.look(NOW)]


@pytest.mark.parametrize("error", [Unavailable("the disk is full"), OSError(24, "Too many open files")])
def test_a_zone_that_cannot_be_written_holds_no_other_back_and_is_said_and_shown_later(
    watch: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    watching = watch(ONE, TWO)
    watching.open()
    finish = Draft.finish

    def refuse(draft: Draft, about):  # type: ignore[no-untyped-def]
        if draft._zone == broken:
            raise error
        return finish(draft, about)

    broken = TWO.wire
    with monkeypatch.context() as patch:
        patch.setattr(Draft, "finish", refuse)
        assert shown(watching) == [ONE.wire]
        with pytest.raises(Unavailable):
            watching.look(NOW)
    assert shown(watching) == [TWO.wire]
    assert shown(watching) == []


def test_what_a_killed_process_had_begun_to_write_is_removed(watch: Callable[..., Watch], tmp_path: Path) -> None:
    begun = tmp_path / "state" / "zones" / ONE.text / ".new-1"
    begun.mkdir(parents=True)
    (begun / "records").write_bytes(b"x")
    watch(ONE).open()
    assert not begun.exists()


def test_a_catalog_under_the_name_of_a_former_zone_lists_the_zones(watch: Callable[..., Watch]) -> None:
    before = watch(CATALOG)
    before.open()
    assert shown(before) == [CATALOG.wire]
    for line in before.lines.values():
        assert line.folder._lock is not None
        line.folder._lock.close()
    after = watch(ONE, catalog=CATALOG)
    after.open()
    assert set(shown(after)) == {ONE.wire, CATALOG.wire}
