"""Which rules speak of an address, and which one decides. Pure.

A dictionary for each prefix length that occurs: a question costs one look per length, at most 33 in IPv4 and 129 in
IPv6, whatever the number of rules. The order of weight is that of `feeds.ipfilter.wanted`, which a law holds it to.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from feeds.ipfilter.filter import BITS
from feeds.ipfilter.wanted import weight
from feeds.prefix import Prefix
from feeds.rule import Rule


@dataclass(frozen=True, slots=True)
class Match:
    """The rules whose prefixes hold a whole target, the one that decides first."""

    rules: tuple[Rule, ...]

    def deciding(self, protocol: str = "", port: int | None = None) -> Rule | None:
        """The rule that decides for packets of `protocol` to `port`; without them, for the address as a whole."""
        for rule in self.rules:
            limits = rule.limits
            if not limits.protocol:
                return rule
            if limits.protocol == protocol and (
                not limits.ports or (port is not None and any(low <= port <= high for low, high in limits.ports))
            ):
                return rule
        return None


class Lookup:
    """Prefix rules, ready to be asked. Rules for names are left out."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._held: dict[int, dict[int, dict[int, list[Rule]]]] = {version: {} for version in BITS}
        for rule in rules:
            if isinstance(rule.target, Prefix):
                prefix = rule.target
                same_length = self._held[prefix.version].setdefault(prefix.length, {})
                same_length.setdefault(prefix.network, []).append(rule)

    def match(self, target: Prefix) -> Match:
        """Every rule whose prefix holds all of `target`."""
        bits = BITS[target.version]
        found: list[Rule] = []
        for length, networks in self._held[target.version].items():
            if length <= target.length:
                found += networks.get(target.network >> (bits - length) << (bits - length), ())
        return Match(tuple(sorted(found, key=weight, reverse=True)))

    def within(self, target: Prefix) -> tuple[Rule, ...]:
        """Every rule for a narrower part of `target`, in rising order."""
        found = [
            rule
            for length, networks in self._held[target.version].items()
            if length > target.length
            for network, rules in networks.items()
            if target.network <= network <= target.last
            for rule in rules
        ]
        return tuple(sorted(found, key=lambda rule: rule.key))
