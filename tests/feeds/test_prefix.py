"""Promises of `feeds.prefix`: what people type becomes canonical prefixes, or one reason that helps."""

import pytest

from feeds.errors import Rejected
from feeds.prefix import Prefix


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("192.0.2.1", ["192.0.2.1/32"]),
        (" 192.0.2[.]1 ", ["192.0.2.1/32"]),
        ("192.0.2.0/24", ["192.0.2.0/24"]),
        ("192.0.2.0/255.255.255.0", ["192.0.2.0/24"]),
        ("192.0.2.0-192.0.2.129", ["192.0.2.0/25", "192.0.2.128/31"]),
        ("192.0.2.7 – 192.0.2.7", ["192.0.2.7/32"]),
        ("2001:DB8:0::/32", ["2001:db8::/32"]),
        ("[2001:db8::1]", ["2001:db8::1/128"]),
        ("2001:db8::-2001:db8::2", ["2001:db8::/127", "2001:db8::2/128"]),
    ],
)
def test_what_people_type_becomes_minimal_prefixes(typed: str, canonical: list[str]) -> None:
    assert [str(p) for p in Prefix.parse(typed)] == canonical


@pytest.mark.parametrize(
    ("typed", "rule", "says"),
    [
        ("192.0.2.1/24", "prefix.host-bits", "192.0.2.0/24"),
        ("2001:db8::1/64", "prefix.host-bits", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "prefix.mapped", "192.0.2.1"),
        ("192.0.2.1/33", "prefix.length", "0 to 32"),
        ("192.0.2.0/255.0.255.0", "prefix.length", "no prefix length"),
        ("192.0.02.1", "prefix.form", "octal"),
        ("192.0.2", "prefix.form", "not an IP address"),
        ("192.0.2.9-192.0.2.1", "prefix.range", "upwards"),
        ("192.0.2.9-2001:db8::", "prefix.range", "one IP version"),
        ("evil.com", "prefix.form", "not an IP address"),
    ],
)
def test_what_is_no_prefix_gets_a_reason_that_helps(typed: str, rule: str, says: str) -> None:
    with pytest.raises(Rejected) as caught:
        Prefix.parse(typed)
    assert caught.value.rule == rule
    assert says in caught.value.what


@pytest.mark.parametrize(
    "text", ["192.0.2.1", "192.0.2.1/24", "2001:DB8::/32", "192.0.2.0/024", "x/1", "::ffff:0:0/96"]
)
def test_only_canonical_text_is_read_back(text: str) -> None:
    with pytest.raises(Rejected):
        Prefix.of_text(text)


def test_covering_stays_within_a_family() -> None:
    outer, inner = Prefix.of_text("192.0.2.0/24"), Prefix.of_text("192.0.2.128/25")
    assert outer.covers(inner)
    assert not inner.covers(outer)
    assert not Prefix.of_text("::/0").covers(inner)
