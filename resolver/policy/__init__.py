"""Rules compiled for lookup: a name or an address in, a Hit or nothing out; pure.

Theory. Precedence is RPZ's (draft-vixie-dnsop-dns-rpz section 5): the earliest name of the CNAME chain first, then the
order of the layers, then who asks, then the exact name before the nearest ancestor's subtree, names before addresses,
the longest prefix, the lowest address. The query's own name is judged before anything is resolved, and what it says is
final: a name that is let through is not looked at again when its addresses come. So an address in an answer never
comes before the name that was asked for, not even where its layer does: to know it, the name servers of a blocked name
would have to be asked. A rule that has lapsed is skipped at the lookup itself, and the next that fits decides, so no
timer stands between an expiry and its effect.

    layer     Source, Ground, Hit; Rules: one list compiled, as a Layer or as a `resolver.image`
    judging   which names and addresses of an answer count, in which order
    plain     reading a plain list
"""

from collections.abc import Iterable
from typing import Final

from feeds.manifest import Canary
from feeds.message import Response
from feeds.rule import Rule, Target
from resolver.policy.judging import addresses, chain
from resolver.policy.layer import (
    NEVER,
    WILDCARD,
    AnyTarget,
    Bound,
    ClientPrefix,
    Ground,
    Hit,
    Layer,
    LocalRecord,
    Rules,
    Source,
    WireName,
    client_address,
    numbered,
    records_text,
)
from resolver.policy.plain import PlainList, read_plain_list

__all__ = [
    "EMPTY",
    "NEVER",
    "WILDCARD",
    "AnyTarget",
    "Bound",
    "ClientPrefix",
    "Ground",
    "Hit",
    "Layer",
    "LocalRecord",
    "PlainList",
    "Policy",
    "Rules",
    "Source",
    "WireName",
    "client_address",
    "numbered",
    "read_plain_list",
    "records_text",
]


class Policy:
    """Immutable. A query is judged by one Policy from its first lookup to its answer."""

    __slots__ = ("_finders", "has_clients", "has_prefixes", "layers")

    def __init__(self, layers: Iterable[Rules]) -> None:
        self.layers = tuple(layers)
        self.has_prefixes = any(layer.has_prefixes for layer in self.layers)
        self.has_clients = any(layer.has_clients for layer in self.layers)
        self._finders = tuple(layer.by_name for layer in self.layers if layer.has_names)

    @classmethod
    def compile(
        cls,
        rules: Iterable[Rule],
        *,
        source: Source,
        canaries: Iterable[Canary] = (),
        exceptions: Iterable[Target] = (),
    ) -> "Policy":
        """The operator's exceptions first, then the feed's rules. Lapsed rules are compiled, too, and never match."""
        return cls((Layer.of_exceptions(exceptions), Layer.compile(rules, source=source, canaries=canaries)))

    def __len__(self) -> int:
        """How many rules all layers hold."""
        return sum(map(len, self.layers))

    def by_name(self, key: bytes, hour: int) -> Hit | None:
        """`key` is a lower-cased wire name; `hour` is now in whole hours since 1970-01-01T00Z (`feeds.rule.hours`)."""
        for find in self._finders:
            hit = find(key, hour)
            if hit is not None:
                return hit
        return None

    def by_query(self, key: bytes, version: int, client: int, hour: int) -> Hit | None:
        """As `by_name`, where who asks counts, too: in each layer before the name (section 5.4 of the draft)."""
        for layer in self.layers:
            hit = (layer.has_clients and layer.by_client(version, client, hour)) or layer.by_name(key, hour)
            if hit is not None:
                return hit
        return None

    def by_address(self, version: int, address: int, hour: int) -> Hit | None:
        """The longest prefix in force that holds the address, of the first layer that has one."""
        return self.by_addresses([(version, address)], hour)

    def by_addresses(self, addresses: Iterable[tuple[int, int]], hour: int) -> Hit | None:
        """The first layer's best match over all (version, address)."""
        held = list(addresses)
        for layer in self.layers:
            hit = layer.by_addresses(held, hour) if layer.has_prefixes else None
            if hit is not None:
                return hit
        return None

    def judge_answer(self, response: Response, hour: int) -> Hit | None:
        """Every CNAME and DNAME hop, SVCB/HTTPS targets and hints, then the addresses.

        Not for a query whose name got a Hit already: passthru there ends the matter. A passthru found here ends it,
        too. Addresses count wherever in the answer section they stand: a client may use any of them.
        """
        for name in chain(response):
            hit = self.by_name(name, hour)
            if hit is not None:
                return hit
        for binding in response.bindings:
            hit = self.by_name(binding.target, hour)
            if hit is not None:
                return hit
        if not self.has_prefixes:
            return None
        return self.by_addresses(addresses(response), hour)


EMPTY: Final = Policy(())
