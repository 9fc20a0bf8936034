"""The targets: each takes any bytes, and raises if a law is broken.

Common to all: nothing but the reader's own error comes out, and no input costs more than a moment of CPU.
"""

import io
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from struct import error as StructError
from struct import pack

from feeds.errors import Untrusted
from feeds.message import Malformed, Query, option, read_query, read_response, response_matches
from feeds.message.building import encode_name, encode_opt, encode_question, error_reply, finish, reply
from feeds.message.transfer import read_ixfr, read_notify
from feeds.message.words import CNAME, MAX_MESSAGE_BYTES
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import Action, Category, NameTarget, Rule, Scope
from resolver.chain import MAX_HOPS, Unbelievable, believed
from resolver.effects import Ask, Forget, Reply
from resolver.image import Image, new_memory
from resolver.image.form import HEAD_BYTES, SUM_BYTES, new_sum
from resolver.metrics import Counters
from resolver.policy import Policy
from resolver.private import PrivateAnswers
from resolver.session import Config, Session
from tests.lane.pair import Pair, image
from tests.laws.test_lane_answers import agrees

Target = Callable[[bytes], None]

HOUR = 500_000
# Instrumented code is some ten times slower than the code that runs.
MOST_CPU_SECONDS = 0.1
QUESTION = encode_question(encode_name("www.good.example"), 1)
QUESTIONS = (QUESTION, encode_question(encode_name("www.good.example"), 65), encode_question(b"\1a" * 126 + b"\0", 28))


def rule(target: NameTarget | Prefix, action: Action = Action.NXDOMAIN, data: str = "", number: int = 1) -> Rule:
    return Rule(target, action, f"tpa:{number}", Category.GAMBLING, "12/QD-2026", HOUR + 100, data)


def subtree(text: str, scope: Scope = Scope.SUBTREE) -> NameTarget:
    return NameTarget(DomainName(text), scope)


RULES = [
    rule(subtree("bad.example"), number=999_999_999_999),
    rule(subtree("only.example", Scope.EXACT)),
    rule(subtree("local.example"), Action.LOCAL, "192.0.2.9,2001:db8::9"),
    rule(subtree("there.example"), Action.LOCAL, "notice.example"),
    rule(subtree("nodata.example"), Action.NODATA),
    rule(subtree("drop.example"), Action.DROP),
    rule(subtree("tcp.example"), Action.TCP_ONLY),
    rule(subtree("pass.bad.example"), Action.PASSTHRU),
    rule(Prefix.of_text("198.51.100.0/24")),
    rule(Prefix.of_text("2001:db8:bad::/48")),
]
IMAGE = image(RULES)
POLICY = Policy([IMAGE])
WHOLE_IMAGE = bytes(IMAGE.data)


@contextmanager
def in_time() -> Iterator[None]:
    start = time.thread_time()
    yield
    took = time.thread_time() - start
    assert took < MOST_CPU_SECONDS, f"{took * 1e3:.0f} ms of CPU"


def query(data: bytes) -> None:
    """A client's bytes: read as they were written, or refused with a reply that does not amplify."""
    with in_time():
        try:
            found = read_query(data)
        except Malformed as fault:
            if fault.rcode is not None:
                said = error_reply(data, fault.rcode)
                assert said[:2] == data[:2]
                assert len(said) <= len(data) + 11
                assert_answer(said)
            return
    assert found.question == data[12 : 12 + len(found.question)]
    assert found.key == found.name.lower() == found.question[:-4].lower()
    for code in (3, 10, 12, 65_313):
        value = option(found.options, code)
        assert value is None or pack("!HH", code, len(value)) + value in found.options
    if not found.signed:
        opt = encode_opt(found.udp_size, do=found.do, options=found.options) if found.edns else b""
        again = read_query(pack("!6H", found.id, found.flags, 1, 0, 0, bool(opt)) + found.question + opt)
        assert again == found, "what was read is what would be written"
    assert_answer(finish(reply(found, 3), found, found.udp_limit, encode_opt() if found.edns else b""))


def assert_answer(said: bytes) -> None:
    """It is an answer, whole, to the question that it holds."""
    assert said[2] & 0x80
    if said[4:6] == b"\0\1":
        end = said.index(b"\0", 12) + 5 if not any(said[12:13]) else 12 + name_bytes(said) + 4
        read_response(said[:2] + b"\x80" + said[3:], said[12:end])


def name_bytes(data: bytes) -> int:
    pos = 12
    while data[pos]:
        pos += data[pos] + 1
    return pos + 1 - 12


def response(data: bytes) -> None:
    """An upstream's bytes behind a question of ours: what is believed of them can be read, and is on the chain."""
    if len(data) < 13:
        return
    question = QUESTIONS[data[12] % len(QUESTIONS)]
    message = data[:2] + bytes([data[2] & 0x07 | 0x80]) + data[3:4] + b"\0\1" + data[6:12] + question + data[13:]
    private = PrivateAnswers()
    with in_time():
        assert response_matches(message, int.from_bytes(data[:2]), question) or len(message) > MAX_MESSAGE_BYTES
        try:
            read = read_response(message, question)
        except Malformed:
            return
        POLICY.judge_answer(read, HOUR)
        stripped = private.stripped(read)
        clean = stripped[0] if stripped is not None else read
        kept = []
        for do in (False, True):
            with suppress(Unbelievable):
                kept.append(believed(clean, question, do))
    again = read_response(read.message, question)
    assert (again.answers, again.authority, again.additional) == (read.answers, read.authority, read.additional)
    assert [read.message[at : at + 4] for at, _ttl in read.ttls] == [
        again.message[at : at + 4] for at, _t in again.ttls
    ]
    for one in kept:
        whole = read_response(one.message, question)
        assert whole.answers == tuple(record._replace(rdata=record.rdata) for record in one.answers)
        assert len(one.message) <= MAX_MESSAGE_BYTES
        assert len(one.ttls) == len(whole.answers) + len(whole.authority)
        assert sum(record.rtype == CNAME for record in one.answers) <= MAX_HOPS
        assert 0 <= one.lifetime <= 86_400
        on_chain = {whole.key} | {record.rdata.lower() for record in one.answers if record.rtype == CNAME}
        for record in one.answers:
            assert record.owner in on_chain or record.rtype in (39, 46), "a record that nobody asked for"


def transfer(data: bytes) -> None:
    """What secondaries and primaries say about zones."""
    with in_time():
        for read in (read_ixfr, read_notify):
            try:
                found, serial = read(data)
            except Malformed as fault:
                if fault.rcode is not None:
                    assert_answer(error_reply(data, fault.rcode)[:2] + b"\x80" + error_reply(data, fault.rcode)[3:])
                continue
            assert isinstance(found, Query)
            assert found.question == data[12 : 12 + len(found.question)]
            assert serial is None or 0 <= serial < 1 << 32


def pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(a number, some bytes), as often as there are any: number, size in two octets, the bytes."""
    pos, count = 0, 0
    while pos + 3 <= len(data) and count < 24:
        size = int.from_bytes(data[pos + 1 : pos + 3]) % 2048
        yield data[pos], data[pos + 3 : pos + 3 + size]
        pos += 3 + size
        count += 1


def session(data: bytes) -> None:
    """Clients, an upstream and time in any order: at most one reply to each query, nothing left open at the end."""
    now = 1000.0
    mind = Session(POLICY, HOUR, Config(("a", "b"), cache_bytes=20_000, max_outstanding=8), Random(1), Counters())
    open_: dict[int, Ask] = {}
    asked, told = 0, 0

    def does(effects: object) -> None:
        nonlocal told
        for effect in effects:  # type: ignore[attr-defined]
            if isinstance(effect, Reply):
                told += 1
                assert 0 <= effect.client < asked  # type: ignore[operator]
                assert_answer(effect.data)
            elif isinstance(effect, Ask):
                open_[effect.token] = effect
            elif isinstance(effect, Forget):
                del open_[effect.token]

    with in_time():
        for number, part in pieces(data):
            if number < 64:
                asked += 1
                does(mind.query(part, asked - 1, bool(number & 1), now, host="192.0.2.7"))
            elif number < 192 and open_:
                ask = open_[sorted(open_)[number % len(open_)]]
                # The start stays, or it would be no more than a near miss.
                start = ask.data[:2] + b"\x81\x80\0\1" if number & 1 else b""
                does(mind.received(ask.token, start + part, now))
            elif number < 224 and open_:
                does(mind.unreachable(sorted(open_)[number % len(open_)], now))
            else:
                now += number / 100
                does(mind.due(now))
    for _second in range(30):
        now += 1
        does(mind.due(now))
    assert told <= asked
    assert not len(mind.asking)
    assert mind.cache.bytes <= 20_000
    assert all(ask.data[12:13] == b"\0" for ask in open_.values()), "but for probes nothing is open"


def changed(data: bytes) -> bytes:
    """The image with octets changed: two octets for the place, one for the value; the head is hit more often."""
    made = bytearray(WHOLE_IMAGE)
    for at in range(1, len(data) - 2, 3):
        place = int.from_bytes(data[at : at + 2])
        made[place % (HEAD_BYTES if place & 1 else len(made))] = data[at + 2]
    if data and data[0] & 2:
        del made[int.from_bytes(data[1:3]) % len(made) :]
    return bytes(made)


def summed(made: bytes) -> bytes:
    """With checksums that are right, as only whoever may write images anyway could make them."""
    if len(made) < HEAD_BYTES:
        return made
    body = new_sum(made[HEAD_BYTES:]).digest()
    head = made[:64] + body + made[64 + SUM_BYTES : HEAD_BYTES - SUM_BYTES]
    head = head[: HEAD_BYTES - SUM_BYTES]
    return head + new_sum(head).digest() + made[HEAD_BYTES:]


def opened(made: bytes) -> Image:
    memory = new_memory()
    try:
        os.pwrite(memory, made, 0)
        return Image.of_descriptor(memory, verify=True)
    finally:
        os.close(memory)


# What Python says to numbers that do not fit together, where checksums vouch for them.
UNFIT = (LookupError, ValueError, TypeError, OverflowError, StructError)
NAMES = [
    encode_name(name) for name in ("bad.example", "www.bad.example", "only.example", "x.pass.bad.example", "free.net")
]


def damaged_image(data: bytes) -> None:
    """A damaged image is refused; one that was made to look whole gives a bounded answer."""
    made = changed(data)
    with in_time():
        if made != WHOLE_IMAGE:
            try:
                opened(made)
            except Untrusted:
                pass
            else:
                raise AssertionError("damage that was not seen")
        try:
            wild = opened(summed(made))
        except (Untrusted, *UNFIT):
            return
        for name in NAMES:
            with suppress(*UNFIT):
                wild.by_name(name, HOUR)


def lane(data: bytes) -> None:
    """The compiled lane says what the plain one says, to any packets, with any answers of the upstream between."""
    both = Pair(POLICY)
    waiting: list[tuple[Ask, Ask]] = []
    for number, part in pieces(data):
        if number < 128 or not waiting:
            plain, behind = both.asks(part)
        elif number < 240:
            one, other = waiting[number % len(waiting)]
            said = one.data[:2] + b"\x81\x80\0\1" + part
            plain, behind = both.answers(one, other, said)
        else:
            both.now += number - 239
            continue
        assert [e.data for e in plain if isinstance(e, Reply)] == [e.data for e in behind if isinstance(e, Reply)]
        asks = [[e for e in effects if isinstance(e, Ask)] for effects in (plain, behind)]
        assert [ask.data for ask in asks[0]] == [ask.data for ask in asks[1]]
        waiting += zip(*asks, strict=True)


def lane_answer(data: bytes) -> None:
    """Whatever the lane believes of an upstream's answer, Python believes alike."""
    if len(data) < 13:
        return
    question = QUESTIONS[data[12] % 2]
    asked = pack("!6H", 7, 0x0100, 1, 0, 0, 0) + question
    agrees(asked, data[:2] + bytes([data[2] & 7 | 0x80]) + data[3:4] + b"\0\1" + data[6:12] + question + data[13:])


def lane_image(data: bytes) -> None:
    """The lane reads nothing outside an image, whatever the image says of itself."""
    split = data[0] if data else 0
    made = summed(changed(data[: 1 + 3 * split]))
    both = Pair(POLICY)
    with suppress(Untrusted, *UNFIT):
        wild = opened(made)
        both.lane.native.enforce([(wild.data, wild.head.prime, wild.head.places)], False)
    with in_time():
        for name in NAMES:
            both.lane.native.answer(pack("!6H", 1, 256, 1, 0, 0, 0) + encode_question(name, 1), 1.0, b"\1\2\3\4")
        for _number, part in pieces(data[1 + 3 * split :]):
            both.lane.native.answer(part, 1.0)


def zone(data: bytes) -> None:
    """Another's policy zone as a file: what means nothing is counted, and the rest becomes rules."""
    from feeds.errors import Failure
    from resolver.policy import Source
    from resolver.zones.master import read_master
    from resolver.zones.meaning import Meaning

    skipped: Counter[str] = Counter()
    name = encode_name("rpz.example")
    meaning = Meaning(name, None, skipped)
    with in_time():
        try:
            for record in read_master(io.BytesIO(data), name, skipped):
                assert len(record.owner) <= 255
                meaning.add(record)
        except Failure:
            return
        rules = list(meaning.rules(Source("rpz.example", 1, foreign=True), []))
    assert len(rules) <= 4 * data.count(b"\n") + 4


def https(data: bytes) -> None:
    """A client's octets over HTTP/2, in pieces of any size."""
    from resolver.https.exchange import Exchange

    exchange = Exchange()
    size = data[0] + 1 if data else 1
    with in_time():
        for at in range(1, min(len(data), 8192), size * 4):
            exchange.feed(data[at : at + size * 4])
            while (queries := exchange.step()) is not None:
                for one in queries:
                    assert 12 <= len(one.message) <= MAX_MESSAGE_BYTES
                    exchange.answer(one.stream, error_reply(one.message, 3))
            exchange.outgoing()


TARGETS: dict[str, Target] = {
    "query": query,
    "response": response,
    "session": session,
    "transfer": transfer,
    "image": damaged_image,
    "lane": lane,
    "lane-answer": lane_answer,
    "lane-image": lane_image,
    "zone": zone,
    "https": https,
}
