"""What of an upstream's answer is believed: the records on the chain from the question on, and nothing else. Pure.

Kept are the CNAME and DNAME hops (at most 11), the records asked for at its end, and of the authority section what
a negative answer or a validator needs. Everything is written anew, so no byte that an upstream chose and that we have
not understood reaches a client or the cache.
"""

from dataclasses import dataclass
from struct import pack

from feeds.message.words import CNAME, DNAME, IN, NOERROR, NXDOMAIN, SOA, Record, Response
from resolver.cache import MAX_NEGATIVE_TTL, MAX_TTL

MAX_HOPS = 11
RRSIG = 46
NSEC = 47
NSEC3 = 50
_PROOFS = (NSEC, NSEC3)
_MAX_POINTER = 0x3FFF
_MAX_MESSAGE = 65_535


class Unbelievable(Exception):
    """The answer is no use: a loop or too long a chain, a referral, an error code, or too large written out."""


@dataclass(frozen=True, slots=True)
class Believed:
    """`message` is the answer with the question as given, id 0; `ttls` as `feeds.message.building.aged` wants them.

    `lifetime` is for how many seconds it may be kept, 0 for not at all. `answers` are for the policy to judge.
    """

    message: bytes
    ttls: tuple[tuple[int, int], ...]
    lifetime: int
    answers: tuple[Record, ...]


def believed(response: Response, question: bytes, do: bool) -> Believed:
    """Raises Unbelievable. `question` is the question section in lower case, `do` whether signatures were asked for."""
    if response.rcode not in (NOERROR, NXDOMAIN):
        raise Unbelievable(f"rcode {response.rcode}")
    answers, end, found = _chain(response, do)
    authority = _authority(response, end, found, do)
    negative = not found
    soa = next((r for r in authority if r.rtype == SOA), None)
    if negative and soa is None and not answers and response.rcode == NOERROR and response.authority:
        raise Unbelievable("a referral")
    lifetime = min((r.ttl for r in answers), default=MAX_TTL)
    if negative:
        lifetime = min(lifetime, soa.ttl, MAX_NEGATIVE_TTL) if soa is not None else 0
    message, ttls = _written(response.rcode, question, answers, authority)
    return Believed(message, ttls, lifetime, answers)


def _chain(response: Response, do: bool) -> tuple[tuple[Record, ...], bytes, bool]:
    """The records on the chain in its order, the name at its end, and whether what was asked for stands there."""
    by_owner: dict[bytes, list[Record]] = {}
    for record in response.answers:
        if record.rclass == IN:
            by_owner.setdefault(record.owner, []).append(_capped(record))
    chain: list[Record] = []
    name, qtype = response.key, response.qtype
    seen = {name}
    while True:
        here = by_owner.get(name, [])
        wanted = [r for r in here if r.rtype == qtype]
        if wanted:
            chain += wanted
            chain += _signatures(here, (qtype,), do)
            return tuple(chain), name, True
        chain += _dnames(by_owner, name, do)
        alias = next((r for r in here if r.rtype == CNAME), None)
        if alias is None:
            return tuple(chain), name, False
        chain.append(alias)
        chain += _signatures(here, (CNAME,), do)
        name = alias.rdata.lower()
        if name in seen or len(seen) > MAX_HOPS:
            raise Unbelievable("the chain of aliases loops or is too long")
        seen.add(name)


def _dnames(by_owner: dict[bytes, list[Record]], name: bytes, do: bool) -> list[Record]:
    """The DNAME above `name` that its CNAME was made from (RFC 6672 section 3.1), if the upstream sent it."""
    above = name
    while len(above) > 1:
        above = above[above[0] + 1 :]
        here = by_owner.get(above)
        found = next((r for r in here if r.rtype == DNAME), None) if here else None
        if here and found is not None:
            return [found, *_signatures(here, (DNAME,), do)]
    return []


def _authority(response: Response, end: bytes, found: bool, do: bool) -> tuple[Record, ...]:
    records = [r for r in response.authority if r.rclass == IN]
    kept: list[Record] = []
    if not found:
        soa = next((r for r in records if r.rtype == SOA and _under(end, r.owner) and len(r.rdata) >= 22), None)
        if soa is not None:
            # RFC 2308 section 5: the least of the SOA's own TTL and its last field is the negative TTL.
            least = min(_capped(soa).ttl, int.from_bytes(soa.rdata[-4:], "big"), MAX_NEGATIVE_TTL)
            kept.append(soa._replace(ttl=least))
            kept += _signatures([r for r in records if r.owner == soa.owner], (SOA,), do)
    if do:
        kept += [_capped(r) for r in records if r.rtype in _PROOFS]
        kept += _signatures(records, _PROOFS, do)
    return tuple(kept)


def _signatures(records: list[Record], covered: tuple[int, ...], do: bool) -> list[Record]:
    if not do:
        return []
    return [_capped(r) for r in records if r.rtype == RRSIG and int.from_bytes(r.rdata[:2], "big") in covered]


def _capped(record: Record) -> Record:
    """RFC 2181 section 8: a TTL with the highest bit set is 0; and none is longer than a day here."""
    if record.ttl <= MAX_TTL:
        return record
    return record._replace(ttl=0 if record.ttl > 0x7FFFFFFF else MAX_TTL)


def _under(name: bytes, ancestor: bytes) -> bool:
    """Is `name` at or below `ancestor`? Compared label by label: wire names have no other common ends."""
    while len(name) > len(ancestor):
        name = name[name[0] + 1 :]
    return name == ancestor


def _written(
    rcode: int, question: bytes, answers: tuple[Record, ...], authority: tuple[Record, ...]
) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """The message, and the places of its TTLs. Owners are compressed against the question, owners and aliases."""
    out = bytearray(pack("!6H", 0, 0x8000 | rcode, 1, len(answers), len(authority), 0) + question)
    places = {question[:-4]: 12}
    ttls: list[tuple[int, int]] = []
    for record in (*answers, *authority):
        place = places.get(record.owner)
        if place is None:
            if len(out) <= _MAX_POINTER:
                places[record.owner] = len(out)
            out += record.owner
        else:
            out += pack("!H", 0xC000 | place)
        ttls.append((len(out) + 4, record.ttl))
        out += pack("!HHIH", record.rtype, record.rclass, record.ttl, len(record.rdata))
        if record.rtype == CNAME and len(out) <= _MAX_POINTER:
            places.setdefault(record.rdata.lower(), len(out))
        out += record.rdata
    if len(out) > _MAX_MESSAGE:
        raise Unbelievable("too large once written out")
    return bytes(out), tuple(ttls)
