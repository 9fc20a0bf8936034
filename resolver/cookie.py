"""DNS cookies (RFC 7873) with the server cookie that all makers agree on (RFC 9018 section 4). Pure.

A client that sends back the server cookie it was given can be reached at the address it writes from: it has not
forged it. Nothing is kept about any client; the cookie itself is the proof.
"""

from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest
from ipaddress import ip_address
from struct import Struct
from typing import Final, NamedTuple

from feeds.message.building import encode_option
from resolver.siphash import siphash

OPTION_COOKIE: Final = 10
CLIENT_BYTES: Final = 8
SERVER_BYTES: Final = range(8, 33)  # RFC 7873 section 4
SECRET_BYTES: Final = 16
# Seconds, all of RFC 9018 section 4.3.
MAX_AGE: Final = 3600
MAX_AHEAD: Final = 300
RENEW_AGE: Final = 1800
KEY_BYTES: Final = 32
# A secret is followed by another after this; the one before stays good for as long as a cookie can be.
SECRET_SECONDS: Final = 86_400
_VERSION: Final = b"\x01\0\0\0"
_stamp = Struct("!I")


class BadCookie(Exception):
    """The option is neither a client cookie nor a client and a server cookie: FORMERR (RFC 7873 section 5.2.2)."""


class Seen(NamedTuple):
    """`proven`: the client got a cookie from us at this address. `option`: what every answer to it shall carry."""

    proven: bool
    option: bytes


class Cookies:
    """`secret_of` gives the secret of a day since 1970 (`daily_secrets`); all lanes have the same.

    The secret rolls over once a day (RFC 9018 section 5); cookies of the one before go on to be accepted.
    """

    def __init__(self, secret_of: Callable[[int], bytes], wall: float = 0.0) -> None:
        self._secret_of = secret_of
        self._day = -1
        self.secrets: tuple[bytes, bytes] = (b"", b"")
        self.turn(wall)

    def turn(self, wall: float) -> None:
        """The time is now `wall`, in seconds since 1970."""
        day = int(wall // SECRET_SECONDS)
        if day != self._day:
            self.secrets = (self._secret_of(day), self._secret_of(day - 1))
            self._day = day

    def see(self, data: bytes, host: str, wall: float) -> Seen:
        """Judge the data of a query's COOKIE option from the address `host` (as text). Raises BadCookie."""
        client, server = data[:CLIENT_BYTES], data[CLIENT_BYTES:]
        if len(client) < CLIENT_BYTES or (server and len(server) not in SERVER_BYTES):
            raise BadCookie
        address = ip_address(host.partition("%")[0]).packed
        now = int(wall) & 0xFFFFFFFF
        if len(server) == 16 and server[:4] == _VERSION:
            (made,) = _stamp.unpack_from(server, 4)
            age = _difference(now, made)
            if -MAX_AHEAD <= age <= MAX_AGE:
                for place, secret in enumerate(self.secrets):
                    if compare_digest(server[8:], siphash(secret, client + server[:8] + address)):
                        keeps = place == 0 and age <= RENEW_AGE
                        return Seen(True, self._option(client, address, now) if not keeps else _encoded(data))
        return Seen(False, self._option(client, address, now))

    def _option(self, client: bytes, address: bytes, now: int) -> bytes:
        start = _VERSION + _stamp.pack(now)
        return _encoded(client + start + siphash(self.secrets[0], client + start + address))


def daily_secrets(key: bytes) -> Callable[[int], bytes]:
    """From a key that nobody outside ever sees, a secret for each day: processes that share the key roll in step."""

    def secret_of(day: int) -> bytes:
        return blake2b(day.to_bytes(8, signed=True), key=key, digest_size=SECRET_BYTES).digest()

    return secret_of


def _encoded(data: bytes) -> bytes:
    return encode_option(OPTION_COOKIE, data)


def _difference(now: int, then: int) -> int:
    """Seconds from `then` to `now` in serial number arithmetic (RFC 1982), as RFC 9018 section 4.3 wants it."""
    return (now - then + 0x80000000) % 0x100000000 - 0x80000000
