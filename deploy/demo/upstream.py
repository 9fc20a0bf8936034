"""A recursive resolver's stand-in for the demo and the benchmarks: answers every name from loopback, asks nobody.

    python deploy/demo/upstream.py ADDRESS PORT [ANSWER]

A for every name is ANSWER (default 203.0.113.80), AAAA is empty. Loopback addresses only.
"""

import ipaddress
import sys
import threading

from dnslib import QTYPE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer


class Same(BaseResolver):  # type: ignore[misc]
    """The same address for every name."""

    def __init__(self, address: str) -> None:
        self.address = address

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        reply = request.reply(aa=0)
        if request.q.qtype == QTYPE.A:
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(self.address), ttl=60))
        return reply


def main() -> None:
    address, port = sys.argv[1], int(sys.argv[2])
    if not ipaddress.ip_address(address).is_loopback:
        sys.exit("this stand-in listens on loopback only")
    resolver = Same(sys.argv[3] if len(sys.argv) > 3 else "203.0.113.80")
    for tcp in (False, True):
        DNSServer(
            resolver, address=address, port=port, tcp=tcp, logger=DNSLogger("-request,-reply,-truncated")
        ).start_thread()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
