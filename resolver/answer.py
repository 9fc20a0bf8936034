"""The answer that a blocked query gets.

It says so honestly: Extended DNS Error 16 "Censored" (RFC 8914 section 4.17: required by somebody else than the
operator) with entry, decision and contact, or 15 "Blocked" (section 4.16) where no decision stands behind the list.
The policy zone's SOA stands in the additional section, as in draft-vixie-dnsop-dns-rpz section 6 and as BIND does, so
that a client without EDNS finds the contact, too; it is not in the authority section, so nobody takes the refusal for
a negative answer of the zone itself (RFC 2308).

A client that asks for it gets the reason as JSON (`resolver.structured`).

All but the question is prebuilt, once for each entry and kind of question, and kept with the Ground.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from feeds.message import Query
from feeds.message.building import (
    address_record,
    encode_ede,
    encode_name,
    encode_opt,
    encode_option,
    encode_record,
    finish,
    mailbox_name,
    soa_rdata,
)
from feeds.message.words import (
    AAAA,
    ANY,
    CD,
    CNAME,
    MAX_MESSAGE_BYTES,
    NOERROR,
    NXDOMAIN,
    OPTION_EDE,
    PLAIN_UDP_BYTES,
    QR,
    RA,
    RD,
    SOA,
    TC,
    UDP_BYTES,
    A,
)
from feeds.rule import Action
from resolver.policy import WILDCARD, Ground, Hit, Source
from resolver.structured import DNS_OPERATOR_POLICY, structured

YXDOMAIN: Final = 6
EDE_BLOCKED: Final = 15
EDE_CENSORED: Final = 16
TTL_SECONDS: Final = 300
MAX_DECISION_BYTES: Final = 300
MAX_CONTACT_BYTES: Final = 200
# Texts kept for each Ground; the names that are really asked for are far fewer.
MAX_KEPT_TEXTS: Final = 2048
_QUESTION_NAME: Final = b"\xc0\x0c"
_ECHOED: Final = RD | CD
_OPT: Final = encode_opt(UDP_BYTES)[:-2]
_OPT_DO: Final = encode_opt(UDP_BYTES, do=True)[:-2]
_FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}

_start = Struct("!HH").pack
_length = Struct("!H").pack
_counts = Struct("!4H").pack


class _Pieces:
    """What the answers under one Ground share.

    `answers` by question type -> (how many, the records), 0 for types not named; others get none. Not for an alias
    that is another for each name asked for. `edes` by entry number -> EDE option.
    `structured` likewise -> the option with all of the JSON, and what to fall back to where that does not fit.
    """

    __slots__ = ("answers", "bits", "edes", "soa", "structured")

    def __init__(self, ground: Ground) -> None:
        self.answers = _local_answers(ground)
        self.bits = QR | RA | (NXDOMAIN if ground.action is Action.NXDOMAIN else NOERROR)
        self.soa = _soa(ground.source, _contact(ground))
        self.edes: dict[int, bytes] = {}
        self.structured: dict[int, tuple[bytes, ...]] = {}


def blocked_answer(
    hit: Hit,
    query: Query,
    over_tcp: bool,
    more: Sequence[bytes] = (),
    options: bytes = b"",
    *,
    rcode: int = NOERROR,
    as_json: bool = False,
) -> bytes | None:
    """The whole reply, ready to send (it fits `query.udp_limit` over UDP); None: send nothing (action drop).

    Not for a Hit that `lets_pass`. `more` are encoded records (`building.encode_record`) for the answer section behind
    the CNAME of a `local` name: what the session found at `hit.ground.cname`, with its `rcode`. `options` are further
    EDNS options (`building.encode_option`), such as a cookie; they are left out where the query had no OPT. `as_json`:
    the client asked for a structured error.
    """
    ground = hit.ground
    pieces = _pieces_of(ground)
    if ground.action is Action.DROP:
        return None
    count, answers, bits = 0, b"", pieces.bits | rcode
    if ground.action is Action.LOCAL:
        if pieces.answers:
            count, answers = pieces.answers.get(query.qtype) or pieces.answers.get(0, (0, b""))
        else:
            count, answers, bits = _walled(ground, query, bits)
        if more and query.qtype != CNAME:
            count, answers = count + len(more), answers + b"".join(more)
    start = _start(query.id, bits | query.flags & _ECHOED)
    if not query.udp_size:
        if ground.action is Action.TCP_ONLY:
            return _start(query.id, pieces.bits | TC | query.flags & _ECHOED) + _counts(1, 0, 0, 0) + query.question
        message = start + _counts(1, count, 0, 1) + query.question + answers + pieces.soa
        limit = _limit(query, over_tcp, message)
        return message if len(message) <= limit else _squeezed(message, query, count, answers, limit)
    opt = _OPT_DO if query.do else _OPT
    if ground.action is Action.TCP_ONLY:
        # No EDE: over TCP the client will get the true answer.
        start = _start(query.id, pieces.bits | TC | query.flags & _ECHOED)
        return start + _counts(1, 0, 0, 1) + query.question + opt + _length(len(options)) + options
    if as_json:
        edes = pieces.structured.get(hit.number) or _keep_structured(pieces, hit)
        ede = edes[0]
    else:
        ede = pieces.edes.get(hit.number) or _keep(pieces, hit)
    tail = opt + _length(len(options) + len(ede)) + options + ede
    message = start + _counts(1, count, 0, 2) + query.question + answers + pieces.soa + tail
    limit = _limit(query, over_tcp, message)
    if len(message) <= limit:
        return message
    short = opt + _length(len(options)) + options
    if as_json:
        return _fitted(message, query, count, answers, limit, short, edes)
    return _squeezed(message, query, count, answers, limit, short, ede)


def _limit(query: Query, over_tcp: bool, message: bytes) -> int:
    # Most answers are short, and 512 octets fit whatever the client has said.
    return MAX_MESSAGE_BYTES if over_tcp or len(message) <= PLAIN_UDP_BYTES else query.udp_limit


@dataclass(frozen=True, slots=True)
class Prebuilt:
    """The parts of every answer under a ground, in the order of the message, for who puts them together elsewhere.

    `bits` of the header; `records` by question type (0: any other), each with their number; `soa`; the code of the
    Extended DNS Error and its text: `before`, the entry's number, `after`, or `plain` where no entry stands behind.
    """

    bits: int
    records: tuple[tuple[int, int, bytes], ...]
    soa: bytes
    ede_code: int
    before: bytes
    after: bytes
    plain: bytes


def prebuilt(ground: Ground) -> Prebuilt:
    """Not for a ground whose answers take more: actions passthru, drop and tcp_only, a name to be resolved."""
    pieces = _pieces_of(ground)
    reasons = "; ".join(_reasons(ground))
    return Prebuilt(
        pieces.bits,
        tuple((rtype, count, records) for rtype, (count, records) in sorted(pieces.answers.items(), reverse=True)),
        pieces.soa,
        EDE_BLOCKED if ground.source.foreign else EDE_CENSORED,
        f"entry {ground.source.authority}:".encode(),
        ("; " + reasons if reasons else "").encode(),
        reasons.encode(),
    )


def explanation(hit: Hit) -> str:
    """What EXTRA-TEXT says: entry, decision, where to object; at most about 600 octets of UTF-8."""
    return "; ".join([f"entry {hit.entry}", *_reasons(hit.ground)] if hit.entry else _reasons(hit.ground))


def _reasons(ground: Ground) -> list[str]:
    """All but the entry."""
    parts = []
    if ground.decision:
        parts.append("decision " + _shortened(ground.decision, MAX_DECISION_BYTES))
    elif ground.source.foreign:
        parts.append("list " + _shortened(ground.source.authority, MAX_DECISION_BYTES))
    elif not ground.counted:
        parts.append("test name of " + ground.source.authority)
    contact = _contact(ground)
    if contact:
        parts.append("objections " + _shortened(contact, MAX_CONTACT_BYTES))
    return parts


def _pieces_of(ground: Ground) -> _Pieces:
    pieces = ground.pieces
    if not isinstance(pieces, _Pieces):
        pieces = ground.pieces = _Pieces(ground)
    return pieces


def _keep(pieces: _Pieces, hit: Hit) -> bytes:
    if len(pieces.edes) >= MAX_KEPT_TEXTS:
        pieces.edes.clear()
    code = EDE_BLOCKED if hit.ground.source.foreign else EDE_CENSORED
    ede = pieces.edes[hit.number] = encode_ede(code, explanation(hit))
    return ede


def _keep_structured(pieces: _Pieces, hit: Hit) -> tuple[bytes, ...]:
    if len(pieces.structured) >= MAX_KEPT_TEXTS:
        pieces.structured.clear()
    ground = hit.ground
    foreign = ground.source.foreign
    whole, short = structured(
        explanation(hit),
        contact=_contact(ground),
        organization=ground.source.authority,
        sub_error=DNS_OPERATOR_POLICY if foreign else 0,
    )
    code = EDE_BLOCKED if foreign else EDE_CENSORED
    edes = pieces.structured[hit.number] = tuple(encode_ede(code, text) for text in (whole, short, ""))
    return edes


def _fitted(
    message: bytes, query: Query, count: int, answers: bytes, limit: int, opt: bytes, edes: Sequence[bytes]
) -> bytes:
    """The same answer without the SOA, with the first of these EDE options that fits: JSON is not to be cut."""
    body = query.question + answers
    for ede in edes:
        rdlength = len(opt) - 11 + len(ede)
        made = message[:4] + _counts(1, count, 0, 1) + body + opt[:9] + _length(rdlength) + opt[11:] + ede
        if len(made) <= limit:
            return made
    return _squeezed(message, query, count, answers, limit, opt)


def _squeezed(
    message: bytes, query: Query, count: int, answers: bytes, limit: int, opt: bytes = b"", ede: bytes = b""
) -> bytes:
    """The same answer within `limit`: a shorter text, then none and no SOA, and only then TC (RFC 2181 section 9)."""
    body = query.question + answers
    bare = message[:4] + _counts(1, count, 0, bool(opt)) + body + opt
    if ede:
        # Four octets of the option's head and two of the code; the text may be cut anywhere between characters.
        left = limit - len(bare) - 6
        if left >= 0:
            text = ede[6 : 6 + left].decode(errors="ignore")
            cut = encode_option(OPTION_EDE, ede[4:6] + text.encode())
            rdlength = len(opt) - 11 + len(cut)
            return message[:4] + _counts(1, count, 0, 1) + body + opt[:9] + _length(rdlength) + opt[11:] + cut
    if len(bare) <= limit:
        return bare
    return finish(message[:4] + _counts(1, 0, 0, 0) + body, query, limit, opt)


def _local_answers(ground: Ground) -> dict[int, tuple[int, bytes]]:
    """By question type; 0 stands for every type not named."""
    if ground.action is not Action.LOCAL:
        return {}
    if ground.as_records:
        return _record_answers(ground)
    if ground.cname is not None:
        return {0: (1, encode_record(_QUESTION_NAME, CNAME, TTL_SECONDS, ground.cname))}
    records: dict[int, list[bytes]] = {A: [], AAAA: [], ANY: []}
    for text in ground.data.split(","):
        version = 6 if ":" in text else 4
        record = address_record(_QUESTION_NAME, TTL_SECONDS, socket.inet_pton(_FAMILY[version], text))
        records[AAAA if version == 6 else A].append(record)
        records[ANY].append(record)
    return {rtype: (len(found), b"".join(found)) for rtype, found in records.items()}


def _record_answers(ground: Ground) -> dict[int, tuple[int, bytes]]:
    """A zone's own records; none for an alias that begins with `*`."""
    if ground.cname is not None:
        [alias] = ground.records
        fixed = ground.cname[:2] != WILDCARD
        return {0: (1, encode_record(_QUESTION_NAME, CNAME, alias.ttl, alias.rdata))} if fixed else {}
    found: dict[int, list[bytes]] = {ANY: []}
    for record in ground.records:
        made = encode_record(_QUESTION_NAME, record.rtype, record.ttl, record.rdata)
        found.setdefault(record.rtype, []).append(made)
        found[ANY].append(made)
    return {rtype: (len(records), b"".join(records)) for rtype, records in found.items()}


def _walled(ground: Ground, query: Query, bits: int) -> tuple[int, bytes, int]:
    """An alias that the name asked for is put before; YXDOMAIN where that is too long (RFC 6672 section 2.2)."""
    try:
        name = ground.cname_of(query.name) or b"\0"
    except ValueError:
        return 0, b"", bits | YXDOMAIN
    return 1, encode_record(_QUESTION_NAME, CNAME, ground.records[0].ttl, name), bits


def _contact(ground: Ground) -> str:
    return ground.source.contacts.get(ground.decision, "") or ground.source.contact


def _soa(source: Source, contact: str) -> bytes:
    try:
        zone = encode_name(source.zone or "rpz." + source.authority)
    except ValueError:
        zone = encode_name("rpz")
    rname = b"\0"  # no mailbox
    for address in (contact, source.contact):
        try:
            rname = mailbox_name(address)
            break
        except ValueError:
            continue
    rdata = soa_rdata(zone, rname, source.serial, 3600, 600, 86_400, TTL_SECONDS)
    return encode_record(zone, SOA, TTL_SECONDS, rdata)


def _shortened(text: str, most: int) -> str:
    """At most `most` octets of UTF-8; a cut is marked."""
    data = text.encode()
    return text if len(data) <= most else data[: most - 3].decode(errors="ignore") + "…"
