"""python -m tests.fuzz.seeds: writes what the corpus begins with. Findings stand beside it and are not touched."""

from collections.abc import Iterable
from pathlib import Path

import dns.edns
import dns.message

from feeds.message.building import encode_question
from tests.feeds.test_message_bombs import QUERIES, RESPONSES
from tests.fuzz.targets import QUESTIONS
from tests.resolver.play import query, response

CORPUS = Path(__file__).parent / "corpus"
MOST_BYTES = 2048
ZONE = b"""$TTL 300
$ORIGIN rpz.example.
@ 3600 IN SOA ns.rpz.example. root.rpz.example. 7 3600 600 86400 300
@ IN NS localhost.
bad.example IN CNAME .
*.bad.example 60 CNAME *. ; nodata
pass.example CNAME rpz-passthru.
drop.example CNAME rpz-drop.
tcp.example CNAME rpz-tcp-only.
page A 192.0.2.1
page AAAA 2001:db8::1
\\098\\.ad TXT "one" "t\\"wo"
24.0.2.0.192.rpz-ip CNAME .
48.zz.bad.db8.2001.rpz-ip CNAME .
32.1.2.0.192.rpz-client-ip CNAME rpz-passthru.
ns.example.rpz-nsdname CNAME .
multi ( IN
  A 192.0.2.2 )
"""


def queries() -> Iterable[bytes]:
    yield query("www.good.example", id=1)
    yield query("www.bad.example", "HTTPS", id=2, do=True)
    yield query("a.example", "ANY", edns=False, id=3)
    made = dns.message.make_query("b.example", "A", id=4)
    made.use_edns(
        0, payload=4096, options=[dns.edns.GenericOption(10, b"12345678"), dns.edns.GenericOption(12, bytes(9))]
    )
    yield made.to_wire()
    signed = query("c.example", id=5, edns=False)
    yield signed[:11] + b"\1" + signed[12:] + b"\0\0\xfa\0\xff\0\0\0\0\0\4abcd"
    yield from (data for data in QUERIES.values() if len(data) <= 200)


def answers() -> Iterable[tuple[int, bytes]]:
    """(which of QUESTIONS, the whole answer)."""
    asked = query("www.good.example", id=7)
    https = query("www.good.example", "HTTPS", id=7)
    name = "www.good.example."
    yield 0, response(asked, f"{name} 60 IN A 192.0.2.1", f"{name} 60 IN A 10.0.0.1")
    yield 0, response(asked, f"{name} 60 IN CNAME a.example.", "a.example. 60 IN CNAME www.bad.example.")
    yield 0, response(asked, f"{name} 60 IN CNAME a.example.", "a.example. 60 IN A 198.51.100.1")
    yield 0, response(
        asked, "good.example. 60 IN DNAME b.example.", f"{name} 60 IN CNAME www.b.example.",
        "www.b.example. 60 IN A 192.0.2.3",
    )  # fmt: skip
    soa = "example. 900 IN SOA ns.example. root.example. 1 3600 600 86400 120"
    yield 0, response(asked, rcode="NXDOMAIN", authority=[soa], ede=22)
    yield 0, response(asked, f"{name} 60 IN A 192.0.2.1", authority=["example. 60 IN NS ns.example."],
                      additional=["ns.example. 60 IN A 192.0.2.53"])  # fmt: skip
    yield 1, response(https, f"{name} 60 IN HTTPS 1 . alpn=h2 ipv4hint=198.51.100.9 ipv6hint=2001:db8:bad::9")
    yield 1, response(https, f"{name} 60 IN HTTPS 0 bad.example.")
    for key in ("pointer loop", "service target without an end", "250 hints", "990 SOA"):
        yield 0, RESPONSES[key][:MOST_BYTES]


def bodies() -> Iterable[bytes]:
    """For the target `response`: the header, the number of the question, what follows the question."""
    for which, data in answers():
        end = (
            12 + len(QUESTIONS[which])
            if data[12:20] == QUESTIONS[which][:8]
            else 12 + len(encode_question(b"\4bomb\7example\0", 1))
        )
        yield data[:12] + bytes([which]) + data[end:]


def piece(number: int, data: bytes) -> bytes:
    return bytes([number]) + len(data).to_bytes(2) + data


def plays() -> Iterable[bytes]:
    """Queries, answers and time, as `targets.pieces` reads them."""
    asked = query("www.good.example", id=7)
    for _which, data in list(answers())[:6]:
        yield piece(2, asked) + piece(129, data[6:]) + piece(3, asked) + piece(255, b"") + piece(2, asked)
    yield piece(2, asked) + piece(240, b"") * 8
    yield piece(2, asked) + piece(200, b"") + piece(255, b"") + piece(2, asked)
    yield b"".join(piece(n, one) for n, one in enumerate(list(queries())[:5]))
    for name in ("bad.example", "local.example", "there.example", "drop.example", "tcp.example", "x.pass.bad.example"):
        yield piece(2, query(name, id=1)) * 2


def transfers() -> Iterable[bytes]:
    made = dns.message.make_query("rpz.example", "IXFR", id=1)
    yield made.to_wire()
    soa = "rpz.example. 900 IN SOA ns.example. root.example. 1 3600 600 86400 120"
    owner, ttl, rdclass, rdtype, rdata = soa.split(" ", 4)
    made.authority.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata))
    yield made.to_wire()
    notify = dns.message.make_query("rpz.example", "SOA", id=1)
    notify.set_opcode(4)
    yield notify.to_wire()
    notify.answer.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata))
    yield notify.to_wire()


def images() -> Iterable[bytes]:
    yield b"\0" + b"\2\0\xff"
    yield b"\2\1\0\0"
    for place in (8, 16, 24, 97, 105, 113, 161, 200):
        yield b"\0" + place.to_bytes(2) + b"\x40"


def exchanges() -> Iterable[bytes]:
    from h2.connection import H2Connection

    client = H2Connection()
    client.initiate_connection()
    asked = query("www.good.example", id=0)
    fields = [(":method", "POST"), (":scheme", "https"), (":path", "/dns-query"), (":authority", "r.example"),
              ("content-type", "application/dns-message"), ("accept", "application/dns-message")]  # fmt: skip
    client.send_headers(1, fields)
    client.send_data(1, asked, end_stream=True)
    client.ping(b"12345678")
    sent = client.data_to_send()
    yield b"\xff" + sent
    yield b"\0" + sent
    yield b"\x20GET / HTTP/1.1\r\n\r\n"


def main() -> None:
    made = {
        "query": queries(),
        "response": bodies(),
        "session": plays(),
        "transfer": transfers(),
        "image": images(),
        "lane": plays(),
        "lane-answer": bodies(),
        "lane-image": [one[:1] + one for one in images()],
        "zone": [ZONE, b"@ SOA . . 1 2 3 4 5\n" + b"(" * 50],
        "https": exchanges(),
    }
    for target, seeds in made.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds):
            (folder / f"seed-{number:02d}").write_bytes(seed[:MOST_BYTES])


if __name__ == "__main__":
    main()
