"""Ed25519 keys in files: encrypted PKCS #8 PEM for people, plain PEM for the feed's own unattended keys.

A passphrase comes in as bytes and is never logged, never part of an error, never read from a command line.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from feeds.errors import Rejected, Unavailable
from feeds.language import _

MAX_FILE_BYTES = 16_384
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_PLAIN = b"-----BEGIN PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Key:
    """A private Ed25519 key in memory; printing it shows the public half only."""

    private: Ed25519PrivateKey = field(repr=False)
    public_hex: str

    @classmethod
    def of(cls, private: Ed25519PrivateKey) -> "Key":
        """The key of a private key object."""
        return cls(private, private.public_key().public_bytes_raw().hex())

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature (RFC 8032)."""
        return self.private.sign(data)


def create(path: Path, passphrase: bytes | None) -> Key:
    """Make a key and its file (mode 0600, never over an existing file); `None` leaves it unencrypted (feed keys).

    Raises Rejected: the file exists, the passphrase is empty. Unavailable: it cannot be written.
    """
    if passphrase is not None and not passphrase.strip():
        raise Rejected(_("the passphrase is empty"), rule="key.passphrase", then=_("choose one of several words"))
    key = Key.of(Ed25519PrivateKey.generate())
    how: KeySerializationEncryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    data = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Rejected(
            _("{path} exists already, and a key is never written over another").format(path=path),
            rule="key.exists",
            kept=_("the file is as it was"),
            then=_("choose another file name"),
        ) from None
    except OSError as error:
        raise Unavailable(_("{path} cannot be written: {why}").format(path=path, why=error.strerror)) from None
    try:
        with os.fdopen(file, "wb") as out:
            os.fchmod(out.fileno(), 0o600)
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        _sync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Unavailable(_("{path} cannot be written: {why}").format(path=path, why=error.strerror)) from None
    return key


def load(path: Path, passphrase: bytes | None) -> Key:
    """Read a key file; raises Rejected: not there, readable by others, not such a key, wrong or missing passphrase."""
    data = _read(path)
    encrypted = data.lstrip().startswith(_ENCRYPTED)
    if encrypted and passphrase is None:
        raise Rejected(_("{path} is encrypted: its passphrase is needed").format(path=path), rule="key.passphrase")
    try:
        private = load_pem_private_key(data, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise Rejected(
                _("the passphrase does not open {path}").format(path=path),
                rule="key.passphrase",
                then=_("type it again; if the file is damaged, take its copy"),
            ) from None
        raise _no_key(path) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise Rejected(
            _("{path} holds a key of another kind; Ed25519 is needed").format(path=path),
            rule="key.kind",
            then=_("make a new key"),
        )
    return Key.of(private)


def is_encrypted(path: Path) -> bool:
    """Does this key file need a passphrase? Raises Rejected if it is no key file."""
    data = _read(path).lstrip()
    if not data.startswith((_ENCRYPTED, _PLAIN)):
        raise _no_key(path)
    return data.startswith(_ENCRYPTED)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _others(path):
                raise Rejected(
                    _("{path} can be read by others, so it is no longer a secret").format(path=path),
                    rule="key.mode",
                    then=_("run: chmod 600 {path}; if others had access, rotate the key").format(path=path),
                )
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise Rejected(
            _("the key file {path} cannot be read: {why}").format(path=path, why=error.strerror), rule="key.file"
        ) from None


def _others(path: Path) -> int:
    """The permission bits that a secret at this place may not have.

    systemd hands credentials over in a directory that the service's user alone can enter, and there the group may
    read them (systemd.exec(5), LoadCredential=).
    """
    handed = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return 0o037 if handed and path.absolute().parent == Path(handed) else 0o077


def _no_key(path: Path) -> Rejected:
    return Rejected(_("{path} is not a private key in PEM form").format(path=path), rule="key.form")


def _sync_folder(folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
