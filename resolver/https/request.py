"""Header fields of a request -> what is asked for (RFC 8484 section 4.1). Pure."""

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

PATH: Final = b"/dns-query"
MEDIA_TYPE: Final = b"application/dns-message"
METHODS: Final = b"GET, POST"
# As over UDP: a query is a name and a few options, padded at most to a few hundred octets.
MAX_QUERY_BYTES: Final = 4096

OK, BAD_REQUEST, NOT_FOUND, METHOD_NOT_ALLOWED, TOO_LARGE, URI_TOO_LONG, WRONG_TYPE = 200, 400, 404, 405, 413, 414, 415

_BASE64URL = re.compile(rb"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """`query`: the message, None where it comes as the body."""

    query: bytes | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status that says why there is no answer."""

    status: int


def wanted(fields: Iterable[tuple[bytes, bytes]]) -> Wanted | Refusal:
    """What these header fields ask for; h2 has seen to it that they are a request."""
    found = dict(fields)
    path, _mark, parameters = found.get(b":path", b"").partition(b"?")
    if path != PATH:
        return Refusal(NOT_FOUND)
    method = found.get(b":method")
    if method == b"GET":
        return _from_parameters(parameters)
    if method != b"POST":
        return Refusal(METHOD_NOT_ALLOWED)
    if found.get(b"content-type", b"").partition(b";")[0].strip().lower() != MEDIA_TYPE:
        return Refusal(WRONG_TYPE)
    length = found.get(b"content-length", b"")
    if length.isdigit() and (len(length) > 9 or int(length) > MAX_QUERY_BYTES):
        return Refusal(TOO_LARGE)
    return Wanted(None)


def _from_parameters(parameters: bytes) -> Wanted | Refusal:
    """The variable `dns`, in base64url without padding (RFC 8484 section 6); other parameters say nothing."""
    values = [value for name, _is, value in (one.partition(b"=") for one in parameters.split(b"&")) if name == b"dns"]
    if len(values) != 1:
        return Refusal(BAD_REQUEST)
    if len(values[0]) > (MAX_QUERY_BYTES * 4 + 2) // 3:
        return Refusal(URI_TOO_LONG)
    if not _BASE64URL.fullmatch(values[0]) or len(values[0]) % 4 == 1:
        return Refusal(BAD_REQUEST)
    return Wanted(urlsafe_b64decode(values[0] + b"=" * (-len(values[0]) % 4)))


def is_query(message: bytes) -> bool:
    """Can it be answered at all? What is no message, or is an answer itself, gets 400; over TCP the connection ends."""
    return len(message) >= 12 and not message[2] & 0x80
