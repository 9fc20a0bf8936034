"""`blocker guard` answers people and programs, and its exit code can be relied on."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from blocker.cli.guard import guard as command
from feeds.errors import Refused, Rejected
from tests.blocker.guard_case import guard_cache

__all__ = ["guard_cache"]


@pytest.fixture
def run(guard_cache: Path) -> Any:
    def call(*args: str) -> Result:
        place = [] if args[0] == "rules" else ["--cache", str(guard_cache)]
        return CliRunner().invoke(command, [*args, *place])

    return call


def test_a_target_is_shown_with_severity_rule_sentence_and_evidence(run: Any) -> None:
    result = run("check", "104.16.3.4", "nhacai-khong-ai-biet-7c1.com")
    assert result.exit_code == 0
    for word in ("confirm", "guard.shared-address", "Cloudflare", "104.16.0.0/13", "nothing known against listing it"):
        assert word in result.stdout


def test_never_ends_in_refused_after_the_whole_answer(run: Any) -> None:
    result = run("check", "--json", "bet365.com", "www.zalo.me")
    assert isinstance(result.exception, Refused)
    assert result.exception.exit_code == 6
    first, second = json.loads(result.stdout)
    assert (first["target"], first["severity"]) == ("bet365.com", "confirm")
    assert (second["target"], second["severity"]) == ("www.zalo.me", "never")
    assert second["findings"][0].keys() == {"rule", "severity", "sentence", "evidence"}


def test_a_link_is_judged_as_the_host_it_would_block(run: Any) -> None:
    (one,) = json.loads(run("check", "--json", "https://trang-lua-dao-x1.vn/dang-nhap").stdout)
    assert one["target"] == "trang-lua-dao-x1.vn"
    assert [f["rule"] for f in one["findings"]] == ["guard.dropped-path"]


def test_shared_addresses_tell_how_long_they_may_be_listed(run: Any) -> None:
    (one,) = json.loads(run("check", "--json", "104.16.3.4").stdout)
    assert one["max_hours"] == 72


def test_all_targets_that_cannot_be_read_are_named_at_once(run: Any) -> None:
    result = run("check", "a b", "300.1.1.1", "evil.vn")
    assert isinstance(result.exception, Rejected)
    assert [p.rule for p in result.exception.problems] == ["name.character", "prefix.form"]
    assert result.stdout == ""


def test_a_list_is_summed_up_by_rule_with_the_lines_that_cannot_be_read(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "list.txt.gz"
    path.write_bytes(gzip.compress(b"bet365.com\nwww.zalo.me\nevil-khong-ai-biet.vn\nnot a name\n104.16.3.4\n"))
    result = run("check", "--from", str(path), "--json")
    assert isinstance(result.exception, Refused)
    data = json.loads(result.stdout)
    assert (data["targets"], data["clean"]) == (4, 1)
    assert data["targets_by_gravest"] == {"never": 1, "confirm": 2, "warn": 0}
    assert {r["rule"]: r["count"] for r in data["rules"]}["guard.vietnam"] == 1
    assert [p["place"] for p in data["problems"]] == ["row 4"]


def test_either_targets_or_a_list(run: Any, tmp_path: Path) -> None:
    assert run("check").exit_code == 2
    (tmp_path / "x").write_text("a.vn")
    assert run("check", "a.vn", "--from", str(tmp_path / "x")).exit_code == 2


def test_sources_say_where_the_data_come_from_and_how_old_they_are(run: Any) -> None:
    data = json.loads(run("sources", "--json").stdout)
    assert data["age_days"] > 0
    tranco = next(x for x in data["lists"] if x["list"] == "tranco")
    assert tranco["origin"] == "pymispwarninglists"
    assert tranco["date"] == "2025-01-15"
    assert tranco["age_days"] > data["age_days"]
    assert "tranco" in run("sources").stdout


def test_the_index_can_be_built_ahead(run: Any, guard_cache: Path) -> None:
    data = json.loads(run("index", "--json").stdout)
    assert Path(data["path"]).parent == guard_cache
    assert data["bytes"] > 1_000_000


def test_the_rules_are_listed(run: Any) -> None:
    rules = {r["rule"]: r for r in json.loads(run("rules", "--json").stdout)}
    assert rules["guard.vietnam"]["severity"] == "never"
    assert rules["guard.shared-address"]["max_hours"] == 72
