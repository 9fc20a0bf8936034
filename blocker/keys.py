"""Ed25519 keys in files: encrypted PKCS #8 PEM for people, plain PEM for the feed's own unattended keys.

A passphrase comes in as bytes and is never logged, never part of an error, never read from a command line.
"""

from pathlib import Path


class Key:
    """A private Ed25519 key in memory."""

    @property
    def public_hex(self) -> str:
        """The public key, 64 hexadecimal digits."""
        raise NotImplementedError

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature (RFC 8032)."""
        raise NotImplementedError


def create(path: Path, passphrase: bytes | None) -> Key:
    """Make a key and its file (mode 0600, never over an existing file); `None` leaves it unencrypted (feed keys)."""
    raise NotImplementedError


def load(path: Path, passphrase: bytes | None) -> Key:
    """Read a key file; raises Rejected: not there, readable by others, not such a key, wrong or missing passphrase."""
    raise NotImplementedError


def is_encrypted(path: Path) -> bool:
    """Does this key file need a passphrase? Raises Rejected if it is no key file."""
    raise NotImplementedError
