"""Documents by their SHA-256, in zstd frames."""

import zstandard
from sqlalchemy import Connection, insert, select

from blocker.register.chain import broken
from blocker.register.tables import DOCUMENT
from feeds.document import sha256_of
from feeds.language import _

MAX_BYTES = 1 << 30
_LEVEL = 3


def pack(data: bytes) -> bytes:
    """A zstd frame that says its content's size."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(data)


def unpack(frame: bytes) -> bytes:
    """The content, not more than a gigabyte; raises zstandard.ZstdError."""
    if zstandard.frame_content_size(frame) not in range(MAX_BYTES):
        raise zstandard.ZstdError("size missing or beyond the limit")
    return zstandard.ZstdDecompressor().decompress(frame)


def put(connection: Connection, kind: str, data: bytes) -> str:
    """Store a document and give its SHA-256; storing the same again does nothing."""
    digest = sha256_of(data)
    if connection.execute(select(DOCUMENT.c.sha256).where(DOCUMENT.c.sha256 == digest)).first() is None:
        connection.execute(insert(DOCUMENT).values(sha256=digest, kind=kind, size=len(data), body=pack(data)))
    return digest


def get(connection: Connection, digest: str) -> bytes:
    """A document; raises Refused if it is gone or is not what its digest says."""
    frame = connection.execute(select(DOCUMENT.c.body).where(DOCUMENT.c.sha256 == digest)).scalar()
    if frame is None:
        raise broken(_("the signed document {digest} is gone").format(digest=digest[:16]))
    try:
        data = unpack(frame)
    except zstandard.ZstdError:
        data = b""
    if sha256_of(data) != digest:
        raise broken(_("the signed document {digest} has been changed").format(digest=digest[:16]))
    return data
