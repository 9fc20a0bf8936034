"""Private addresses in answers from outside: taken out, so that no foreign name leads a browser into a home network.

A page may call whatever its own name points to; one whose name is made to point to 192.168.1.1 calls the reader's
router (DNS rebinding). Names that the operator allows, and `localhost` (RFC 6761 section 6.3), may be private. The
name that was asked for decides, not the one at the end of its aliases: that is the name the browser trusts. Pure.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from feeds.message import Record, Response
from feeds.message.words import AAAA, HTTPS, SVCB, A

_LOCALHOST: Final = b"\x09localhost\0"
# "This" network, RFC 1918, loopback, link-local. 100.64.0.0/10 is left: operators' own services live there.
_IPV4: Final = tuple(
    (int(net.network_address), int(net.broadcast_address))
    for net in map(
        IPv4Network, ("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
    )
)
_IPV6: Final = tuple(
    (int(net.network_address), int(net.broadcast_address))
    for net in map(IPv6Network, ("::/127", "fc00::/7", "fe80::/10"))
)
# ::ffff:0:0/96 (RFC 4291 section 2.5.5.2) and 64:ff9b::/96 (RFC 6052): what stands in the last 32 bits counts.
_EMBEDDING: Final = frozenset({0xFFFF, 0x0064FF9B << 64})
_BINDINGS: Final = (SVCB, HTTPS)
_JUDGED: Final = frozenset({A, AAAA, SVCB, HTTPS})


class PrivateAnswers:
    """`allowed` are lower-cased wire names; each stands for itself and all below it, the root for every name."""

    def __init__(self, allowed: Iterable[bytes] = ()) -> None:
        self._allowed = frozenset({_LOCALHOST, *allowed})

    def stripped(self, response: Response) -> tuple[Response, int] | None:
        """The response without its private addresses, and the least TTL of what went; None where nothing did."""
        if response.qtype not in _JUDGED:
            return None
        gone = [record for record in response.answers if _is_private(record)]
        hidden = any(_private_hints(binding.ipv4, binding.ipv6) for binding in response.bindings)
        if hidden:
            gone += [record for record in response.answers if record.rtype in _BINDINGS]
        if not gone or any(name in self._allowed for name in _ancestry(response.key)):
            return None
        kept = tuple(record for record in response.answers if record not in gone)
        # The authority section spoke of an answer that is no longer the one given.
        clean = response._replace(answers=kept, authority=(), bindings=() if hidden else response.bindings)
        return clean, min(record.ttl for record in gone)


def _is_private(record: Record) -> bool:
    if record.rtype == A:
        return is_private_ipv4(int.from_bytes(record.rdata))
    return record.rtype == AAAA and is_private_ipv6(int.from_bytes(record.rdata))


def _private_hints(ipv4: Iterable[int], ipv6: Iterable[int]) -> bool:
    return any(map(is_private_ipv4, ipv4)) or any(map(is_private_ipv6, ipv6))


def is_private_ipv4(address: int) -> bool:
    """Does it lead back to this machine, this link or a private network?"""
    return any(first <= address <= last for first, last in _IPV4)


def is_private_ipv6(address: int) -> bool:
    """Likewise; an address that stands for an IPv4 address is judged as that one."""
    if address >> 32 in _EMBEDDING:
        return is_private_ipv4(address & 0xFFFFFFFF)
    return any(first <= address <= last for first, last in _IPV6)


def _ancestry(name: bytes) -> Iterator[bytes]:
    """The name and all above it, the root last."""
    while len(name) > 1:
        yield name
        name = name[name[0] + 1 :]
    yield name
