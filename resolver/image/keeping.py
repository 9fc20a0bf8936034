"""Images on disk, beside what they were made of, so that a restart need not compile; and in memory, to be handed on.

The process that answers maps memory that is sealed: nothing that befalls a disk or a file reaches it, where a mapped
file that is cut short, or whose disk fails, would end the process.
"""

import fcntl
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from feeds import durable
from resolver.image.building import write_at
from resolver.image.form import HEAD_BYTES, SUM_BYTES, VERSION, About, Head
from resolver.image.lookup import Image

KEPT_NAME = "resolver.image"


def freshness(program: str, kind: str, source: str) -> bytes:
    """What an image was made from, in SUM_BYTES: another release, list or program, and it is not fresh."""
    return sha256("\0".join((str(VERSION), program, kind, source)).encode()).digest()[:SUM_BYTES]


def new_memory() -> int:
    """A descriptor of an empty file in memory, to build an image in or to fetch one to."""
    return os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def seal(memory: int) -> None:
    """From now on nobody can change it, whoever holds it."""
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)


def fetch(path: Path, made_from: bytes | None, memory: int) -> About | None:
    """Copy a kept image into empty memory; None where there is none or it was made from something else (None: any).

    Raises Untrusted where it is damaged; `memory` is left empty unless an image, checked to its end, is returned.
    """
    try:
        with path.open("rb") as file:
            start = file.read(HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
            if made_from not in (None, Head.of_bytes(start, size).made_from):
                return None
            write_at(memory, start + file.read(size), 0)
    except OSError:
        return None
    try:
        image = Image.of_descriptor(memory, verify=True)
    except BaseException:
        os.ftruncate(memory, 0)
        raise
    return image.about


def keep(path: Path, memory: int) -> None:
    """Keep the image in `memory` as `path`; where that may not be written, the next start compiles again."""
    with suppress(OSError):
        durable.write(path, os.pread(memory, os.fstat(memory).st_size, 0))
