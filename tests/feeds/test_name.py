"""Promises of `feeds.name`: what people paste becomes one canonical name, or one reason with its place."""

import unicodedata

import pytest

from feeds.errors import Rejected
from feeds.name import DomainName


@pytest.mark.parametrize(
    ("pasted", "canonical"),
    [
        ("evil.com", "evil.com"),
        ("EVIL.com.", "evil.com"),
        ("  evil[.]com ", "evil.com"),
        ("evil (dot) com", "evil.com"),
        ("hxxps://evil.com", "evil.com"),
        ("hxxp[:]//evil[.]com/", "evil.com"),
        ("//evil.com", "evil.com"),
        ("http://Ví-Dụ.vn/path", "xn--v-d-rma6749a.vn"),
        (unicodedata.normalize("NFD", "ví-dụ.vn"), "xn--v-d-rma6749a.vn"),
        ("\u200bevil\u00ad.com\ufeff", "evil.com"),
        ("ev\u200cil。com", "evil.com"),
        ("«evil.com»,", "evil.com"),
        ("_dmarc.evil.com", "_dmarc.evil.com"),
        ("*.evil.com", "evil.com"),
        ("||evil.com^", "evil.com"),
        ("xn--i-7iq.ws", "xn--i-7iq.ws"),
        ("a-.evil.com", "a-.evil.com"),
        ("x" * 63 + ".com", "x" * 63 + ".com"),
    ],
)
def test_what_people_paste_becomes_one_canonical_name(pasted: str, canonical: str) -> None:
    assert DomainName.parse(pasted).name == DomainName(canonical)


@pytest.mark.parametrize(
    ("pasted", "rule", "says"),
    [
        ("", "name.empty", "no name here"),
        (".", "name.root", "root"),
        ("*", "name.root", "root"),
        ("a..b", "name.empty-label", "character 3"),
        ("foo bar.com", "name.character", "character 4: a space"),
        ("ví dụ.test", "name.character", "character 3: a space"),
        ("foo.b%r.com", "name.character", "character 6: %"),
        ("1.2.3.4", "name.address", "not a domain name"),
        ("http://1.2.3.4/x", "name.address", "not a domain name"),
        ("[2001:db8::1]", "name.address", "an address"),
        ("1.2.3.256", "name.address", "not a domain name"),
        ("0x7f000001", "name.address", "not a domain name"),
        ("host:port", "name.port", "character 5"),
        ("x" * 64 + ".com", "name.label-length", "63"),
        (".".join(["x" * 60] * 5), "name.length", "253"),
        ("a\u2260b.com", "name.idna", "not allowed"),
        ("y" * 5000, "name.length", "5000"),
    ],
)
def test_what_cannot_be_a_name_gets_one_reason_with_its_place(pasted: str, rule: str, says: str) -> None:
    with pytest.raises(Rejected) as caught:
        DomainName.parse(pasted)
    assert caught.value.rule == rule
    assert says in caught.value.what


def test_everything_dropped_is_reported_and_a_dropped_path_is_marked() -> None:
    parsed = DomainName.parse("https://user:secret@evil.com:8080/page?id=1#top")
    assert parsed.dropped == (
        "scheme: https",
        "fragment: top",
        "query: id=1",
        "path: /page",
        "user: user",
        "port: 8080",
    )
    assert parsed.path_dropped
    assert "secret" not in "".join(parsed.dropped)
    assert not DomainName.parse("http://evil.com/").path_dropped


def test_a_wildcard_is_reported() -> None:
    assert DomainName.parse("*.evil.com").wildcard
    assert not DomainName.parse("evil.com").wildcard


def test_two_spellings_of_a_tone_mark_stay_two_names() -> None:
    assert DomainName.parse("hoà.vn").name != DomainName.parse("hòa.vn").name


def test_a_punycode_label_outside_idna_2008_is_held_with_a_note() -> None:
    assert "IDNA" in DomainName.parse("xn--i-7iq.ws").notes[0]


@pytest.mark.parametrize("text", ["EVIL.com", "evil.com.", "", ".", "a..b", "é.com", "a b", "x" * 64, "evil.com\n"])
def test_the_constructor_takes_the_canonical_form_only(text: str) -> None:
    with pytest.raises(Rejected):
        DomainName(text)


def test_names_sort_as_rfc_4034_section_6_1_says() -> None:
    ordered = ["example", "a.example", "yljkjljk.a.example", "z.a.example", "zabc.a.example", "z.example"]
    assert sorted(ordered, key=lambda t: DomainName(t).sort_key) == ordered


def test_wire_and_unicode_forms() -> None:
    name = DomainName("xn--v-d-rma6749a.vn")
    assert name.wire == b"\x10xn--v-d-rma6749a\x02vn\x00"
    assert name.unicode == "ví-dụ.vn"
    assert DomainName("a.b.c").parents() == ("b.c", "c")
