"""One way to aggregate a file of prefixes, as a process of its own: python -m tests.bench.aggregate WAY FILE."""

import sys
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any


def ours(lines: Iterable[str]) -> Iterable[str]:
    """With the project's own reading, merging and writing in bulk."""
    from itertools import chain

    from feeds.ipfilter.bulk import fewest, keys, texts

    rest = iter(lines)
    first = next(rest)
    bits = 128 if ":" in first else 32
    return texts(fewest(keys(chain([first], rest), bits), bits), bits)


def with_netaddr(lines: Iterable[str]) -> Iterable[str]:
    import netaddr

    return map(str, netaddr.cidr_merge(lines))


def with_ipaddress(lines: Iterable[str]) -> Iterable[str]:
    import ipaddress

    networks: Iterable[Any] = map(ipaddress.ip_network, lines)
    return map(str, ipaddress.collapse_addresses(networks))


WAYS: dict[str, Callable[[Iterable[str]], Iterable[str]]] = {
    "ours": ours,
    "netaddr": with_netaddr,
    "ipaddress": with_ipaddress,
}


if __name__ == "__main__":
    with Path(sys.argv[2]).open() as file:
        # Line by line, for the text itself takes more memory than what is made of it.
        found = WAYS[sys.argv[1]](map(str.rstrip, file))
        rest = iter(found)
        while block := list(islice(rest, 1 << 15)):
            sys.stdout.write("\n".join(block) + "\n")
