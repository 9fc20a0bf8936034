"""Structured DNS errors: JSON for the clients that ask, the plain text for all others."""

import json

import dns.edns
import dns.message
import pytest

from resolver.answer import blocked_answer
from resolver.policy import Source
from resolver.structured import OPTION_STRUCTURED, contact_uri, structured
from tests.resolver.play import Play, blocks, ede_of
from tests.resolver.test_answer import CONTACT, LONG_NAME, hit_of, query_for

ASKING = {"options": [dns.edns.GenericOption(OPTION_STRUCTURED, b"")]}


def told_why(message: dns.message.Message) -> tuple[int, dict[str, object]]:
    [(code, text)] = ede_of(message)
    return code, json.loads(text) if text else {}


@pytest.mark.parametrize("tcp", [False, True])
def test_who_asks_is_told_contact_justification_and_organisation_and_no_sub_error(tcp):
    play = Play(blocks("bad.example"))
    play.asks("ann", "www.bad.example", tcp=tcp, **ASKING)
    assert told_why(play.told("ann")) == (
        16,
        {
            "c": ["mailto:objections@tpa.example"],
            "j": "entry tpa:1; decision 12/QD-2026; objections objections@tpa.example",
            "o": "tpa",
            "l": "en",
        },
    )


def test_who_does_not_ask_gets_the_text_before_and_after():
    play = Play(blocks("bad.example"))
    texts = []
    for more in ({}, ASKING, {}):
        play.asks("ann", "bad.example", **more)
        texts.append(ede_of(play.told("ann"))[0][1])
    assert texts[0] == texts[2]
    assert texts[0].startswith("entry tpa:1;")
    assert texts[1].startswith('{"c":[')


def test_data_in_the_option_is_ignored():
    play = Play(blocks("bad.example"))
    play.asks("ann", "bad.example", options=[dns.edns.GenericOption(OPTION_STRUCTURED, b"junk")])
    assert told_why(play.told("ann"))[1]["l"] == "en"


def test_a_foreign_list_is_the_dns_operators_policy():
    hit = hit_of(source=Source("list.txt", 0, foreign=True))
    data = blocked_answer(hit, query_for(), False, as_json=True)
    code, said = told_why(dns.message.from_wire(data))
    assert (code, said["s"]) == (15, 6)


def test_stripped_private_addresses_are_told_in_json_too():
    play = Play()
    play.asks("ann", "www.evil.example", **ASKING)
    play.answers(play.sent(), "www.evil.example. 60 IN A 10.0.0.1")
    code, said = told_why(play.told("ann"))
    assert code == 15
    assert said["j"].startswith("private addresses")


@pytest.mark.parametrize("room", range(512, 1233, 12))
def test_where_it_does_not_fit_justification_and_organisation_go_first_and_the_json_stays_whole(room):
    hit = hit_of(name=LONG_NAME, decision="Đ" * 200)
    query = query_for(LONG_NAME, edns=room)
    data = blocked_answer(hit, query, False, as_json=True)
    assert len(data) <= room
    code, said = told_why(dns.message.from_wire(data))
    assert code == 16
    assert said["c"] == ["mailto:" + CONTACT]
    assert ("j" in said) == ("o" in said) == ("l" in said)
    assert room > 520 or "j" not in said
    assert room < 1200 or "j" in said


@pytest.mark.parametrize(
    ("contact", "uri"),
    [
        ("a.b@so.gov.vn", "mailto:a.b@so.gov.vn"),
        ("+84 28 3829 1234", "tel:+84-28-3829-1234"),
        ("Toà án, 1 Lê Lợi", ""),
        ("https://so.gov.vn/", ""),
        ("", ""),
    ],
)
def test_only_mail_and_telephone_are_contacts(contact, uri):
    assert contact_uri(contact) == uri


def test_nothing_to_say_is_no_json():
    assert structured("") == ("", "")
