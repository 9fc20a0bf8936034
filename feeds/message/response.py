"""Reading upstreams' answers.

Theory. The cost of a message is bounded by three numbers, whatever its bytes say: records in all, steps (labels,
pointers and parameters walked), and octets. Pointers go strictly backwards (so there are no loops), a name
already read is never walked again (so chains are walked once), and what is left of the steps is shared by the message.
"""

from struct import Struct, pack
from struct import error as StructError
from typing import Final

from feeds.message.words import (
    AAAA,
    CNAME,
    DNAME,
    HEADER_BYTES,
    HTTPS,
    IN,
    MAX_MESSAGE_BYTES,
    MAX_NAME_BYTES,
    MX,
    NS,
    OPT,
    PTR,
    SOA,
    SRV,
    SVCB,
    TSIG,
    A,
    Edns,
    Malformed,
    Record,
    Response,
    ServiceBinding,
)

# BIND 9.18 keeps at most 100 records of a type; the largest answers in real use hold a few hundred in all.
MAX_RECORDS: Final = 1000
MAX_STEPS: Final = 4000
MAX_HOPS: Final = 16
MAX_OPTIONS: Final = 64
MAX_HINTS: Final = 256
# Aliases and service bindings in one answer: each costs the policy a lookup for every label of its name.
MAX_LINKS: Final = 64

# Types whose names may be compressed (RFC 3597 section 4, and what is seen): octets before, names, octets behind.
_LAYOUT: Final = {
    NS: (0, 1, 0),
    CNAME: (0, 1, 0),
    PTR: (0, 1, 0),
    DNAME: (0, 1, 0),
    MX: (2, 1, 0),
    SRV: (6, 1, 0),
    SOA: (0, 2, 20),
    7: (0, 1, 0),  # MB
    8: (0, 1, 0),  # MG
    9: (0, 1, 0),  # MR
    14: (0, 2, 0),  # MINFO
    17: (0, 2, 0),  # RP
    18: (2, 1, 0),  # AFSDB
    21: (2, 1, 0),  # RT
    26: (2, 2, 0),  # PX
    36: (2, 1, 0),  # KX
}
_ADDRESS_BYTES: Final = {A: 4, AAAA: 16}
_PLAIN, _ALIAS, _SERVICE, _META = 0, 1, 2, 3
_KIND: Final = {CNAME: _ALIAS, DNAME: _ALIAS, SVCB: _SERVICE, HTTPS: _SERVICE, OPT: _META, TSIG: _META}
_KEY_IPV4HINT, _KEY_IPV6HINT = 4, 6

_header = Struct("!6H").unpack_from
_fixed = Struct("!HHIH").unpack_from
_pair = Struct("!HH").unpack_from


def response_matches(data: bytes, message_id: int, question: bytes) -> bool:
    """Cheap first test: QR=1, opcode QUERY, this id, exactly one question, and it is `question` in any case of letters.

    A False is a near miss: keep waiting.
    """
    end = HEADER_BYTES + len(question)
    return (
        len(data) >= end
        and data[0] << 8 | data[1] == message_id
        and data[2] & 0xF8 == 0x80
        and data[4:6] == b"\0\1"
        and _same_question(data[HEADER_BYTES:end], question)
    )


def read_response(data: bytes, question: bytes) -> Response:
    """Read an answer to `question` (wire: name, type, class; compared without regard to case).

    Raises Malformed only (rcode None). Compare `Response.name` with the name sent to learn whether 0x20 was kept.
    """
    try:
        return _read(data, question)
    except (IndexError, StructError):
        raise Malformed("the message is cut off") from None


def _same_question(given: bytes, asked: bytes) -> bool:
    # The last four octets are numbers: lower-casing them would take type 65 for type 97.
    return given == asked or (given[-4:] == asked[-4:] and given[:-4].lower() == asked[:-4].lower())


def _read(data: bytes, question: bytes) -> Response:
    size = len(data)
    message_id, flags, questions, *counts = _header(data)
    if size > MAX_MESSAGE_BYTES or flags & 0xF800 != 0x8000:
        raise Malformed("not an answer to a query")
    end = HEADER_BYTES + len(question)
    asked = data[HEADER_BYTES:end]
    if questions != 1 or not _same_question(asked, question):
        raise Malformed("an answer to another question")
    total = sum(counts)
    if total > MAX_RECORDS or total * 11 > size - end:
        raise Malformed("more records than there can be")
    name = asked[:-4]
    reader = RecordReader(data, end, name)
    answers = reader.section(counts[0])
    reader.after_answers = True
    authority = reader.section(counts[1])
    reader.last_section = True
    additional = reader.section(counts[2])
    if reader.pos != size:
        raise Malformed("octets after the end of the message")
    message = data
    rcode = flags & 15
    if reader.cut_from >= 0:
        head = pack("!6H", message_id, flags, 1, len(answers), len(authority), len(additional))
        if reader.cut_from + reader.cut_bytes == size:
            message = head + data[HEADER_BYTES : reader.cut_from]
        else:
            message, reader.ttls = _rebuilt(head + asked, (answers, authority, additional))
        rcode |= reader.rcode_high << 4
    key = name.lower()
    qtype, qclass = _pair(asked, len(name))
    return Response(
        message_id,
        flags,
        rcode,
        name,
        key,
        qtype,
        qclass,
        answers,
        authority,
        additional,
        reader.edns,
        message,
        tuple(reader.ttls),
        tuple(reader.bindings),
    )


def _rebuilt(start: bytes, sections: tuple[tuple[Record, ...], ...]) -> tuple[bytes, list[tuple[int, int]]]:
    """The message without compression: records stood behind OPT, and their pointers would be off by its length."""
    parts, ttls, pos = [start], [], len(start)
    for section in sections:
        for record in section:
            ttls.append((pos + len(record.owner) + 4, record.ttl))
            fixed = pack("!HHIH", record.rtype, record.rclass, record.ttl, len(record.rdata))
            parts += record.owner, fixed, record.rdata
            pos += len(record.owner) + 10 + len(record.rdata)
    if pos > MAX_MESSAGE_BYTES:
        raise Malformed("larger than a message can be")
    return b"".join(parts), ttls


class RecordReader:
    """Walks the records of one message. `names` maps offsets to the names found there."""

    __slots__ = (
        "after_answers",
        "bindings",
        "cut_bytes",
        "cut_from",
        "data",
        "edns",
        "hints_left",
        "last_section",
        "links_left",
        "names",
        "pos",
        "rcode_high",
        "steps_left",
        "ttls",
    )

    def __init__(self, data: bytes, pos: int, name: bytes) -> None:
        self.data = data
        self.pos = pos
        self.names: dict[int, bytes] = {HEADER_BYTES: name}
        self.steps_left = MAX_STEPS
        self.hints_left = MAX_HINTS
        self.ttls: list[tuple[int, int]] = []
        self.bindings: list[ServiceBinding] = []
        self.edns: Edns | None = None
        self.rcode_high = 0
        self.links_left = MAX_LINKS
        self.after_answers = False
        self.last_section = False
        # Where OPT and TSIG, which are not kept, stand: from the first of them, so many octets.
        self.cut_from = -1
        self.cut_bytes = 0

    def section(self, count: int) -> tuple[Record, ...]:
        data, pos, names, size = self.data, self.pos, self.names, len(self.data)
        records: list[Record] = []
        for _n in range(count):
            start = pos
            first = data[pos]
            owner = names.get((first & 63) << 8 | data[pos + 1]) if first >= 192 else None
            if owner is None:
                owner, pos = self.name(pos)
            else:
                pos += 2
            rtype, rclass, ttl, length = _fixed(data, pos)
            ttl_at = pos + 4
            pos += 10
            end = pos + length
            if end > size:
                raise Malformed("a record is cut off")
            layout = _LAYOUT.get(rtype)
            rdata = data[pos:end] if layout is None else self.rdata(pos, end, layout)
            kind = _KIND.get(rtype, _PLAIN)
            if kind == _META:
                self._meta(rtype, rclass, ttl, owner, rdata, start, end)
                pos = end
                continue
            if rtype in _ADDRESS_BYTES and rclass == IN and length != _ADDRESS_BYTES[rtype]:
                raise Malformed("an address of the wrong length")
            if ttl > 0x7FFFFFFF:
                ttl = 0  # RFC 2181 section 8
            owner = owner.lower()
            self.ttls.append((ttl_at, ttl))
            records.append(Record(owner, rtype, rclass, ttl, rdata))
            if kind != _PLAIN and not self.after_answers:
                self.links_left -= 1
                if self.links_left < 0:
                    raise Malformed("too many aliases or service bindings")
                if kind == _SERVICE and rclass == IN:
                    self._binding(owner, rdata)
            pos = end
        self.pos = pos
        return tuple(records)

    def name(self, start: int) -> tuple[bytes, int]:
        """The name at `start`, decompressed, and where it ends."""
        data, names = self.data, self.names
        parts: list[bytes] = []
        visited: list[tuple[int, int]] = [(start, 0)]
        pos, end, steps = start, -1, 0
        # A name pointed to has been read before, so it ends before the one that points to it begins.
        limit = len(data)
        while True:
            run = pos
            length = data[pos]
            while 0 < length < 64:
                pos += length + 1
                steps += 1
                if pos - run > MAX_NAME_BYTES:
                    raise Malformed("a name longer than 255 octets")
                length = data[pos]
            if pos >= limit:
                raise Malformed("a compression pointer that does not point backwards")
            if length == 0:
                pos += 1
                parts.append(data[run:pos])
                break
            if length < 192:
                raise Malformed("a label of an unknown kind")
            target = (length & 63) << 8 | data[pos + 1]
            if target >= run or target < HEADER_BYTES:
                raise Malformed("a compression pointer that does not point backwards")
            if end < 0:
                end = pos + 2
            if pos > run:
                parts.append(data[run:pos])
            steps += 1
            known = names.get(target)
            if known is not None:
                parts.append(known)
                break
            if len(visited) > MAX_HOPS:
                raise Malformed("too many compression pointers in a row")
            visited.append((target, len(parts)))
            pos, limit = target, run
        self.steps_left -= steps
        if self.steps_left < 0:
            raise Malformed("too many labels and pointers in all")
        whole = b"".join(parts) if len(parts) > 1 else parts[0]
        if len(whole) > MAX_NAME_BYTES:
            raise Malformed("a name longer than 255 octets")
        names[start] = whole
        for place, index in visited[1:]:
            names[place] = b"".join(parts[index:])
        return whole, (pos if end < 0 else end)

    def rdata(self, pos: int, end: int, layout: tuple[int, int, int]) -> bytes:
        """RDATA with its names decompressed; everything must end where RDLENGTH says."""
        before, count, behind = layout
        parts = [self.data[pos : pos + before]] if before else []
        pos += before
        for _n in range(count):
            name, pos = self.name(pos)
            parts.append(name)
        if behind:
            parts.append(self.data[pos : pos + behind])
        if pos + behind != end:
            raise Malformed("a record's data does not end where it says")
        return b"".join(parts)

    def _meta(self, rtype: int, rclass: int, ttl: int, owner: bytes, rdata: bytes, start: int, end: int) -> None:
        if not self.last_section:
            raise Malformed("OPT or TSIG outside the additional section")
        if rtype == OPT:
            if self.edns is not None or owner != b"\0":
                raise Malformed("a second OPT record, or one with a name")
            self.edns = Edns(rclass, ttl >> 16 & 255, bool(ttl & 0x8000), self._options(rdata))
            self.rcode_high = ttl >> 24
        if self.cut_from < 0:
            self.cut_from = start
        self.cut_bytes += end - start

    def _options(self, rdata: bytes) -> tuple[tuple[int, bytes], ...]:
        options: list[tuple[int, bytes]] = []
        pos, size = 0, len(rdata)
        while pos < size:
            code, length = _pair(rdata, pos)
            pos += 4 + length
            if pos > size or len(options) >= MAX_OPTIONS:
                raise Malformed("EDNS options are cut off or too many")
            options.append((code, rdata[pos - length : pos]))
        return tuple(options)

    def _binding(self, owner: bytes, rdata: bytes) -> None:
        """RFC 9460 section 2.2: the target is not compressed, keys rise strictly."""
        priority = rdata[0] << 8 | rdata[1]
        pos, size, last = 2, len(rdata), -1
        while rdata[pos]:
            self.steps_left -= 1
            if rdata[pos] > 63 or pos > MAX_NAME_BYTES + 2 or self.steps_left < 0:
                raise Malformed("a service target that is no name")
            pos += rdata[pos] + 1
        pos += 1
        target = rdata[2:pos].lower()
        if len(target) > MAX_NAME_BYTES:
            raise Malformed("a name longer than 255 octets")
        hints: dict[int, tuple[int, ...]] = {_KEY_IPV4HINT: (), _KEY_IPV6HINT: ()}
        while pos < size:
            self.steps_left -= 1
            key, length = _pair(rdata, pos)
            pos += 4
            if key <= last or pos + length > size or self.steps_left < 0:
                raise Malformed("service parameters out of order, cut off or too many")
            if key in hints:
                hints[key] = self._hints(rdata[pos : pos + length], 4 if key == _KEY_IPV4HINT else 16)
            last = key
            pos += length
        self.bindings.append(
            ServiceBinding(priority, owner if target == b"\0" else target, hints[_KEY_IPV4HINT], hints[_KEY_IPV6HINT])
        )

    def _hints(self, data: bytes, width: int) -> tuple[int, ...]:
        count, rest = divmod(len(data), width)
        self.hints_left -= count
        if rest or not count or self.hints_left < 0:
            raise Malformed("address hints of a wrong length or too many")
        return tuple(int.from_bytes(data[i : i + width]) for i in range(0, len(data), width))
