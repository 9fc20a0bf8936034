"""The overblocking that really happened, as it was given; each must be refused, with its reason."""

import json
from pathlib import Path

import pytest

from blocker.guard import Guard, Severity, max_hours
from blocker.guard.index.sources import MISP, folder
from feeds.prefix import Prefix
from tests.blocker.guard_case import gravest, guard, guard_cache, judged, target

__all__ = ["guard", "guard_cache"]


def test_denmark_2012_google_com_is_never_listed_among_thousands(guard: Guard) -> None:
    found = judged(guard, "google.com")
    assert found["guard.popular-top"].severity is Severity.CONFIRM
    assert "Top 1000" in found["guard.popular-top"].evidence
    assert gravest(guard, "google.com") is Severity.NEVER, "www.google.com is how devices test their network"


def test_australia_2013_one_address_of_shared_hosting_needs_a_second_officer(guard: Guard) -> None:
    path = folder(MISP) / "data" / "misp-warninglists" / "lists" / "ovh-cluster" / "list.json"
    address = json.loads(path.read_text())["list"][0]
    found = judged(guard, address)["guard.shared-address"]
    assert found.severity is Severity.CONFIRM
    assert "Ovh Cluster" in found.evidence
    assert str(Prefix.parse(address)[0]) in found.evidence
    assert max_hours([found]) == 72


# Cloudflare addresses of the kind blocked in Austria in August 2022, and in Spain since 2025.
@pytest.mark.parametrize("address", ["188.114.96.1", "188.114.97.3", "104.16.3.4", "172.67.1.1", "2606:4700:3030::1"])
def test_austria_2022_and_spain_2026_cloudflare_addresses_need_a_second_officer(guard: Guard, address: str) -> None:
    found = judged(guard, address)["guard.shared-address"]
    assert found.severity is Severity.CONFIRM
    assert "Cloudflare" in found.evidence
    assert "2025-12-23" in found.evidence, "the list says its date"
    assert max_hours(guard.judge(target(address))) == 72


def test_spain_2026_104_16_3_4_is_found_in_the_prefix_that_covers_it(guard: Guard) -> None:
    assert "104.16.0.0/13" in judged(guard, "104.16.3.4")["guard.shared-address"].evidence


def test_spain_2026_a_prefix_that_reaches_into_the_network_is_found_too(guard: Guard) -> None:
    assert "guard.shared-address" in judged(guard, "104.16.3.0/24")


def test_italy_2024_googles_download_host_needs_a_second_officer(guard: Guard) -> None:
    found = judged(guard, "drive.usercontent.google.com")
    assert gravest(guard, "drive.usercontent.google.com") is Severity.CONFIRM
    assert "drive.usercontent.google.com" in found["guard.popular-top"].evidence


def test_a_criminal_name_passes_unhindered(guard: Guard) -> None:
    assert guard.judge(target("nhacai-khong-ai-biet-7c1.com")) == ()


def test_the_real_index_stays_small_on_disk(guard: Guard, guard_cache: Path) -> None:
    guard.judge(target("a.vn"))
    (index,) = guard_cache.glob("guard-*.sqlite")
    assert index.stat().st_size < 100_000_000
