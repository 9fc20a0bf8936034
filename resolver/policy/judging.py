"""Which names and addresses of an answer count, in which order."""

from collections.abc import Iterator
from typing import Final

from feeds.message import Response
from feeds.message.words import AAAA, CNAME, DNAME, HTTPS, IN, MAX_NAME_BYTES, SVCB, A

# More hops than any resolver follows (BIND 16, Unbound 11).
MAX_CHAIN: Final = 32
_EMBEDDING: Final = frozenset({0xFFFF, 0x0064FF9B << 64})


def chain(response: Response) -> Iterator[bytes]:
    """The names that the question's name leads to, in order, without itself. Each is named once (no loops)."""
    hops: dict[bytes, bytes] = {}
    trees: dict[bytes, bytes] = {}
    for record in response.answers:
        if record.rtype == CNAME:
            hops.setdefault(record.owner, record.rdata.lower())
        elif record.rtype == DNAME:
            trees.setdefault(record.owner, record.rdata.lower())
    if not hops and not trees:
        return
    name, seen = response.key, {response.key}
    for _hop in range(MAX_CHAIN):
        following = hops.get(name) or (_redirected(name, trees) if trees else None)
        if following is None or following in seen:
            break
        yield following
        seen.add(following)
        name = following
    # What hangs on no chain is judged as well: a stub that takes any CNAME must not get past.
    for target in hops.values():
        if target not in seen:
            seen.add(target)
            yield target


def _redirected(name: bytes, trees: dict[bytes, bytes]) -> bytes | None:
    """The name that a DNAME above `name` makes of it (RFC 6672 section 2.2)."""
    pos = name[0] + 1
    while pos < len(name):
        target = trees.get(name[pos:])
        if target is not None:
            made = name[:pos] + target
            return made if len(made) <= MAX_NAME_BYTES else None
        pos += name[pos] + 1
    return None


def addresses(response: Response) -> Iterator[tuple[int, int]]:
    for record in response.answers:
        if record.rclass == IN:
            if record.rtype == A:
                yield 4, int.from_bytes(record.rdata)
            elif record.rtype == AAAA:
                yield from _with_embedded(int.from_bytes(record.rdata))
    for binding in response.bindings:
        for address in binding.ipv4:
            yield 4, address
        for address in binding.ipv6:
            yield from _with_embedded(address)
    if response.qtype in (SVCB, HTTPS):
        for record in response.additional:
            if record.rclass == IN and record.rtype == A:
                yield 4, int.from_bytes(record.rdata)
            elif record.rclass == IN and record.rtype == AAAA:
                yield from _with_embedded(int.from_bytes(record.rdata))


def _with_embedded(address: int) -> Iterator[tuple[int, int]]:
    """An IPv6 address, and the IPv4 address that it stands for where it is mapped (RFC 4291) or NAT64 (RFC 6052)."""
    yield 6, address
    if address >> 32 in _EMBEDDING:
        yield 4, address & 0xFFFFFFFF
