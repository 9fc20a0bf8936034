"""Promises of `feeds.floor`: the limits that no rule may cross."""

import ipaddress

import pytest

from feeds.floor import FLOOR_WORDS, SPECIAL_PURPOSE, crossed
from feeds.prefix import Prefix
from tests.rules import target


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("com", "floor.single-label"),
        ("vn", "floor.single-label"),
        ("com.vn", "floor.icann-suffix"),
        ("hanoi.vn", "floor.icann-suffix"),
        ("=co.uk", "floor.icann-suffix"),
        ("evil.example", "floor.special-use"),
        ("router.local", "floor.special-use"),
        ("in-addr.arpa", "floor.infrastructure"),
        ("a.root-servers.net", "floor.infrastructure"),
        ("gtld-servers.net", "floor.infrastructure"),
        ("evil.com.vn", None),
        ("notroot-servers.net", None),
        ("blogspot.com", None),
        ("8.0.0.0/8", "floor.too-wide"),
        ("8.8.0.0/23", "floor.too-wide"),
        ("2a00::/47", "floor.too-wide"),
        ("10.1.2.3/32", "floor.special-purpose"),
        ("192.0.2.0/24", "floor.special-purpose"),
        ("2001:db8::/48", "floor.special-purpose"),
        ("fe80::1/128", "floor.unallocated"),
        ("4000::/48", "floor.unallocated"),
        ("::1/128", "floor.unallocated"),
        ("8.8.8.0/24", None),
        ("2a00:1450::/48", None),
    ],
)
def test_nobody_crosses_the_floor(text: str, limit: str | None) -> None:
    assert crossed(target(text)) == limit
    assert limit is None or limit in FLOOR_WORDS


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("evil.example", None),
        ("evil.test", None),
        ("203.0.113.9/32", None),
        ("2001:db8::/48", None),
        ("evil.com", "floor.training"),
        ("8.8.8.8/32", "floor.training"),
        ("example", "floor.single-label"),
        ("2001:db8::/32", "floor.too-wide"),
    ],
)
def test_a_training_register_stays_among_reserved_names(text: str, limit: str | None) -> None:
    assert crossed(target(text), training=True) == limit


def test_private_space_of_the_standard_library_is_special_here_too() -> None:
    for block in (
        "10.255.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "172.31.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ):
        assert not ipaddress.ip_address(block).is_global or ipaddress.ip_address(block).is_multicast
        assert crossed(Prefix.of_text(block + "/32")) == "floor.special-purpose"
    assert len(SPECIAL_PURPOSE) == len(set(SPECIAL_PURPOSE))
