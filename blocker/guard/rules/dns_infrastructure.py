"""Servers of the root and of top-level domains (`data/dns-infrastructure.txt`), and `nic.TLD`.

`nic` under a top-level domain is the registry's own: ICANN reserves it (Registry Agreement, Specification 5,
section 3), and most registries run their servers there. A `nic` under a suffix of two labels is anybody's.
"""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject, listed_name, listed_range
from blocker.guard.verdict import Severity
from feeds.language import N_, _

ID = "guard.dns-infrastructure"
_LISTS = mask(ID)


def check(subject: Subject) -> str | None:
    name = subject.name
    if name is not None and "nic." in name:
        registry = ".".join(name.rsplit(".", 2)[-2:])
        if registry.startswith("nic."):
            return _("{item} is reserved for the registry of the top-level domain").format(item=registry)
    return listed_name(subject, _LISTS) or listed_range(subject, ID)


RULE = GuardRule(
    ID,
    Severity.NEVER,
    N_("a server of the root or of a top-level domain: all names below would stop resolving"),
    check,
)
