"""Whatever a primary sends, the old zone stays until a whole and newer one is there; nothing it does takes for ever."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import pytest

from feeds.errors import Unavailable
from feeds.message.building import encode_name
from feeds.transfer.settings import read_pin
from resolver.zones import pulling
from resolver.zones.copies import Writing, read_copy, serial_of
from resolver.zones.notices import notified
from resolver.zones.pulling import Pulled, pull
from resolver.zones.settings import ForeignZone, Primary
from tests.interop.test_transfer_unbound import certificate

ZONE = "rpz.test"
ORIGIN = dns.name.from_text(ZONE)
# What a primary does with one question: gives whole messages to send, perhaps for ever.
Mind = Callable[[dns.message.Message], Iterator[bytes]]


def rrset(name: str, kind: str, data: str, rdclass: str = "IN") -> dns.rrset.RRset:
    return dns.rrset.from_text(dns.name.from_text(name, ORIGIN), 300, rdclass, kind, data)


def soa(serial: int) -> dns.rrset.RRset:
    return rrset("@", "SOA", f"localhost. root. {serial} 10 10 86400 60")


def rule(name: str, data: str = ".") -> dns.rrset.RRset:
    return rrset(name, "CNAME", data)


def answer(query: dns.message.Message, *sets: dns.rrset.RRset) -> bytes:
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA
    reply.answer = list(sets)
    return reply.to_wire()


def serving(serial: int, *transfer: dns.rrset.RRset) -> Mind:
    """An honest SOA, and one message for the transfer."""

    def mind(query: dns.message.Message) -> Iterator[bytes]:
        asks_soa = query.question[0].rdtype == dns.rdatatype.SOA
        yield answer(query, soa(serial)) if asks_soa else answer(query, *transfer)

    return mind


def honest(serial: int, *names: str) -> Mind:
    return serving(serial, soa(serial), *map(rule, names), soa(serial))


@contextmanager
def primary(mind: Mind, tls: ssl.SSLContext | None = None) -> Iterator[ForeignZone]:
    """The zone of a primary on loopback that does what its mind says."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk(stream: socket.socket) -> None:
            try:
                stream.settimeout(10)
                if tls is not None:
                    stream = tls.wrap_socket(stream, server_side=True)
                with stream:
                    size = int.from_bytes(stream.recv(2))
                    query = stream.recv(size)
                    for data in mind(dns.message.from_wire(query)) if query else ():
                        stream.sendall(len(data).to_bytes(2) + data)
            except OSError:
                return

        def serve() -> None:
            while True:
                try:
                    stream, _client = listening.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(stream,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield ForeignZone(ZONE, primary=Primary((listening.getsockname(),)))
        finally:
            listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy with serial 5 and one rule."""
    path = tmp_path / "rpz.test.records"
    with primary(honest(5, "old.example")) as zone:
        assert pull(zone, path) == Pulled(5, True, 10, 10)
    return path


def owners(path: Path) -> set[bytes]:
    with path.open("rb") as file:
        return {record.owner for record in read_copy(file)}


def stays(path: Path, zone: ForeignZone, why: str) -> None:
    before = path.read_bytes()
    with pytest.raises(Unavailable, match=why):
        pull(zone, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "nothing half done is left"


def test_a_newer_zone_takes_the_place_of_the_old_and_the_same_serial_is_not_fetched(path: Path) -> None:
    with primary(honest(6, "new.example")) as zone:
        assert pull(zone, path).changed
        assert not pull(zone, path).changed
    assert owners(path) == {encode_name(ZONE), encode_name(f"new.example.{ZONE}")}
    assert serial_of(path) == 6


BAD = {
    "no closing SOA": (serving(6, soa(6), rule("x.example")), "closed the connection before the end"),
    "no SOA at all": (serving(6, rule("x.example")), "first RRset is not an SOA|No answer"),
    "another SOA in the middle": (serving(6, soa(6), rule("x"), soa(7), rule("y"), soa(6)), "unexpected origin SOA"),
    "records after the end": (serving(6, soa(6), rule("x"), soa(6), rule("y")), "answers after final SOA"),
    "a wrong class": (serving(6, soa(6), rrset("x", "TXT", "y", "CH"), soa(6)), "another class than IN"),
    "a serial that went back": (honest(4, "x.example"), "serial went back from 5 to 4"),
    "nothing": (lambda query: iter(()), "closed the connection"),
    "no message": (lambda query: iter([b"\0" * 20]), "127.0.0.1"),
}


@pytest.mark.parametrize("fault", list(BAD))
def test_a_bad_transfer_leaves_the_old_zone(path: Path, fault: str) -> None:
    mind, why = BAD[fault]
    with primary(mind) as zone:
        stays(path, zone, why)


def test_another_zone_in_the_answer_leaves_the_old_zone(path: Path) -> None:
    def mind(query: dns.message.Message) -> Iterator[bytes]:
        other = dns.message.make_query("other.test.", query.question[0].rdtype, id=query.id)
        yield answer(other, soa(6))

    with primary(mind) as zone:
        stays(path, zone, "something else than it was asked|wrong question")


def test_a_stream_without_end_is_cut_off_by_its_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolver.zones.copies.MAX_RECORDS", 500)
    monkeypatch.setattr("resolver.zones.pulling.MAX_DELTA_RECORDS", 500)

    def mind(query: dns.message.Message) -> Iterator[bytes]:
        yield answer(query, soa(6))
        number = 0
        while query.question[0].rdtype != dns.rdatatype.SOA:
            yield answer(query, *(rule(f"n{number + k}.example") for k in range(100)))
            number += 100

    with primary(mind) as zone:
        stays(path, zone, "more than 500 records")


def test_a_slow_stream_is_cut_off_by_time_be_it_silent_or_an_octet_at_a_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(pulling, "LIFETIME_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            for gap in (5.0, 0.2):
                try:
                    with listening.accept()[0] as stream:
                        for _octet in range(20):
                            stream.sendall(b"\1")
                            time.sleep(gap)
                except OSError:
                    continue

        threading.Thread(target=drip, daemon=True).start()
        zone = ForeignZone(ZONE, primary=Primary((listening.getsockname(),)))
        started = time.monotonic()
        stays(path, zone, "too slow")
        listening.settimeout(6)
    assert time.monotonic() - started < 3


def test_a_difference_is_applied_and_one_that_does_not_fit_brings_the_whole_zone(path: Path) -> None:
    asked = []

    def mind(query: dns.message.Message) -> Iterator[bytes]:
        kind = query.question[0].rdtype
        asked.append(dns.rdatatype.to_text(kind))
        if kind == dns.rdatatype.SOA:
            yield answer(query, soa(serial))
        elif kind == dns.rdatatype.IXFR:
            yield answer(query, soa(serial), soa(serial - 1), *gone, soa(serial), *come, soa(serial))
        else:
            yield answer(query, soa(serial), rule("whole.example"), soa(serial))

    serial, gone, come = 6, [rule("old.example")], [rule("new.example"), rule("more.example", "*.")]
    with primary(mind) as zone:
        pull(zone, path)
        assert owners(path) == {encode_name(ZONE)} | {encode_name(f"{n}.example.{ZONE}") for n in ("new", "more")}
        serial, gone, come = 7, [rule("never.example")], []
        pull(zone, path)
    assert owners(path) == {encode_name(ZONE), encode_name(f"whole.example.{ZONE}")}
    assert asked == ["SOA", "IXFR", "SOA", "IXFR", "AXFR"]


def test_a_copy_that_is_cut_or_changed_on_disk_is_not_used(path: Path) -> None:
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:20], b"", whole[:30] + bytes([whole[30] ^ 1]) + whole[31:]):
        path.write_bytes(damaged)
        assert serial_of(path) is None
    with primary(honest(5, "again.example")) as zone:
        assert pull(zone, path).changed
    assert encode_name(f"again.example.{ZONE}") in owners(path)


def test_a_full_disk_leaves_the_old_zone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Writing, _serial: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writing, "finish", full)
    with primary(honest(6, "new.example")) as zone:
        stays(path, zone, "No space left on device")


def test_over_tls_only_the_primary_with_the_pinned_key_is_believed(tmp_path: Path) -> None:

    shown, key = certificate(tmp_path / "one", "primary")
    other, _key = certificate(tmp_path / "two", "primary")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, key)
    path = tmp_path / "zone" / "rpz.test.records"
    path.parent.mkdir()
    with primary(honest(5, "bad.example"), context) as zone:
        assert zone.primary is not None
        for wanted, good in ((shown, True), (other, False)):
            pinned = Primary(zone.primary.addresses, None, read_pin(tmp_path, wanted))
            asked = ForeignZone(ZONE, primary=pinned)
            if good:
                assert pull(asked, path).serial == 5
            else:
                stays(path, asked, "another key than the settings say")


def test_only_the_primary_itself_can_say_that_a_zone_has_changed() -> None:
    key = dns.tsig.Key("k1.", bytes(32))
    zone = ForeignZone(ZONE, primary=Primary((("192.0.2.1", 53),), key))
    zones, now = {zone.wire: zone}, int(time.time())

    def notify(name: str = ZONE, kind: str = "SOA", signed: dns.tsig.Key | None = None) -> bytes:
        made = dns.message.make_query(name, kind, flags=dns.flags.AA)
        made.set_opcode(dns.opcode.NOTIFY)
        if signed is not None:
            made.use_tsig(signed)
        return made.to_wire()

    told = notified(notify(), "192.0.2.1", zones, now)
    assert told is not None
    reply = dns.message.from_wire(told[1])
    assert (told[0], reply.opcode(), reply.rcode(), bool(reply.flags & dns.flags.QR)) == (
        ZONE, dns.opcode.NOTIFY, 0, True,
    )  # fmt: skip
    assert notified(notify(signed=key), "192.0.2.1", zones, now)
    for data, sender in (
        (notify(), "192.0.2.2"),
        (notify("other.test"), "192.0.2.1"),
        (notify(kind="A"), "192.0.2.1"),
        (notify(signed=dns.tsig.Key("k1.", bytes(31) + b"x")), "192.0.2.1"),
        (notify(signed=dns.tsig.Key("k2.", bytes(32))), "192.0.2.1"),
        (notify()[:-1], "192.0.2.1"),
        (b"", "192.0.2.1"),
        (told[1], "192.0.2.1"),
    ):
        assert notified(data, sender, zones, now) is None
