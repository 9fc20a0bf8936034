"""A real state directory of an ISP with a sample release in it."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from feeds import canonical
from feeds.rule import Rule
from feeds.store import Store
from tests.golden.sample import NOW, accepted


def state(path: Path, rules: Iterable[Rule], *, serial: int = 7, now: datetime = NOW) -> Path:
    """The state directory `path`, made if need be, in which this release was accepted at `now`."""
    made = accepted(rules, serial=serial)
    release = made.release()
    digest = canonical.digest(release)
    manifest = made.manifest.model_copy(update={"digest": digest.sha256, "size": digest.size})
    store = Store.create(path, url="http://127.0.0.1/", root=b"{}", training=True)
    documents = {"manifest.json": manifest.to_bytes(), "root.json": b"{}", "targets.json": b"{}"}
    with store.lock():
        store.accept(documents, release, release, {}, now)
    return path
