"""One way to aggregate a file of prefixes, as a process of its own: python -m tests.bench.aggregate WAY FILE."""

import sys
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any


def ours(path: Path) -> Iterable[str]:
    """With the project's own reading, merging and writing in bulk."""
    from feeds.ipfilter.bulk import listed

    text = path.read_bytes()
    return listed(text, _bits(text)).texts()


def ours_python(path: Path) -> Iterable[str]:
    """The same without the compiled extension."""
    from feeds.ipfilter.bulk import listed
    from feeds.ipfilter.bulk_python import Listed

    text = path.read_bytes()
    return listed(text, _bits(text), Listed).texts()


def with_netaddr(path: Path) -> Iterable[str]:
    import netaddr

    with path.open() as file:
        return map(str, netaddr.cidr_merge(map(str.rstrip, file)))


def with_ipaddress(path: Path) -> Iterable[str]:
    import ipaddress

    with path.open() as file:
        networks: Iterable[Any] = map(ipaddress.ip_network, map(str.rstrip, file))
        return map(str, list(ipaddress.collapse_addresses(networks)))


def _bits(text: bytes) -> int:
    return 128 if b":" in text[:64] else 32


WAYS: dict[str, Callable[[Path], Iterable[str]]] = {
    "ours": ours,
    "ours without its extension": ours_python,
    "netaddr": with_netaddr,
    "ipaddress": with_ipaddress,
}


if __name__ == "__main__":
    found = iter(WAYS[sys.argv[1]](Path(sys.argv[2])))
    while block := list(islice(found, 1 << 15)):
        sys.stdout.write("\n".join(block) + "\n")
