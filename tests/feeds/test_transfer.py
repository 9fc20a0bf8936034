"""Zone transfers: what a secondary gets, with dnspython as the other side and no socket between."""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.xfr
import dns.zone
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.errors import Unavailable
from feeds.manifest import CHANGE_KINDS, Manifest, change_kind
from feeds.message.building import encode_name
from feeds.name import DomainName
from feeds.release import Release
from feeds.render import render
from feeds.render.rpz import zone_serial
from feeds.rule import Category, Rule, hours
from feeds.store import Store
from feeds.transfer.content import differences, order, zone_records
from feeds.transfer.kept import Folder
from feeds.transfer.line import STEPS, Line
from feeds.transfer.primary import Answer, Primary, is_acknowledged, notify_message
from feeds.transfer.settings import Secondary, Zone
from feeds.transfer.watching import Fetched, prepare, prepare_catalog
from tests.golden.sample import CANARIES, LATER, NOW, RULES, accepted, rule
from tests.rules import releases

ZONE = "rpz.blocker"
STAMP = int(NOW.timestamp())
KEY = dns.tsig.Key("isp.", b"k" * 32, "hmac-sha256")
OPEN = Secondary("open", frozenset({"192.0.2.1"}), (), None)
SIGNED = Secondary("signed", frozenset(), (), KEY)
ORIGIN = dns.name.from_text(ZONE)


FOLDERS = tempfile.TemporaryDirectory()


@dataclass(frozen=True)
class Version:
    """What a zone is made of: an accepted release, an hour, what is shown of it."""

    manifest: Manifest
    release: Release
    hour: int
    flavour: str

    directory = Path("0000007-0")

    def rules(self) -> Iterator[Rule]:
        return iter(self.release.rules)


def content(  # type: ignore[no-untyped-def]
    rules, serial: int = 7, now=NOW, flavour: str = "full", canaries=(), changed=None
) -> Version:
    made = accepted(rules, serial=serial, canaries=canaries)
    manifest = made.manifest.model_copy(update={"changed": changed or {}})
    return Version(manifest, made.release(), hours(now), flavour)


def take(line: Line, version: Version) -> bool:
    """Let the line become that version; False where it is nothing new."""
    zone = Zone(DomainName(ZONE), version.flavour)
    prepared, _shown = prepare(line, zone, version, version.hour, "")  # type: ignore[arg-type]
    if prepared is not None:
        line.take(prepared)
    return prepared is not None


def empty_line() -> Line:
    line = Line(Folder(Path(tempfile.mkdtemp(dir=FOLDERS.name))), encode_name(ZONE))
    line.open()
    return line


def line_of(*versions: Version) -> Line:
    line = empty_line()
    for version in versions:
        assert take(line, version)
    return line


def primary(line: Line) -> Primary:
    return Primary({encode_name(ZONE): line}, (OPEN, SIGNED))


def transfer(line: Line, zone: dns.zone.Zone, serial: int | None, key: dns.tsig.Key | None = None) -> int:
    """Bring `zone` up to date over TCP; the number of messages."""
    query = dns.message.make_query(ZONE, "AXFR" if serial is None else "IXFR")
    if serial is not None:
        soa = f"localhost. x. {serial} 1 1 1 1"
        query.authority.append(dns.rrset.from_text(ORIGIN, 0, "IN", "SOA", soa))
    if key:
        query.use_tsig(key)
    address = "198.51.100.9" if key else "192.0.2.1"
    answer = primary(line).asked(query.to_wire(), address, True, int(time.time()))
    assert answer is not None
    context, count = None, 0
    with dns.xfr.Inbound(zone, dns.rdatatype.AXFR if serial is None else dns.rdatatype.IXFR, serial) as inbound:
        done = False
        for wire in answer.messages:
            assert not done
            assert len(wire) <= 16_384
            count += 1
            message = dns.message.from_wire(
                wire,
                keyring=key,
                request_mac=query.mac if key else b"",
                xfr=True,
                origin=ORIGIN,
                tsig_ctx=context,
                multi=True,
                one_rr_per_rrset=serial is not None,
            )
            context = message.tsig_ctx
            assert message.had_tsig == (key is not None)
            done = inbound.process_message(message)
        assert done
    return count


def empty() -> dns.zone.Zone:
    return dns.zone.Zone(ORIGIN, relativize=True)


def text(zone: dns.zone.Zone) -> list[str]:
    return sorted(zone.to_text().splitlines())


def rendered(rules, now=NOW, serial: int = 7, form: str = "rpz", canaries=()) -> list[str]:  # type: ignore[no-untyped-def]
    lines = "".join(render(form, accepted(rules, serial=serial, canaries=canaries), now, zone=ZONE))
    return text(dns.zone.from_text(lines, ORIGIN, relativize=True))


@pytest.mark.parametrize(("form", "flavour"), [("rpz", "full"), ("rpz-names", "names")])
def test_a_whole_transfer_is_the_zone_that_render_writes(form: str, flavour: str) -> None:
    zone = empty()
    transfer(line_of(content(RULES, flavour=flavour, canaries=CANARIES)), zone, None, KEY)
    assert text(zone) == rendered(RULES, form=form, canaries=CANARIES)


def test_a_transfer_of_many_messages_is_whole_and_each_message_is_signed() -> None:
    rules = [rule(f"n{n}.example.net", number=n) for n in range(1, 4000)]
    zone = empty()
    assert transfer(line_of(content(rules)), zone, None, KEY) > 5
    assert text(zone) == rendered(rules)


def steps() -> Iterator[tuple[list, int]]:  # type: ignore[type-arg]
    chance = random.Random(3)
    for serial in range(1, 9):
        yield [rule(f"{n % 7}.n{n}.example.net", number=n) for n in range(1, 120) if chance.random() < 0.7], serial


def test_ixfr_from_every_earlier_serial_gives_what_axfr_gives_and_carries_deletions() -> None:
    made = [content(rules, serial) for rules, serial in steps()]
    line, last = line_of(*made), list(steps())[-1]
    for old in made:
        zone = empty()
        transfer(line_of(old), zone, None)
        transfer(line, zone, zone_serial(old.manifest.serial, 0), KEY)
        assert text(zone) == rendered(*last[:1], serial=last[1])


def test_a_serial_that_is_not_known_gets_the_whole_zone_and_the_present_one_a_lone_soa() -> None:
    line = line_of(*(content(RULES, serial) for serial in range(1, STEPS + 4)))
    zone = empty()
    transfer(line_of(content(RULES[:1], 1)), zone, None)
    transfer(line, zone, 1000)
    assert text(zone) == rendered(RULES, serial=STEPS + 3)
    assert transfer(line, zone, serial_of(line)) == 1
    with pytest.raises(dns.xfr.SerialWentBackwards):
        transfer(line, zone, serial_of(line) + 5)


def test_a_lapse_raises_the_serial_and_takes_the_rule_away() -> None:
    soon = hours(NOW) + 2
    rules = [rule("a.example.net", expires=soon), rule("b.example.net", number=2, expires=LATER)]
    line = line_of(content(rules))
    before = serial_of(line)
    zone = empty()
    transfer(line, zone, None)
    assert zone.get_node("a.example.net") is not None
    assert take(line, content(rules, now=NOW + timedelta(hours=2)))
    assert serial_of(line) == before + 1
    transfer(line, zone, before)
    assert zone.get_node("a.example.net") is None
    assert zone.get_node("b.example.net") is not None


def test_a_transfer_under_way_ends_with_the_content_it_began_with() -> None:
    line = line_of(content([rule(f"n{n}.example.net", number=n) for n in range(1, 4000)]))
    query = dns.message.make_query(ZONE, "AXFR").to_wire()
    answer = primary(line).asked(query, "192.0.2.1", True, STAMP)
    assert answer is not None
    first = next(answer.messages)
    assert take(line, content(RULES, 8))
    serials = {
        rrset[0].serial
        for wire in (first, *answer.messages)
        for rrset in dns.message.from_wire(wire, xfr=True).answer
        if rrset.rdtype == dns.rdatatype.SOA
    }
    assert serials == {7000}


def test_a_serial_never_goes_back() -> None:
    line = line_of(content(RULES, 8))
    assert not take(line, content(RULES, 7))
    assert not take(line, content(RULES, 8))
    assert serial_of(line) // 1000 == 8


BOTNET = frozenset({Category.BOTNET})


def mixed(serial: int, gambling: int, botnet: int, botnet_changed: int) -> Version:
    """A release with so many rules of each; the botnet ones last changed in that release."""
    rules = [rule(f"g{n}.example.net", number=n + 1) for n in range(gambling)]
    rules += [replace(rule(f"b{n}.example.net", number=n + 500), category=Category.BOTNET) for n in range(botnet)]
    changed = dict.fromkeys(CHANGE_KINDS, serial) | {
        change_kind(Category.BOTNET, name): botnet_changed for name in (True, False)
    }
    return content(rules, serial, flavour="botnet", changed=changed)


def test_a_zone_of_one_category_shows_it_alone_and_is_as_new_as_its_last_change() -> None:
    line = line_of(mixed(5, 10, 3, 2))
    assert serial_of(line) == 2000
    zone = empty()
    transfer(line, zone, None)
    assert {str(name) for name in zone} == {"@", *(f"{star}b{n}.example.net" for n in range(3) for star in ("", "*."))}
    assert not take(line, mixed(6, 20, 3, 2)), "gambling alone has changed"
    assert take(line, mixed(7, 20, 2, 7))
    assert serial_of(line) == 7000
    transfer(line, zone, 2000)
    assert zone.get_node("b2.example.net") is None


def test_two_primaries_with_different_pasts_agree_on_serial_and_content() -> None:
    late, early = line_of(mixed(7, 20, 2, 6)), line_of(mixed(5, 10, 3, 2), mixed(6, 10, 2, 6))
    assert not take(early, mixed(7, 20, 2, 6))
    assert serial_of(late) == serial_of(early) == 6000
    assert list(late.present.records()) == list(early.present.records())  # type: ignore[union-attr]


def test_a_change_that_the_manifest_does_not_tell_is_shown_under_the_serial_of_its_release() -> None:
    line = line_of(mixed(5, 10, 3, 2))
    assert take(line, mixed(6, 10, 1, 2))
    assert serial_of(line) == 6000
    assert take(line, mixed(6, 10, 2, 2))
    assert serial_of(line) == 6001


def test_a_primary_that_starts_again_goes_on_with_its_content_and_its_history() -> None:
    made = [content(rules, serial) for rules, serial in steps()]
    before = line_of(*made)
    line = Line(Folder(again(before)), encode_name(ZONE))
    line.open()
    assert (serial_of(line), line.present.about) == (serial_of(before), before.present.about)  # type: ignore[union-attr]
    zone = empty()
    transfer(line_of(made[6]), zone, None)
    assert transfer(line, zone, 7000) == 1
    assert text(zone) == rendered(made[-1].release.rules, serial=8)


@pytest.mark.parametrize("name", ["about.json", "records", "messages"])
def test_a_damaged_content_is_not_shown_and_its_steps_are_dropped(name: str) -> None:
    line = line_of(*(content(RULES[:n], n) for n in (1, 2)))
    path = again(line)
    file = next(path.glob("2*/")) / name
    file.write_bytes(file.read_bytes()[:-1])
    after = Line(Folder(path), encode_name(ZONE))
    after.open()
    assert after.present is None
    assert take(after, content(RULES, 3))
    zone = empty()
    transfer(line_of(content(RULES[:1], 1)), zone, None)
    transfer(after, zone, 1000)
    assert text(zone) == rendered(RULES, serial=3)


def test_a_second_process_is_told_that_the_zone_is_served() -> None:
    line = line_of(content(RULES))
    with pytest.raises(Unavailable, match="another process"):
        Folder(line.folder.path).hold()


def test_the_catalog_lists_the_zones_and_changes_with_the_settings_alone() -> None:
    line = empty_line()
    names = [DomainName(name) for name in ("all.blocker", "names.blocker", "csam.blocker")]

    def told(count: int, stamp: int) -> bool:
        prepared = prepare_catalog(line, names[:count], stamp)
        if prepared is not None:
            line.take(prepared)
        return prepared is not None

    assert told(2, STAMP)
    zone = empty()
    transfer(line, zone, None)
    assert zone.get_rdataset("version", "TXT").to_text() == '300 IN TXT "2"'  # type: ignore[union-attr]
    assert not told(2, STAMP + 60)
    assert told(3, STAMP + 120)
    assert told(1, STAMP + 60), "a clock that went back"
    assert serial_of(line) == STAMP + 121
    transfer(line, zone, STAMP)
    members = {rdata.target.to_text() for _n, _ttl, rdata in zone.iterate_rdatas("PTR")}
    assert members == {"all.blocker."}


def test_what_each_secondary_has_is_known_after_a_restart_and_a_damaged_account_is_forgotten(tmp_path: Path) -> None:
    store = Store.create(tmp_path, url="https://feed.example/", root=b"{}", training=True)
    line = line_of(content(RULES))
    before = Fetched(store)
    before.show(line, NOW)
    before.note(Answer(iter(()), "axfr", "isp", line.zone, serial_of(line)), NOW)
    before.note(Answer(iter(()), "soa", "gone", line.zone, serial_of(line)), NOW)
    before.keep()
    after = Fetched(store)
    after.resume([line.zone], ["isp"])
    assert (after.shown, after.secondaries) == (before.shown, {"isp": before.secondaries["isp"]})
    store.remember("zone.json", {"zones": {ZONE: {"serial": "x", "since": 3}}, "secondaries": []})
    damaged = Fetched(store)
    damaged.resume([line.zone], ["isp"])
    assert damaged.shown == {}


def again(line: Line) -> Path:
    """The line's directory, as a process finds it after the line's own was killed."""
    path = Path(tempfile.mkdtemp(dir=FOLDERS.name)) / "zone"
    shutil.copytree(line.folder.path, path)
    return path


def serial_of(line: Line) -> int:
    assert line.present is not None
    return line.present.serial


@given(st.lists(releases(), min_size=2, max_size=4))
@settings(max_examples=60)
def test_the_difference_of_two_contents_leads_from_one_to_the_other(made: list[Release]) -> None:
    zone = DomainName(ZONE)
    for pair in pairwise(made):
        before, after = (list(zone_records(r.rules, accepted([]).manifest, zone, False, {})) for r in pair)
        assert before == sorted(before, key=order)
        removed, added = differences(iter(before), iter(after), 10**6) or ([], [])
        assert sorted((Counter(before) - Counter(removed) + Counter(added)).elements()) == sorted(after)
        assert not set(removed) & set(added)


LINE = line_of(content(RULES))


def ask(data: bytes, address: str = "192.0.2.1", stream: bool = True, now: int = STAMP) -> bytes | None:
    answer = primary(LINE).asked(data, address, stream, now)
    return b"".join(answer.messages) if answer else None


def test_who_is_not_known_is_refused_without_data() -> None:
    for name, qtype, address in (
        (ZONE, "AXFR", "192.0.2.2"),
        (ZONE, "SOA", "192.0.2.2"),
        ("other.zone", "SOA", "192.0.2.1"),
        (ZONE, "A", "192.0.2.1"),
    ):
        reply = dns.message.from_wire(ask(dns.message.make_query(name, qtype).to_wire(), address) or b"")
        assert reply.rcode() == dns.rcode.REFUSED
        assert not reply.answer


def test_by_datagram_an_soa_is_answered_and_an_axfr_is_not() -> None:
    reply = dns.message.from_wire(ask(dns.message.make_query(ZONE, "SOA").to_wire(), stream=False) or b"")
    assert reply.answer[0][0].serial in (7000, 7001)
    reply = dns.message.from_wire(ask(dns.message.make_query(ZONE, "AXFR").to_wire(), stream=False) or b"")
    assert reply.rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize(
    ("key", "ahead", "error"),
    [
        (dns.tsig.Key("nobody.", b"k" * 32, "hmac-sha256"), 0, 17),
        (dns.tsig.Key("isp.", b"k" * 32, "hmac-sha512"), 0, 17),
        (dns.tsig.Key("isp.", b"x" * 32, "hmac-sha256"), 0, 16),
        (dns.tsig.Key("isp.", b"k" * 32, "hmac-sha256"), 301, 18),
        (dns.tsig.Key("isp.", b"k" * 32, "hmac-sha256-128"), 0, 17),
    ],
)
def test_a_bad_signature_gets_its_own_error_and_no_data(key: dns.tsig.Key, ahead: int, error: int) -> None:
    query = dns.message.make_query(ZONE, "AXFR")
    query.use_tsig(key)
    wire = ask(query.to_wire(), now=int(time.time()) + ahead)
    assert wire is not None
    reply = dns.message.from_wire(wire, keyring=False)
    assert reply.rcode() == dns.rcode.NOTAUTH
    assert reply.tsig is not None
    assert reply.tsig[0].error == error
    assert not reply.answer
    # Only a reply to a right key with a wrong clock may carry a proof.
    assert bool(reply.tsig[0].mac) == (error == 18)


def test_a_shortened_mac_is_refused() -> None:
    query = dns.message.make_query(ZONE, "AXFR")
    query.use_tsig(KEY)
    wire = bytearray(query.to_wire())
    # The MAC's last 16 octets go; its length, and the record's, say so.
    mac = wire.rindex(query.mac)
    del wire[mac + 16 : mac + 32]
    wire[mac - 2 : mac] = (16).to_bytes(2)
    rdlength = wire.index(b"\x0bhmac-sha256") - 2
    wire[rdlength : rdlength + 2] = (int.from_bytes(wire[rdlength : rdlength + 2]) - 16).to_bytes(2)
    reply = dns.message.from_wire(ask(bytes(wire)) or b"", keyring=False)
    assert reply.tsig is not None
    assert reply.tsig[0].error == 22


def test_no_cut_or_flipped_octet_of_a_signed_request_gets_data_or_an_exception() -> None:
    query = dns.message.make_query(ZONE, "AXFR")
    query.use_tsig(KEY)
    wire = query.to_wire()
    stamp = int(time.time())
    whole = ask(wire, now=stamp, address="198.51.100.9")
    assert whole is not None
    assert len(whole) > 500
    for place in range(2, len(wire)):
        for bad in (wire[:place], wire[:place] + bytes([wire[place] ^ 1]) + wire[place + 1 :]):
            got = ask(bad, now=stamp, address="198.51.100.9")
            # The names of keys and zones know no case, and a message's id stands outside of the signature.
            assert got is None or len(got) < 300


def test_a_notify_is_signed_and_its_answer_ends_it() -> None:
    line = line_of(content(RULES))
    wire = notify_message(line, 4242, KEY, int(time.time()))
    told = dns.message.from_wire(wire, keyring=KEY)
    assert told.opcode() == dns.opcode.NOTIFY
    assert told.answer[0][0].serial == line.present.serial  # type: ignore[union-attr]
    reply = dns.message.make_response(dns.message.from_wire(notify_message(line, 4242, None, 0)))
    assert is_acknowledged(reply.to_wire(), 4242)
    assert not is_acknowledged(reply.to_wire(), 4243)
    assert not is_acknowledged(wire, 4242)
