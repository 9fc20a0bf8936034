"""NOTIFY (RFC 1996): a primary says that its zone has changed, so that nobody waits for the next refresh.

It is a hint and no proof: all that it does is to have the primary asked. Only the addresses that a zone is transferred
from are heard, no more than some datagrams at a time, and a storm of them costs no more than one question every
other second.
"""

import socket
import time
from collections.abc import Iterable
from typing import Final

from feeds.message import Malformed, Query
from feeds.message.building import reply
from feeds.message.transfer import read_notify
from feeds.message.words import AA, NOERROR, OPCODE_NOTIFY, OPCODE_SHIFT
from feeds.transfer.signing import BadSignature, Signer, read_signature, verify
from resolver.zones.settings import Address, ForeignZone

MOST_AT_ONCE: Final = 64
MAX_BYTES: Final = 4096


class Notices:
    """A socket for them. Raises OSError where the address cannot be bound."""

    def __init__(self, zones: Iterable[ForeignZone], address: Address) -> None:
        self._zones = {zone.wire: zone for zone in zones if zone.primary is not None}
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(address)

    def fileno(self) -> int:
        return self._socket.fileno()

    def heard(self) -> set[str]:
        """The zones that are said to have changed."""
        found = set()
        for _datagram in range(MOST_AT_ONCE):
            try:
                data, sender = self._socket.recvfrom(MAX_BYTES)
                told = notified(data, sender[0], self._zones, int(time.time()))
                if told is not None:
                    found.add(told[0])
                    self._socket.sendto(told[1], sender)
            except BlockingIOError:
                break
            except OSError:
                continue
        return found


def notified(data: bytes, sender: str, zones: dict[bytes, ForeignZone], now: int) -> tuple[str, bytes] | None:
    """The zone that its primary says has changed, and what to answer; None for what is nobody's business."""
    try:
        query, _serial = read_notify(data)
        zone = zones.get(query.key)
        if zone is None or zone.primary is None or sender not in {host for host, _port in zone.primary.addresses}:
            return None
        said = _reply(query)
        if query.signed:
            signed = read_signature(data)
            verify(data, signed, zone.primary.key, now)
            if zone.primary.key is not None:
                said = Signer(zone.primary.key, signed.rdata.mac).sign(said, now)
    except (Malformed, BadSignature):
        return None
    return zone.name, said


def _reply(query: Query) -> bytes:
    return reply(query, NOERROR, flags=AA | OPCODE_NOTIFY << OPCODE_SHIFT)
