"""The settings of zone transfers: what a file may say, and that each of its faults is told once, with its place."""

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from feeds.errors import Rejected
from feeds.name import DomainName
from feeds.rule import Category
from feeds.transfer.settings import Secondary, Settings, Zone, read_settings

NAME = DomainName.parse("rpz.blocker").name


@pytest.mark.parametrize(
    ("flavour", "names_only", "categories"),
    [
        ("full", False, frozenset()),
        ("names", True, frozenset()),
        ("csam", False, {Category.CSAM}),
        ("csam+malware", False, {Category.CSAM, Category.MALWARE}),
    ],
)
def test_a_flavour_says_what_the_zone_shows(flavour: str, names_only: bool, categories: frozenset[Category]) -> None:
    zone = Zone(NAME, flavour)
    assert zone.names_only is names_only
    assert zone.categories == categories


GOOD = """
[zone."rpz.blocker"]
[secondary.one]
address = ["192.0.2.53", "2001:db8::53"]
notify = ["192.0.2.53:53", "[2001:db8::53]:5353"]
key = "One"
algorithm = "hmac-sha512"
secret_file = "good"
[secondary.two]
certificate = "two.pem"
"""
ZONE, HEAD = '[zone."rpz.blocker"]\n', "[secondary.one]\n"
KEY = 'key = "k"\nsecret_file = "good"\n'


@pytest.fixture(scope="module")
def certificate() -> tuple[bytes, bytes, bytes]:
    """A certificate in PEM, another one for the same key, and the pin of both."""
    key = Ed25519PrivateKey.generate()
    first, second = (self_signed(key, name) for name in ("two", "renewed"))
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return first, second, hashlib.sha256(public).digest()


def self_signed(key: Ed25519PrivateKey, name: str) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2021, 1, 1, tzinfo=UTC))
    return made.sign(key, None).public_bytes(Encoding.PEM)


def read(folder: Path, text: str) -> Settings:
    (folder / "good").write_bytes(base64.b64encode(b"k" * 32) + b"\n")
    (folder / "short").write_bytes(base64.b64encode(b"k" * 15))
    (folder / "junk").write_bytes(b"no base64!")
    path = folder / "zone.toml"
    path.write_text(text)
    return read_settings(path)


def test_a_whole_file_is_read_as_it_is_meant(tmp_path: Path, certificate: tuple[bytes, bytes, bytes]) -> None:
    (tmp_path / "two.pem").write_bytes(certificate[0])
    found = read(tmp_path, GOOD)
    one, two = found.secondaries
    assert found.zones == (Zone(NAME, "full"),)
    assert one.addresses == {"192.0.2.53", "2001:db8::53"}
    assert one.notify == (("192.0.2.53", 53), ("2001:db8::53", 5353))
    assert one.key is not None
    assert (one.key.name.to_text(), one.key.secret, one.key.algorithm.to_text()) == ("one.", b"k" * 32, "hmac-sha512.")
    assert two == Secondary("two", frozenset(), (), None, certificate[2])


def test_a_certificate_that_is_renewed_for_the_same_key_stays_let_in(
    tmp_path: Path, certificate: tuple[bytes, bytes, bytes]
) -> None:
    (tmp_path / "two.pem").write_bytes(certificate[1])
    assert read(tmp_path, GOOD).secondaries[1].certificate == certificate[2]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (ZONE, "secondary", "there must be at least one section [secondary.NAME]"),
        (HEAD + KEY, "zone", "there must be at least one section [zone.NAME]"),
        ("other = 1\n" + ZONE + HEAD + KEY, "", "unknown setting: other"),
        ('zone = {"rpz.blocker" = 1}\n' + HEAD + KEY, "zone.rpz.blocker", "it must be a section"),
        (ZONE + "flavor = 'full'\n" + HEAD + KEY, "zone.rpz.blocker", "unknown setting: flavor"),
        (ZONE + "flavour = 'porn'\n" + HEAD + KEY, "zone.rpz.blocker.flavour", "categories joined by +"),
        (ZONE + "flavour = 'csam+csam'\n" + HEAD + KEY, "zone.rpz.blocker.flavour", "each once"),
        (ZONE + "flavour = ['csam']\n" + HEAD + KEY, "zone.rpz.blocker.flavour", "categories joined by +"),
        ('[zone."a b"]\n' + HEAD + KEY, "zone.a b", "a space cannot be part of a name"),
        (f'[zone."{"a" * 31}"]\n' + HEAD + KEY, f"zone.{'a' * 31}", "may have 30 characters"),
        (ZONE + '[zone."RPZ.blocker"]\n' + HEAD + KEY, "zone", "two zones have the name rpz.blocker"),
        (ZONE + HEAD, "secondary.one", "it needs an address, a key or a certificate"),
        (ZONE + HEAD + "address = []\n", "secondary.one", "it needs an address, a key or a certificate"),
        (ZONE + HEAD + KEY + "adress = []\n", "secondary.one", "unknown setting: adress"),
        (ZONE + HEAD + KEY + "address = '::1'\n", "secondary.one.address", "it must be a list of texts"),
        (ZONE + HEAD + "address = ['192.0.2.0/24']\n", "secondary.one.address", "«192.0.2.0/24» is not an IP address"),
        (ZONE + HEAD + KEY + "notify = ['192.0.2.1']\n", "secondary.one.notify", "is not ADDRESS:PORT"),
        (ZONE + HEAD + KEY + "notify = ['ns.example:53']\n", "secondary.one.notify", "is not ADDRESS:PORT"),
        (ZONE + HEAD + KEY + "notify = ['[::1]:65536']\n", "secondary.one.notify", "is not ADDRESS:PORT"),
        (ZONE + HEAD + "secret_file = 'good'\n", "secondary.one", "a secret needs the name of its key"),
        (ZONE + HEAD + "key = 'k'\n", "secondary.one.secret_file", "it must name a file"),
        (ZONE + HEAD + "key = 'k..k'\nsecret_file = 'good'\n", "secondary.one.key", "«k..k» is no name of a key"),
        (ZONE + HEAD + "key = ''\nsecret_file = 'good'\n", "secondary.one.key", "«» is no name of a key"),
        (ZONE + HEAD + KEY + "algorithm = 'hmac-md5'\n", "secondary.one.algorithm", "hmac-sha256, hmac-sha512"),
        (
            ZONE + HEAD + "key = 'k'\nsecret_file = 'none'\n",
            "secondary.one.secret_file",
            "none cannot be read: No such",
        ),
        (ZONE + HEAD + "key = 'k'\nsecret_file = 'junk'\n", "secondary.one.secret_file", "junk is not base64"),
        (ZONE + HEAD + "key = 'k'\nsecret_file = 'short'\n", "secondary.one.secret_file", "at least 16 octets"),
        (ZONE + HEAD + "certificate = 'good'\n", "secondary.one.certificate", "good is not a certificate in PEM"),
        (ZONE + HEAD + "certificate = 'none'\n", "secondary.one.certificate", "none cannot be read: No such"),
        (ZONE + HEAD + KEY + "[secondary.two]\n" + KEY.replace('"k"', '"K"'), "secondary", "two secondaries share"),
    ],
)
def test_a_fault_is_told_once_with_its_place(tmp_path: Path, text: str, place: str, message: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(tmp_path, text)
    (problem,) = caught.value.problems
    assert problem.place == place
    assert message in problem.message


def test_a_certificate_lets_one_secondary_in_only(tmp_path: Path, certificate: tuple[bytes, bytes, bytes]) -> None:
    (tmp_path / "two.pem").write_bytes(certificate[0])
    (tmp_path / "three.pem").write_bytes(certificate[1])
    with pytest.raises(Rejected) as caught:
        read(tmp_path, GOOD + '[secondary.three]\ncertificate = "three.pem"\n')
    assert [str(one) for one in caught.value.problems] == [
        f"secondary: two secondaries share the certificate with the pin {certificate[2].hex()} [zone.settings]"
    ]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as caught:
        read(tmp_path, ZONE + "flavour = 'x'\n" + HEAD + "address = ['x', 'y']\nnotify = ['z']\nkey = 'k'\nsort = 1\n")
    assert [one.place for one in caught.value.problems] == [
        "zone.rpz.blocker.flavour",
        "secondary.one",
        "secondary.one.address",
        "secondary.one.address",
        "secondary.one.notify",
        "secondary.one.secret_file",
    ]


@pytest.mark.parametrize("text", ["[zone", b"\xff"])
def test_what_is_not_toml_or_cannot_be_read_is_said(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "zone.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Rejected, match="it is not TOML"):
        read_settings(path)
    with pytest.raises(Rejected, match="it cannot be read: No such file"):
        read_settings(tmp_path / "none.toml")


SECONDARY = Secondary("s", frozenset({"192.0.2.1"}), (), None, b"p" * 32)


@pytest.mark.parametrize(
    ("secondary", "address", "certificate", "admitted"),
    [
        (SECONDARY, "192.0.2.1", b"p" * 32, True),
        (SECONDARY, "192.0.2.2", b"p" * 32, False),
        (SECONDARY, "192.0.2.1", b"q" * 32, False),
        (SECONDARY, "192.0.2.1", None, False),
        (Secondary("s", frozenset(), (), None, b"p" * 32), "192.0.2.9", b"p" * 32, True),
        (Secondary("s", frozenset(), (), None, b"p" * 32), "192.0.2.9", None, False),
        (Secondary("s", frozenset(), (), None), "192.0.2.9", None, False),
    ],
)
def test_all_tests_of_a_secondary_must_hold(
    secondary: Secondary, address: str, certificate: bytes | None, admitted: bool
) -> None:
    assert secondary.admits(address, certificate) is admitted


def test_an_address_is_known_in_either_way_of_writing_it(tmp_path: Path) -> None:
    path = tmp_path / "zone.toml"
    path.write_text('[zone."rpz.blocker"]\n[secondary.one]\naddress = ["::ffff:192.0.2.1", "2001:DB8::1"]\n')
    assert read_settings(path).secondaries[0].addresses == {"192.0.2.1", "2001:db8::1"}
