"""Keys in files: for their owner only, and never in words."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from blocker import keys
from feeds.errors import Rejected, Unavailable

SECRET = "mật khẩu dài".encode()


def test_a_key_comes_back_from_its_file_and_signs(tmp_path: Path) -> None:
    made = keys.create(tmp_path / "an.key", SECRET)
    read = keys.load(tmp_path / "an.key", SECRET)
    assert read.public_hex == made.public_hex
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(made.public_hex)).verify(read.sign(b"x"), b"x")


def test_the_file_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.create(tmp_path / "an.key", SECRET)
    finally:
        os.umask(before)
    assert (tmp_path / "an.key").stat().st_mode & 0o777 == 0o600


def test_an_officers_key_is_encrypted_and_a_feed_key_need_not_be(tmp_path: Path) -> None:
    keys.create(tmp_path / "an.key", SECRET)
    keys.create(tmp_path / "timestamp.key", None)
    assert keys.is_encrypted(tmp_path / "an.key")
    assert not keys.is_encrypted(tmp_path / "timestamp.key")
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / "an.key").read_bytes()
    assert keys.load(tmp_path / "timestamp.key", None).public_hex


def test_a_key_is_never_written_over_another(tmp_path: Path) -> None:
    keys.create(tmp_path / "an.key", SECRET)
    before = (tmp_path / "an.key").read_bytes()
    with pytest.raises(Rejected, match="exists already"):
        keys.create(tmp_path / "an.key", SECRET)
    assert (tmp_path / "an.key").read_bytes() == before


def test_a_wrong_or_missing_passphrase_is_named_and_not_told(tmp_path: Path) -> None:
    keys.create(tmp_path / "an.key", SECRET)
    with pytest.raises(Rejected, match="passphrase does not open") as error:
        keys.load(tmp_path / "an.key", b"guess-4711")
    assert "guess-4711" not in f"{error.value.what}{error.value.then}{error.value.__cause__}"
    with pytest.raises(Rejected, match="passphrase is needed"):
        keys.load(tmp_path / "an.key", None)
    with pytest.raises(Rejected, match="passphrase is empty"):
        keys.create(tmp_path / "other.key", b"  ")
    assert not (tmp_path / "other.key").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    keys.create(tmp_path / "an.key", SECRET)
    (tmp_path / "an.key").chmod(mode)
    with pytest.raises(Rejected, match="read by others") as error:
        keys.load(tmp_path / "an.key", SECRET)
    assert "chmod 600" in error.value.then


def test_a_credential_from_systemd_may_be_read_by_its_group_and_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed, elsewhere = tmp_path / "handed", tmp_path / "elsewhere"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    for folder in (handed, elsewhere):
        folder.mkdir()
        keys.create(folder / "targets.pem", None)
        (folder / "targets.pem").chmod(0o440)
    assert keys.load(handed / "targets.pem", None)
    with pytest.raises(Rejected, match="read by others"):
        keys.load(elsewhere / "targets.pem", None)
    with pytest.raises(Rejected, match="read by others"):
        keys.load(handed / ".." / "elsewhere" / "targets.pem", None)
    for mode in (0o444, 0o460, 0o441):
        (handed / "targets.pem").chmod(mode)
        with pytest.raises(Rejected, match="read by others"):
            keys.load(handed / "targets.pem", None)


def test_what_is_no_such_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.key"
    for content in (b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", os.urandom(99)):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(Rejected, match="not a private key"):
            keys.load(path, None)
    path.write_bytes(generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(Rejected, match="another kind"):
        keys.load(path, None)
    with pytest.raises(Rejected, match="cannot be read"):
        keys.load(tmp_path / "none.key", None)


def test_a_folder_that_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be written"):
        keys.create(tmp_path / "none" / "an.key", SECRET)


def test_printing_a_key_shows_its_public_half_only(tmp_path: Path) -> None:
    made = keys.create(tmp_path / "an.key", SECRET)
    assert made.public_hex in repr(made)
    assert made.private.private_bytes_raw().hex() not in repr(made)
    assert "Ed25519PrivateKey" not in repr(made)
