"""Each form of output says what was decided, never more, and counts what it cannot say."""

import csv
import io
import json
import os
from pathlib import Path

import pytest

from feeds.errors import Rejected
from feeds.language import speak
from feeds.prefix import Prefix
from feeds.render import formats, render
from feeds.render.rpz import prefix_owner, rname, zone_serial
from feeds.rule import Action
from tests.golden.sample import CANARIES, LATER, NOW, PASSED, RULES, accepted, rule

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(autouse=True)
def english() -> None:
    speak("en")


def text(name: str, *rules: object, **more: object) -> str:
    return "".join(render(name, accepted(rules, **more), NOW))  # type: ignore[arg-type]


def body(name: str, *rules: object, **more: object) -> list[str]:
    """The lines that are no comment."""
    return [line for line in text(name, *rules, **more).splitlines() if line[:1] not in "#;"]


@pytest.mark.parametrize("name", sorted(formats()))
def test_the_golden_file_of_each_form_is_what_is_written(name: str) -> None:
    path = GOLDEN / formats()[name].file_name
    made = "".join(render(name, accepted(RULES, canaries=CANARIES), NOW)).encode()
    if os.environ.get("BLOCKER_GOLDEN") == "write":
        path.write_bytes(made)
    assert made == path.read_bytes()


@pytest.mark.parametrize("name", sorted(formats()))
def test_a_lapsed_rule_is_in_no_form_and_is_counted(name: str) -> None:
    rendering = render(name, accepted([rule("gone.example", expires=PASSED), rule("192.0.2.9/32")]), NOW)
    assert "gone.example" not in "".join(rendering)
    assert rendering.left_out["expired"] == 1


@pytest.mark.parametrize("name", sorted(formats()))
def test_a_large_release_comes_in_pieces(name: str) -> None:
    pieces = list(render(name, accepted([rule(f"n{i}.example", number=i + 1) for i in range(2500)]), NOW))
    assert len(pieces) > 2
    assert max(map(len, pieces)) < 1 << 20


def test_an_unknown_form_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Rejected, match="no format «xml»") as raised:
        render("xml", accepted(RULES), NOW)
    assert "rpz" in raised.value.then


def test_rpz_writes_no_owner_twice() -> None:
    owners = [line.split()[0] for line in body("rpz", *RULES, canaries=CANARIES) if " CNAME " in line]
    assert len(owners) == len(set(owners))


def test_rpz_says_every_action_in_its_own_word() -> None:
    said = {
        line.split()[0]: line.split()[1:3]
        for line in body(
            "rpz",
            rule("a.example", Action.NXDOMAIN),
            rule("b.example", Action.NODATA),
            rule("c.example", Action.PASSTHRU),
            rule("d.example", Action.DROP),
            rule("e.example", Action.TCP_ONLY),
            rule("f.example", Action.LOCAL, data="2001:db8::1"),
            rule("g.example", Action.LOCAL, data="notice.example"),
        )
    }
    assert said["a.example"] == said["*.a.example"] == ["CNAME", "."]
    assert said["b.example"] == ["CNAME", "*."]
    assert said["c.example"] == ["CNAME", "rpz-passthru."]
    assert said["d.example"] == ["CNAME", "rpz-drop."]
    assert said["e.example"] == ["CNAME", "rpz-tcp-only."]
    assert said["f.example"] == ["AAAA", "2001:db8::1"]
    assert said["*.g.example"] == ["CNAME", "notice.example."]


def test_rpz_names_only_leaves_addresses_out_and_says_so() -> None:
    made = text("rpz-names", rule("a.example"), rule("192.0.2.0/24"))
    assert "rpz-ip" not in made
    assert "Left out: rules for address prefixes: 1" in made


def test_rpz_leaves_out_prefixes_with_ports_since_dns_has_none() -> None:
    rendering = render("rpz", accepted([rule("192.0.2.0/24", limits="tcp/80")]), NOW)
    assert "rpz-ip" not in "".join(rendering)
    assert rendering.left_out == {"limits": 1}


def test_rpz_soa_carries_the_objection_contact_and_a_serial_that_rises_as_rules_lapse() -> None:
    (soa,) = [line for line in body("rpz", rule("a.example"), rule("b.example", expires=PASSED)) if " SOA " in line]
    assert soa.split()[3:5] == ["khieu\\.nai.sample.example.", "7001"]
    assert zone_serial(7, 5000) < zone_serial(8, 0)
    assert zone_serial(4_294_966, 999) < 1 << 32


@pytest.mark.parametrize("email", ["a@", "a@..", "a@" + "x" * 64 + ".example", "a@-._"])
def test_a_malformed_contact_does_not_spoil_the_zone(email: str) -> None:
    assert rname(email) == "hostmaster.invalid."


@pytest.mark.parametrize(
    ("prefix", "owner"),
    [
        ("192.0.2.0/24", "24.0.2.0.192.rpz-ip"),
        ("2001:db8::/48", "48.zz.db8.2001.rpz-ip"),
        ("2001:db8::1/128", "128.1.zz.db8.2001.rpz-ip"),
        ("2001:db8:0:1:1:1:1:1/128", "128.1.1.1.1.1.0.db8.2001.rpz-ip"),
        ("2001:0:0:1::/64", "64.zz.1.0.0.2001.rpz-ip"),
    ],
)
def test_address_triggers_have_the_owner_form_of_the_draft(prefix: str, owner: str) -> None:
    assert prefix_owner(Prefix.of_text(prefix)) == owner


def test_rpz_skips_and_counts_owners_that_do_not_fit_with_the_zone_name() -> None:
    long = ".".join(["x" * 63] * 3 + ["y" * 45, "example"])
    assert len(long) == 245
    rendering = render("rpz", accepted([rule(long), rule("a.example")]), NOW)
    made = "".join(rendering)
    assert "x" * 63 not in made
    assert "*.a.example" in made
    assert rendering.left_out == {"too-long": 1}
    # The name itself may fit where its wildcard does not.
    short = long[6:]
    made = "".join(render("rpz", accepted([rule(short)]), NOW, zone="z12"))
    assert f"\n{short} CNAME" in made


def test_a_name_cannot_pose_as_another_trigger() -> None:
    rendering = render("rpz", accepted([rule("=32.1.2.0.192.rpz-ip"), rule("=32.1.2.0.192.rpz-client-ip")]), NOW)
    assert "192.rpz" not in "".join(rendering)
    assert rendering.left_out == {"rpz-word": 2}


def test_a_canary_stands_before_an_exact_rule_of_its_name_and_a_malformed_one_is_left_out() -> None:
    names = {"a.example": "drop", "b.example": "nodata", "..": "drop"}
    canaries = tuple({"name": name, "action": action} for name, action in names.items())
    rendering = render("rpz", accepted([rule("=a.example"), rule("b.example", number=2)], canaries=canaries), NOW)
    made = [line for line in "".join(rendering).splitlines() if "CNAME" in line]
    assert made == [
        "a.example CNAME rpz-drop. ; canary",
        "b.example CNAME *. ; canary",
        "*.b.example CNAME .",
    ]
    assert rendering.left_out == {"canary": 1, "canary-name": 1}


@pytest.mark.parametrize("form", ["rpz", "jsonl"])
def test_no_form_writes_a_canary_that_anybody_could_own(form: str) -> None:
    canaries = ({"name": "google.com", "action": "nxdomain"}, {"name": "b.example", "action": "nodata"})
    made = "".join(render(form, accepted([rule("bad.vn")], canaries=canaries), NOW))
    assert "google.com" not in made
    assert "b.example" in made


def test_plain_blocks_nothing_that_an_exception_frees() -> None:
    made = body(
        "plain",
        rule("a.example"),
        rule("x.y.a.example", Action.PASSTHRU),
        rule("b.example"),
        rule("=b.example", Action.TCP_ONLY),
        rule("=c.example"),
        rule("d.example"),
        rule("192.0.2.0/24"),
        rule("192.0.2.7/32", Action.PASSTHRU),
        rule("198.51.100.0/24"),
    )
    assert made == ["d.example", "198.51.100.0/24"]


def test_hosts_blocks_the_very_names_and_says_that_it_cannot_block_below() -> None:
    made = text("hosts", rule("a.example"), rule("=a.example", Action.PASSTHRU), rule("b.example"), rule("=c.example"))
    assert "0.0.0.0 b.example\n:: b.example\n0.0.0.0 c.example\n:: c.example\n" in made
    assert " a.example" not in made
    assert "this form blocks only the names themselves. Rules: 2" in made


def test_dnsmasq_lets_an_exception_through_and_leaves_exact_rules_out() -> None:
    made = body(
        "dnsmasq",
        rule("a.example"),
        rule("=w.a.example", Action.PASSTHRU),
        rule("=b.example"),
        rule("c.example"),
        rule("=c.example", Action.PASSTHRU),
        rule("d.example", Action.LOCAL, data="192.0.2.1,2001:db8::1"),
    )
    assert made == [
        "address=/a.example/#",
        "server=/w.a.example/#",
        "server=/c.example/#",
        "address=/d.example/192.0.2.1",
        "address=/d.example/2001:db8::1",
    ]


def test_json_lines_carry_every_rule_with_its_decision() -> None:
    first, *rest = [json.loads(line) for line in text("jsonl", *RULES).splitlines()]
    assert first["serial"] == 7
    assert first["rules"] == len(rest) == len(RULES) - 1
    assert all(value["decision"] and value["entry"].startswith("hanoi:") for value in rest)


def test_no_cell_of_the_csv_can_become_a_formula() -> None:
    raw = text("csv", rule("-dash.example", decision="=HYPERLINK(1)"), rule("x.example", decision="@a\",'b", number=2))
    rows = list(csv.DictReader(io.StringIO(raw, newline="")))
    assert [row["target"] for row in rows] == ["'-dash.example", "x.example"]
    assert [row["decision"] for row in rows] == ["'=HYPERLINK(1)", "'@a\",'b"]
    assert raw.endswith("\r\n")


def test_no_text_of_the_authority_can_add_a_line() -> None:
    evil = accepted([rule("a.example")])
    manifest = evil.manifest.model_copy(update={"authority_name": "x\naddress=/bank.example/#\r\u2028y"})
    made = type(evil)(manifest, evil.rules)
    for name in formats():
        lines = "".join(render(name, made, NOW)).splitlines()
        assert not any(line.startswith("address=/bank") for line in lines)


def test_rules_outlive_the_hour_before_their_expiry() -> None:
    assert body("plain", rule("a.example", expires=PASSED + 1)) == ["a.example"]
    assert LATER > PASSED
