"""Reading a plain list of names and addresses, for trials without a feed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from feeds.errors import Failure, Problem
from feeds.floor import FLOOR_WORDS, crossed
from feeds.language import _
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import NameTarget, Scope, Target

_ADDRESS = re.compile(r"(?:\d+\.){3}\d+(?:[/-]|\Z)|[0-9a-fA-F]{0,4}:[0-9a-fA-F]{0,4}:")


@dataclass(frozen=True, slots=True)
class PlainList:
    """A plain list as read: what can be blocked, and every line that cannot, with its reason."""

    targets: tuple[Target, ...]
    refused: tuple[Problem, ...]


def read_plain_list(lines: Iterable[str], training: bool = False) -> PlainList:
    """Names (with all below them), addresses and prefixes, one a line; `#` begins a comment. The floor applies."""
    targets: list[Target] = []
    refused: list[Problem] = []
    subtree = Scope.SUBTREE
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            read = _read_targets(text, subtree)
        except Failure as error:
            refused.append(Problem(_("line {n}").format(n=number), getattr(error, "rule", "input"), error.what))
            continue
        for target in read:
            limit = crossed(target, training)
            if limit is None:
                targets.append(target)
            else:
                what = f"{target}: {_(FLOOR_WORDS[limit])}"
                refused.append(Problem(_("line {n}").format(n=number), limit, what))
    return PlainList(tuple(targets), tuple(refused))


def _read_targets(text: str, scope: Scope) -> tuple[Target, ...]:
    if _ADDRESS.match(text):
        return Prefix.parse(text)
    return (NameTarget(DomainName.parse(text).name, scope),)
