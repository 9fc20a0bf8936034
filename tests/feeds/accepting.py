"""The manifest of a release that a test puts into a state directory by itself."""

from datetime import datetime
from typing import Any

from feeds import canonical
from feeds.manifest import ChainHead, Contact, Manifest
from feeds.release import Release


def manifest_for(release: Release, issued: datetime, **more: Any) -> Manifest:
    """What describes `release`; `more` are fields that matter to the test."""
    digest = canonical.digest(release)
    fields: dict[str, Any] = {
        "authority": release.authority,
        "authority_name": "Sở",
        "serial": int(release.serial),
        "issued": issued,
        "training": True,
        "digest": digest.sha256,
        "size": digest.size,
        "counts": release.counts(),
        "contact": Contact(email="a@b.example"),
        "decisions": (),
        "chain": ChainHead(length=1, hash="0" * 64),
    }
    return Manifest(**{**fields, **more})
