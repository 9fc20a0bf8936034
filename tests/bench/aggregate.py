"""One way to aggregate a file of prefixes, as a process of its own: python -m tests.bench.aggregate WAY FILE."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path


def ours(lines: list[str]) -> Iterable[str]:
    """With the project's intervals."""
    from feeds.ipfilter.intervals import cidrs, merged
    from feeds.ipfilter.kernel import address_text, prefix_span

    version = 6 if ":" in lines[0] else 4
    bits = 128 if version == 6 else 32
    for network, length in cidrs(merged(map(prefix_span, lines)), bits):
        yield f"{address_text(version, network)}/{length}"


def with_netaddr(lines: list[str]) -> Iterable[str]:
    import netaddr

    return map(str, netaddr.cidr_merge(lines))


def with_ipaddress(lines: list[str]) -> Iterable[str]:
    import ipaddress

    return map(str, ipaddress.collapse_addresses(map(ipaddress.ip_network, lines)))


WAYS: dict[str, Callable[[list[str]], Iterable[str]]] = {
    "ours": ours,
    "netaddr": with_netaddr,
    "ipaddress": with_ipaddress,
}


if __name__ == "__main__":
    found = WAYS[sys.argv[1]](Path(sys.argv[2]).read_text().splitlines())
    sys.stdout.write("".join(f"{prefix}\n" for prefix in found))
