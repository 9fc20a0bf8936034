"""One query on its way through the session, and the last step of every answer to it. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from feeds.message import Query
from feeds.message.building import encode_opt, encode_option, finish, reply
from feeds.message.words import PLAIN_UDP_BYTES, TC
from resolver.answer import blocked_answer
from resolver.effects import Client
from resolver.policy import Hit, Policy

MAX_TCP_BYTES = 65_535
# Of the range for local use (RFC 6891 section 9): a client on this machine asks where an answer came from.
OPTION_ORIGIN = 65_313
OPTION_PADDING = 12
PADDED_BYTES = 468
OPT_BYTES = 11
BADCOOKIE = 23
_OPTS = (encode_opt(), encode_opt(do=True))


class Asked(NamedTuple):
    """Who asked what, and by which policy and hour it is judged from its first lookup to its answer.

    `exempt`: a rule lets its name pass. `pointed`: the question on its way is the name that this rule points to.
    `host`: the address that answers are counted for, "" where none is (TCP, a proven cookie, this machine).
    `options`: EDNS options that every answer carries. `origin`: the client may and wants to know where it came from.
    `as_json`: it wants the reason of a refusal for programs (`resolver.structured`). `padded`: it
    came encrypted and with padding, so its answers are padded, too, and their length tells nobody anything.
    """

    client: Client
    query: Query
    tcp: bool
    started: float
    policy: Policy
    hour: int
    host: str
    exempt: bool = False
    pointed: Hit | None = None
    options: bytes = b""
    origin: bool = False
    as_json: bool = False
    padded: bool = False


def finished(asked: Asked, data: bytes, options: bytes = b"") -> bytes:
    """The message with its OPT, as far as it fits. Without OPT in the query there is none in the answer."""
    query = asked.query
    if asked.options:
        options = asked.options + options
    # Most answers are short, and 512 octets fit whatever the client has said.
    short = len(data) + OPT_BYTES + len(options) <= PLAIN_UDP_BYTES
    limit = MAX_TCP_BYTES if short or asked.tcp else query.udp_limit
    if not query.udp_size:
        return finish(data, query, limit)
    if asked.padded:
        options += padding(len(data) + OPT_BYTES + len(options))
    opt = encode_opt(do=query.do, options=options) if options else _OPTS[query.do]
    return finish(data, query, limit, opt)


def error(asked: Asked, rcode: int, options: bytes = b"") -> bytes:
    """An answer that holds nothing but its code."""
    return finished(asked, reply(asked.query, rcode), options)


def shortened(asked: Asked) -> bytes:
    """In place of an answer over the limit: come by TCP, or, to a client that speaks cookies, come with a cookie.

    BADCOOKIE is RFC 7873 section 5.2.3's way; it brings the cookie along.
    """
    query = asked.query
    if asked.options:
        opt = encode_opt(do=query.do, options=asked.options, rcode=BADCOOKIE)
        return finish(reply(query, BADCOOKIE), query, query.udp_limit, opt)
    return finished(asked, reply(query, 0, flags=TC))


def origin(text: str) -> bytes:
    """The option that says where an answer came from."""
    return encode_option(OPTION_ORIGIN, text.encode())


def refused(hit: Hit, asked: Asked, more: Sequence[bytes] = (), rcode: int = 0) -> bytes | None:
    """What the rule wants the client to be told, as `blocked_answer`, with all that this client asked to have."""
    options = asked.options
    if asked.origin:
        source = hit.ground.source
        options += origin(f"policy {source.authority} {source.serial} {hit.target}")
    data = blocked_answer(hit, asked.query, asked.tcp, more, options, rcode=rcode, as_json=asked.as_json)
    if data is not None and asked.padded:
        options += padding(len(data))
        return blocked_answer(hit, asked.query, asked.tcp, more, options, rcode=rcode, as_json=asked.as_json)
    return data


def padding(size: int) -> bytes:
    """The option that fills a message of that many octets up (RFC 8467 section 4.1)."""
    return encode_option(OPTION_PADDING, bytes(-(size + 4) % PADDED_BYTES))
