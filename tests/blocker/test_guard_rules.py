"""Each rule of the guard finds what it is for, and lets its neighbours pass."""

import ast
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocker.guard import RULES, Guard, Severity, max_hours
from blocker.guard.rules.tone_mark import other_spelling
from blocker.guard.skeleton import skeleton
from feeds.floor import FLOOR_WORDS
from feeds.name import DomainName
from feeds.rule import NameTarget, Scope, Target
from tests.blocker.guard_case import gravest, guard, guard_cache, judged, target

__all__ = ["guard", "guard_cache"]
ROOT = Path(__file__).parent.parent.parent

FOUND = [
    ("vn", "floor.single-label"),
    ("com.vn", "floor.icann-suffix"),
    ("hanoi.vn", "floor.icann-suffix"),
    ("edu.vn", "floor.icann-suffix"),
    ("evil.test", "floor.special-use"),
    ("10.1.2.3", "floor.special-purpose"),
    ("9.0.0.0/16", "floor.too-wide"),
    ("a.root-servers.net", "guard.dns-infrastructure"),
    ("198.41.0.4", "guard.dns-infrastructure"),
    ("2001:503:ba3e::2:30", "guard.dns-infrastructure"),
    ("a.dns-servers.vn", "guard.dns-infrastructure"),
    ("203.119.73.0/24", "guard.dns-infrastructure"),  # covers b.dns-servers.vn
    ("a.nic.de", "guard.dns-infrastructure"),
    ("nic.shop", "guard.dns-infrastructure"),
    ("1.1.1.1", "guard.public-resolver"),
    ("8.8.8.8", "guard.public-resolver"),
    ("8.8.4.0/24", "guard.public-resolver"),
    ("2001:4860:4860::/48", "guard.public-resolver"),
    ("dns.google", "guard.public-resolver"),
    ("0a1b2c.dns.nextdns.io", "guard.public-resolver"),
    ("203.162.4.191", "guard.public-resolver"),
    ("gov.vn", "guard.vietnam"),
    ("bocongan.gov.vn", "guard.vietnam"),
    ("www.hanoi.gov.vn", "guard.vietnam"),
    ("napas.com.vn", "guard.vietnam"),
    ("www.vietcombank.com.vn", "guard.vietnam"),
    ("online.mbbank.com.vn", "guard.vietnam"),
    ("www.zalo.me", "guard.vietnam"),
    ("vnnic.vn", "guard.vietnam"),
    ("captive.apple.com", "guard.captive-portal"),
    ("gstatic.com", "guard.captive-portal"),  # connectivitycheck.gstatic.com lies below
    ("ocsp.digicert.com", "guard.certificate-status"),
    ("digicert.com", "guard.certificate-status"),
    ("r10.o.lencr.org", "guard.certificate-status"),
    ("github.io", "guard.public-suffix"),
    ("blogspot.com", "guard.public-suffix"),
    ("anything.compute.amazonaws.com", "guard.public-suffix"),  # by a wildcard
    ("bit.ly", "guard.infrastructure"),
    ("duckdns.org", "guard.infrastructure"),
    ("linktr.ee", "guard.infrastructure"),
    ("hsbc.com.vn", "guard.institution"),
    ("facebook.com", "guard.popular-top"),
    ("www.wikipedia.org", "guard.popular-top"),
    ("amazonaws.com", "guard.popular-parent"),
    ("104.16.3.4", "guard.shared-address"),
    ("bet365.com", "guard.popular-top"),
    ("0033win.com", "guard.popular"),
    ("evil-shop.weebly.com", "guard.below-popular"),
    ("faceb00k.com", "guard.twin"),
    ("vietcornbank.com.vn", "guard.twin"),
    ("dangnhap.vïetcombank.com.vn", "guard.twin"),
    ("fаcebook.com", "guard.twin"),  # Cyrillic а
    ("sedoparking.com", "guard.parked"),
    ("103.224.182.1", "guard.parked"),
]
PASSED = [
    ("evil.vn", "floor.icann-suffix"),
    ("nic.evil.vn", "guard.dns-infrastructure"),
    ("nic.com.vn", "guard.dns-infrastructure"),
    ("8.8.9.9", "guard.public-resolver"),
    ("notgov.vn", "guard.vietnam"),
    ("zalo.me.evil.top", "guard.vietnam"),
    ("vietcombank.com.vn.evil.top", "guard.vietnam"),
    ("evil.github.io", "guard.public-suffix"),
    ("evil.duckdns.org", "guard.infrastructure"),
    ("evil.github.io", "guard.below-popular"),  # its own owner's name
    ("=com-tran.evil.top", "guard.popular-parent"),
    ("facebook.com", "guard.twin"),
    ("103.99.0.1", "guard.shared-address"),
]


@pytest.mark.parametrize(("text", "rule"), FOUND)
def test_the_rule_finds_what_it_is_for(guard: Guard, text: str, rule: str) -> None:
    assert rule in judged(guard, text)


@pytest.mark.parametrize(("text", "rule"), PASSED)
def test_the_rule_lets_its_neighbours_pass(guard: Guard, text: str, rule: str) -> None:
    assert rule not in judged(guard, text)


def test_every_rule_is_proven_by_a_case_here() -> None:
    proven = {rule for _text, rule in FOUND}
    apart = {
        "floor.infrastructure", "floor.unallocated", "floor.training", "guard.dropped-path", "guard.tone-mark",
        "guard.sinkhole", "guard.datacentre", "guard.listed",
    }  # fmt: skip
    assert {rule.id for rule in RULES} == proven | apart


@pytest.mark.parametrize("text", ["ip6.arpa.evil.arpa", "x.gtld-servers.net", "4000::/48"])
def test_the_floor_is_crossed_by_the_dns_itself_and_by_unallocated_space(guard: Guard, text: str) -> None:
    assert gravest(guard, text) is Severity.NEVER


def test_all_reasons_are_told_at_once_gravest_first(guard: Guard) -> None:
    found = judged(guard, "www.zalo.me")
    assert next(iter(found)) == "guard.vietnam"
    assert "guard.popular-top" in found
    assert gravest(guard, "www.zalo.me") is Severity.NEVER


def test_evidence_names_the_list_its_date_and_the_matching_item(guard: Guard) -> None:
    evidence = judged(guard, "login.techcombank.com")["guard.vietnam"].evidence
    assert "vietnam.txt" in evidence
    assert "2026-" in evidence
    assert "techcombank.com, which is above it" in evidence


def test_a_parent_is_refused_for_the_protected_name_below_it_only_with_its_subtree(guard: Guard) -> None:
    exact = NameTarget(DomainName("digicert.com"), Scope.EXACT)
    assert "guard.certificate-status" not in {f.rule for f in guard.judge(exact)}
    assert "guard.certificate-status" in judged(guard, "digicert.com")


def test_the_best_tier_below_is_told(guard: Guard) -> None:
    assert "Cisco" in judged(guard, "usercontent.google.com")["guard.popular-parent"].evidence


def test_a_dropped_path_asks_whether_the_whole_host_is_meant(guard: Guard) -> None:
    (finding,) = guard.judge(target("trang-lua-dao-x1.vn"), path_dropped=True)
    assert (finding.rule, finding.severity) == ("guard.dropped-path", Severity.CONFIRM)


def test_what_is_listed_already_is_told_with_its_decision(guard: Guard) -> None:
    def listed(asked: Target) -> str | None:
        return "12/QĐ-STTTT" if str(asked) == "trang-lua-dao-x1.vn" else None

    (finding,) = guard.judge(target("trang-lua-dao-x1.vn"), listed=listed)
    assert (finding.rule, finding.severity) == ("guard.listed", Severity.WARN)
    assert "12/QĐ-STTTT" in finding.evidence


@pytest.mark.parametrize(
    ("one", "other"),
    [("hoà.vn", "hòa.vn"), ("khoẻ.com", "khỏe.com"), ("thuý-nga.vn", "thúy-nga.vn"), ("xoè.hoá.vn", "xòe.hóa.vn")],
)
def test_tone_marks_can_move_and_move_back(one: str, other: str) -> None:
    a, b = DomainName.parse(one).name.text, DomainName.parse(other).name.text
    assert other_spelling(a) == b
    assert other_spelling(b) == a


@pytest.mark.parametrize("fixed", ["hoàn.vn", "quý.vn", "toán.vn", "nghề.vn", "việt.vn", "hoa.vn", "quỳnh.vn"])
def test_tone_marks_with_only_one_place_stay(fixed: str) -> None:
    assert other_spelling(DomainName.parse(fixed).name.text) is None


def test_the_other_spelling_is_shown_and_looked_up(guard: Guard) -> None:
    twin = DomainName.parse("cờbạchoà.vn").name.text
    other = DomainName.parse("cờbạchòa.vn").name.text

    def listed(asked: Target) -> str | None:
        return "7/QĐ" if str(asked) == other else None

    found = {f.rule: f for f in guard.judge(NameTarget(DomainName(twin), Scope.SUBTREE), listed=listed)}
    assert "cờbạchòa.vn" in found["guard.tone-mark"].evidence
    assert "listed under 7/QĐ" in found["guard.tone-mark"].evidence


@pytest.mark.parametrize(
    ("name", "seen"), [("g00gle.com", "google.com"), ("xn--80ak6aa92e.com", "apple.com"), ("vlet.vn", "vlet.vn")]
)
def test_skeletons_of_lookalikes_agree(name: str, seen: str) -> None:
    assert skeleton(name) == skeleton(seen)


def test_sinkholes_and_data_centres_are_no_more_than_a_warning(guard: Guard) -> None:
    assert judged(guard, "106.187.96.49")["guard.sinkhole"].severity is Severity.WARN
    assert judged(guard, "1.116.10.227")["guard.datacentre"].severity is Severity.WARN


def test_only_shared_addresses_are_limited_in_time(guard: Guard) -> None:
    assert max_hours(guard.judge(target("bet365.com"))) is None
    assert {rule.id: rule.max_hours for rule in RULES if rule.max_hours} == {"guard.shared-address": 72}


def test_a_training_register_swaps_the_rule_on_reserved_names_and_needs_no_data(tmp_path: Path) -> None:
    training = Guard.load(True, tmp_path / "never-made")
    assert training.judge(target("evil.example")) == ()
    assert training.judge(target("192.0.2.66")) == ()
    assert [f.rule for f in training.judge(target("evil.example"), path_dropped=True)] == ["guard.dropped-path"]
    assert not (tmp_path / "never-made").exists()
    assert gravest(training, "example") is Severity.NEVER
    assert "floor.training" in judged(training, "10.1.2.3")


def test_a_training_register_keeps_all_other_rules(guard_cache: Path) -> None:
    training = Guard.load(True, guard_cache)
    found = judged(training, "www.zalo.me")
    assert {"floor.training", "guard.vietnam"} <= found.keys()


def test_the_age_of_the_data_is_told(guard: Guard) -> None:
    assert guard.data_age(datetime(2026, 1, 2, tzinfo=UTC)) >= timedelta(days=1)
    tranco = next(x for x in guard.sources() if x.key == "tranco")
    assert tranco.day is not None
    assert tranco.items == 1_000_000
    assert {x.rule for x in guard.sources()} <= {rule.id for rule in RULES}


def test_one_file_a_rule_and_each_id_once() -> None:
    files = {p.stem for p in (ROOT / "blocker/guard/rules").glob("*.py")} - {"__init__"}
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    own = {i.removeprefix("guard.").replace("-", "_") for i in ids if i.startswith("guard.")}
    assert files == own | {"floor"}
    assert {i for i in ids if i.startswith("floor.")} == FLOOR_WORDS.keys()


def test_the_page_on_the_guard_shows_every_rule_as_it_is() -> None:
    lines = (ROOT / "docs/guard.md").read_text("utf-8").splitlines()
    shown = [line for line in lines if line.startswith(("| `floor.", "| `guard."))]
    hours = {rule.id: f"{rule.max_hours} h" if rule.max_hours else "" for rule in RULES}
    assert shown == [f"| `{r.id}` | {r.severity} | {r.sentence} | {hours[r.id]} |" for r in RULES]


def test_hand_lists_hold_canonical_items_once_and_say_source_and_date() -> None:
    for path in sorted((ROOT / "blocker/guard/data").glob("*.txt")):
        text = path.read_text("utf-8")
        assert "Source: " in text, path
        assert "Date: 2" in text, path
        items = [item for line in text.splitlines() if (item := line.partition("#")[0].strip())]
        assert len(items) == len(set(items)), [i for i in items if items.count(i) > 1]
        for item in items:
            shown = str(target(item)) if "." in item or ":" in item else item
            whole = (
                "" if "/" in item or (":" not in item and not item[-1].isdigit()) else "/128" if ":" in item else "/32"
            )
            assert shown == item + whole, path


def test_no_rule_reaches_for_clock_or_network() -> None:
    for path in (ROOT / "blocker/guard").rglob("*.py"):
        names = {
            a.name.split(".")[0]
            for n in ast.walk(ast.parse(path.read_text()))
            if isinstance(n, ast.Import)
            for a in n.names
        }
        assert not names & {"socket", "urllib", "requests", "time"}, path
        assert "now(" not in path.read_text().replace("_now(", ""), path
