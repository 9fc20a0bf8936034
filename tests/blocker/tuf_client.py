"""python-tuf's own client over a feed's directory: the independent judge of what the publisher writes."""

import tempfile
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import cast

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from feeds.canonical import decompressing, digest, read_release
from feeds.manifest import MANIFEST_PATH, RELEASE_PATH, Manifest
from feeds.release import Release


class DirectoryFetcher(FetcherInterface):
    """Answers as a static web server over `root` would."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield (self.root / url.removeprefix("feed:/")).read_bytes()
        except FileNotFoundError:
            raise DownloadHTTPError("not found", 404) from None


class Reader:
    """An ISP that keeps its metadata between pulls, and so notices any step backwards."""

    def __init__(self, feed: Path, anchor: bytes, state: Path | None = None) -> None:
        self.feed = feed
        self.anchor = anchor
        self.state = state or Path(tempfile.mkdtemp(dir=feed.parent))
        self.serial = 0

    def updater(self, now: datetime) -> Updater:
        """Refreshed as of `now`."""
        made = Updater(
            str(self.state), "feed:/metadata", None, "feed:/targets", DirectoryFetcher(self.feed), bootstrap=self.anchor
        )
        made._trusted_set.reference_time = now
        made.refresh()
        return made

    def get(self, updater: Updater, path: str) -> bytes | None:
        """A target's verified bytes."""
        info = updater.get_targetinfo(path)
        if info is None:
            return None
        return Path(updater.download_target(info, str(self.state / "got"))).read_bytes()

    def manifest(self, now: datetime, updater: Updater | None = None) -> Manifest | None:
        """The manifest; a serial that went backwards is a failed test."""
        data = self.get(updater or self.updater(now), MANIFEST_PATH)
        if data is None:
            return None
        manifest = cast(Manifest, Manifest.of_bytes(data))
        assert manifest.serial >= self.serial, "the serial went backwards"
        self.serial = manifest.serial
        return manifest

    def pull(self, now: datetime) -> tuple[Manifest, Release]:
        """Manifest and release, checked against each other."""
        updater = self.updater(now)
        manifest = self.manifest(now, updater)
        assert manifest is not None
        packed = self.get(updater, RELEASE_PATH)
        assert packed is not None
        release = read_release(decompressing(BytesIO(packed)), manifest.size)
        assert digest(release).sha256 == manifest.digest
        assert (release.authority, release.serial) == (manifest.authority, manifest.serial)
        return manifest, release
