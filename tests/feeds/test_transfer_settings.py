"""The settings of zone transfers: what a file may say, and that each of its faults is told once, with its place."""

import pytest

from feeds.name import DomainName
from feeds.rule import Category
from feeds.transfer.settings import Zone

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
