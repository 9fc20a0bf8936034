"""Forty consecutive versions of a real list, published one by one and pulled one by one."""

import gzip
from collections.abc import Iterator
from pathlib import Path

from feeds.errors import Rejected
from feeds.name import DomainName
from feeds.rule import NameTarget, Rule, Scope
from tests.rules import rule


def versions(folder: Path) -> Iterator[list[str]]:
    """The names of each version, oldest first."""
    names: set[str] = set()
    for number in range(1, 41):
        full = folder / f"{number:02}.full.txt.gz"
        if full.exists():
            names = set(gzip.decompress(full.read_bytes()).decode().splitlines())
        else:
            for line in gzip.decompress((folder / f"{number:02}.diff.gz").read_bytes()).decode().splitlines():
                (names.add if line[0] == "+" else names.discard)(line[1:])
        yield sorted(name for name in names if name)


def rules_of(names: list[str], numbers: dict[str, int]) -> list[Rule]:
    """A rule a name; a name keeps its entry number over all versions."""
    out: dict[DomainName, Rule] = {}
    for text in names:
        try:
            name = DomainName.parse(text).name
        except Rejected:
            continue
        number = numbers.setdefault(name.text, len(numbers) + 1)
        out[name] = rule("x.test", number, target=NameTarget(name, Scope.SUBTREE))
    return list(out.values())
