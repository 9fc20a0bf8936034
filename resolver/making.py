"""Making an image of what was read, and what is said where reading or making fails."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import SystemRandom

from feeds.errors import Unavailable
from feeds.language import _
from resolver.image import About, Image, build, random_prime
from resolver.policy import AnyTarget, Ground, Source


def built(
    memory: int,
    found: Iterable[tuple[AnyTarget, int]],
    grounds: list[Ground],
    source: Source,
    refused: int,
    made_from: bytes,
    skipped: Mapping[str, int] | None = None,
) -> About:
    """Build it with a prime of its own; raises Unavailable where there is no memory for it."""
    prime = random_prime(SystemRandom())
    try:
        return build(
            memory, found, grounds, source=source, refused=refused, made_from=made_from, prime=prime, skipped=skipped
        )
    except OSError as error:
        raise Unavailable(
            _("the image cannot be written: {why}").format(why=error.strerror or error),
            kept=_("the release in force stays"),
            then=_("see whether the machine ran out of memory"),
        ) from None


def made_before(held: int | None, made_from: bytes) -> About | None:
    """What the image of the last load is about, if it was made from the very same."""
    if held is None:
        return None
    image = Image.of_descriptor(held)
    return image.about if image.head.made_from == made_from else None


def digest(path: Path) -> str:
    """SHA-256 of a file in hex; raises Unavailable."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError | EOFError) -> Unavailable:
    """The one error for a file that cannot be read."""
    why = getattr(error, "strerror", None) or str(error)
    return Unavailable(
        _("{path} cannot be read: {why}").format(path=path, why=why),
        then=_("check that it is there and that the user the resolver runs as may read it"),
    )
