"""The two sides of a zone transfer for tests of what lies between them: a zone without files, and questions."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import dns.message
import dns.rrset

from feeds.message.building import encode_name, soa_rdata
from feeds.message.words import SOA, A
from feeds.transfer.packing import Part, pack
from feeds.transfer.settings import Secondary

ZONE = "rpz.blocker"
WIRE = encode_name(ZONE)
ONE = Secondary("one", frozenset({"192.0.2.1"}), (("192.0.2.1", 53),), None)
TWO = Secondary("two", frozenset({"192.0.2.2"}), (("192.0.2.2", 53), ("2001:db8::2", 5353)), None)


@dataclass(frozen=True)
class Present:
    serial: int
    zone: bytes = WIRE

    @property
    def soa(self) -> bytes:
        return (
            b"\0"
            + struct.pack("!H", SOA)
            + soa_rdata(encode_name("localhost"), encode_name("x"), self.serial, 1, 1, 1, 1)
        )


@dataclass
class FakeLine:
    """A zone of `size` addresses; every older serial is one deletion, or `change` of them, away."""

    size: int = 5000
    change: int = 1
    zone: bytes = WIRE
    present: Present | None = field(default_factory=lambda: Present(7000))

    def record(self, n: int) -> bytes:
        return encode_name(f"n{n}.example") + struct.pack("!H", A) + n.to_bytes(4)

    def whole(self) -> Iterator[Part]:
        assert self.present is not None
        return pack(WIRE, [self.present.soa, *map(self.record, range(self.size)), self.present.soa])

    def since(self, serial: int) -> Iterator[Part]:
        assert self.present is not None
        now, old = self.present.soa, Present(serial).soa
        return pack(WIRE, [now, old, *map(self.record, range(self.change)), now, now])


def query(qtype: str = "AXFR", message_id: int = 1, serial: int | None = None) -> bytes:
    made = dns.message.make_query(ZONE, qtype, id=message_id)
    if serial is not None:
        made.authority.append(dns.rrset.from_text(ZONE + ".", 0, "IN", "SOA", f"localhost. x. {serial} 1 1 1 1"))
    return made.to_wire()
