"""Promises of foreign zones: what a record means, what is left out, what a client is told, what stays if one fails."""

import gzip
import io
import json
import os
import resource
import socket
import time
from collections import Counter
from pathlib import Path

import dns.message
import dns.query
import pytest
from click.testing import CliRunner

from feeds.errors import Failure
from feeds.message import read_query
from feeds.message.building import encode_name
from feeds.rule import Action
from resolver.answer import blocked_answer
from resolver.command import dns as dns_group
from resolver.command.serve import serve
from resolver.image import new_memory
from resolver.loading import Origin
from resolver.policy import Ground, Hit, Layer, Policy, Source, client_address
from resolver.zones.keeping import keep_zone
from resolver.zones.master import read_master
from resolver.zones.meaning import Meaning, override_of
from resolver.zones.settings import ForeignZone, Primary
from tests.resolver.live import accept, plain_list, resolver, upstream
from tests.resolver.play import rule

ZONE = "rpz.test"
HEAD = "$TTL 300\n@ SOA localhost. root 7 3600 600 86400 60\n"
HOUR = 500_000
MATCHED = (Action.NXDOMAIN, Action.PASSTHRU)


def read(text: str, policy: str = "given") -> tuple[Layer, Counter[str]]:
    """The layer that a zone file comes to, and what was left out."""
    skipped: Counter[str] = Counter()
    meaning = Meaning(encode_name(ZONE), override_of(policy), skipped)
    for record in read_master(io.BytesIO((HEAD + text).encode("latin-1")), meaning.zone, skipped):
        meaning.add(record)
    source, grounds = Source(ZONE, 7, foreign=True, zone=ZONE), list[Ground]()
    assert meaning.soa is not None
    return Layer(source, grounds, list(meaning.rules(source, grounds))), skipped


def hit(text: str, name: str, policy: str = "given") -> Hit | None:
    return read(text, policy)[0].by_name(encode_name(name), HOUR)


def told(text: str, name: str, rtype: str = "A") -> dns.message.Message:
    """What a client that asks for `name` is told."""
    found = hit(text, name.lower())
    assert found is not None
    query = read_query(dns.message.make_query(name, rtype, use_edns=0).to_wire())
    data = blocked_answer(found, query, over_tcp=False)
    assert data is not None
    return dns.message.from_wire(data)


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("bad.example CNAME .", Action.NXDOMAIN),
        ("bad.example CNAME *.", Action.NODATA),
        ("bad.example CNAME rpz-passthru.", Action.PASSTHRU),
        ("bad.example CNAME bad.example.", Action.PASSTHRU),
        ("bad.example CNAME RPZ-Drop.", Action.DROP),
        ("bad.example CNAME rpz-tcp-only.", Action.TCP_ONLY),
        ("BAD.Example IN 60 CNAME other.example.", Action.LOCAL),
        ("bad.example A 192.0.2.1", Action.LOCAL),
        ("\\098ad.example CNAME .", Action.NXDOMAIN),
        ("bad.example.rpz.test. CNAME .", Action.NXDOMAIN),
        ("$ORIGIN example.rpz.test.\nbad CNAME .", Action.NXDOMAIN),
        ("bad.example ( CNAME ; note\n . )", Action.NXDOMAIN),
    ],
)
def test_each_action_is_known_however_it_is_written(line: str, action: Action) -> None:
    found = hit(line, "bad.example")
    assert found is not None
    assert found.action is action


@pytest.mark.parametrize(
    ("owner", "prefix"),
    [
        ("24.0.2.0.192", "192.0.2.0/24"),
        ("32.1.2.0.192", "192.0.2.1/32"),
        ("1.0.0.0.128", "128.0.0.0/1"),
        ("48.zz.101.db8.2001", "2001:db8:101::/48"),
        ("128.57.zz.101.db8.2001", "2001:db8:101::57/128"),
        ("128.8.7.6.5.4.3.2.1", "1:2:3:4:5:6:7:8/128"),
        ("64.0.0.0.0.4.3.2.1", "1:2:3:4::/64"),
    ],
)
def test_prefixes_are_read_as_the_draft_writes_them(owner: str, prefix: str) -> None:
    for word, held in (("rpz-ip", "prefixes"), ("rpz-client-ip", "clients")):
        layer, skipped = read(f"{owner}.{word} CNAME .")
        assert not skipped
        [spans] = getattr(layer, held).values()
        assert [str(found) for found, _value, _wider in spans.rules] == [prefix]


BOMBS = {
    "outside": ["bad.other.test. CNAME .", "bad.xrpz.test. CNAME .", "x\\.rpz.test. CNAME ."],
    "class": ["bad.example CH A 192.0.2.1"],
    "name": ["bad.example CNAME \\", "* CNAME .", "a.*.example CNAME .", "*.*.example CNAME .",
             f"{'a' * 64}.example CNAME .", "a..b CNAME .",
             f"{'.'.join(['a' * 60] * 4)}.example CNAME .", "b\u00e9d.example CNAME ."],
    "prefix": ["0.0.0.0.0.rpz-ip CNAME .", "33.1.2.0.192.rpz-ip CNAME .", "129.zz.1.rpz-ip CNAME .",
               "24.1.2.0.192.rpz-ip CNAME .", "32.256.2.0.192.rpz-ip CNAME .", "32.2.0.192.rpz-ip CNAME .",
               "rpz-ip CNAME .", "32.1.2.0.192.x.rpz-client-ip CNAME .", "64.zz.1.zz.2.rpz-ip CNAME .",
               "*.rpz-ip CNAME .", "120.9.zz.ffff.0.0.0.0.0.rpz-ip CNAME ."],
    "type": ["bad.example NS ns.example.", "bad.example DNAME other.example.", "bad.example SOA a. b. 1 1 1 1 1"],
    "data": ["bad.example A 192.0.2.256", "bad.example A", "bad.example AAAA x", "bad.example CNAME",
             "bad.example CNAME a. b.", "bad.example TYPE1 \\# 3 0a0000",
             "bad.example MX mail.example.", 'bad.example TXT "open'],
    "action": ["bad.example CNAME rpz-whatever.", "bad.example CNAME *.rpz-drop."],
    "trigger": ["bad.rpz-something CNAME ."],
    "nsdname": ["ns.bad.example.rpz-nsdname CNAME ."],
    "nsip": ["32.1.2.0.192.rpz-nsip CNAME ."],
    "syntax": ["bad.example 300", "bad.example WHAT x", ")",
               "bad.example A ( 192.0.2.1", "99999999999x bad CNAME ."],
    "directive": ["$INCLUDE /etc/passwd", "$GENERATE 1-1000000000 a$ CNAME .", "$TTL"],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "line"), [(reason, line) for reason, lines in BOMBS.items() for line in lines])
def test_what_means_nothing_is_counted_and_the_rest_counts(reason: str, line: str) -> None:
    layer, skipped = read(f"first.example CNAME .\n{line}\n{'x' * 0}\n$ORIGIN {ZONE}.\nlast.example CNAME .\n")
    if "(" not in line:
        assert meets(layer, "last.example"), "what follows is read"
        assert skipped.total() == 1
    assert meets(layer, "first.example")
    assert not meets(layer, "bad.example")
    assert set(skipped) == {reason}


def meets(layer: Layer, name: str) -> bool:
    return layer.by_name(encode_name(name), HOUR) is not None


def test_of_two_rules_for_one_target_the_first_counts_and_the_other_is_counted() -> None:
    layer, skipped = read(
        "a.example CNAME .\na.example CNAME *.\nA.example CNAME .\n"
        "b.example A 192.0.2.1\nb.example A 192.0.2.1\nb.example CNAME .\nc.example CNAME .\nc.example TXT x\n"
        "24.0.2.0.192.rpz-ip CNAME .\n24.0.2.0.192.rpz-ip CNAME *.\n"
        "64.zz.3.2.1.rpz-ip CNAME .\n64.0.0.0.0.0.3.2.1.rpz-ip CNAME *.\n"
    )
    assert skipped == {"duplicate": 5, "conflict": 2}
    assert len(layer) == 5
    found = layer.by_name(encode_name("a.example"), HOUR)
    assert found is not None
    assert found.action is Action.NXDOMAIN


def test_one_name_holds_no_more_than_some_records() -> None:
    many = "".join(f"a.example A 192.0.{n // 256}.{n % 256}\n" for n in range(100))
    large = f"b.example TXT {' '.join([chr(34) + 'x' * 250 + chr(34)] * 40)}\n"
    layer, skipped = read(many + large)
    assert skipped == {"size": 37}
    assert not meets(layer, "b.example"), "no record of it is left, so it is no rule"


def test_an_answer_has_the_clients_letters_the_records_and_their_time_to_live() -> None:
    zone = 'loc.example 77 A 192.0.2.1\n 88 TXT "a b" c\n 99 MX 5 Mail.Example.\n'
    for rtype, expected in (
        ("A", ["LoC.eXample. 77 IN A 192.0.2.1"]),
        ("TXT", ['LoC.eXample. 88 IN TXT "a b" "c"']),
        ("MX", ["LoC.eXample. 99 IN MX 5 Mail.Example.rpz.test."]),
        ("AAAA", []),
    ):
        reply = told(zone.replace("Mail.Example.", "Mail.Example.rpz.test."), "LoC.eXample", rtype)
        assert [rrset.to_text() for rrset in reply.answer] == expected
        assert reply.rcode() == 0
    [option] = reply.options
    assert option.to_text() == "EDE 15 (Blocked): list rpz.test"
    [soa] = [rrset for rrset in reply.additional if rrset.rdtype == dns.rdatatype.SOA]
    assert soa.name.to_text() == "rpz.test."
    assert soa[0].serial == 7


def test_a_walled_garden_is_told_which_name_was_asked_for() -> None:
    zone = "*.bad.example 66 CNAME *.walled.example.\n"
    [rrset] = told(zone, "X.bad.Example", "TXT").answer
    assert rrset.to_text() == "X.bad.Example. 66 IN CNAME X.bad.Example.walled.example."
    long = ".".join(["a" * 59] * 4) + ".bad.example"
    reply = told("*.example CNAME *.walled.example.\n", long[8:])
    assert (dns.rcode.to_text(reply.rcode()), reply.answer) == ("YXDOMAIN", [])


def test_a_rule_says_what_it_is() -> None:
    zone = "a.example CNAME .\n*.a.example CNAME .\n"
    assert [found.target for name in ("a.example", "b.a.example") if (found := hit(zone, name))] == [
        "=a.example",
        "*.a.example",
    ]


@pytest.mark.parametrize(
    ("policy", "action"),
    [("nxdomain", Action.NXDOMAIN), ("passthru", Action.PASSTHRU), ("tcp-only", Action.TCP_ONLY)],
)
def test_a_policy_overrides_what_the_rules_say(policy: str, action: Action) -> None:
    zone = "a.example CNAME *.\n*.b.example A 192.0.2.1\nc.example CNAME rpz-passthru.\n"
    for name in ("a.example", "x.b.example", "c.example"):
        found = hit(zone, name, policy)
        assert found is not None
        assert found.action is action
    assert hit(zone, "b.example", policy) is None


def test_a_policy_cname_points_everything_to_one_name() -> None:
    found = hit("a.example CNAME .\n", "a.example", "cname walled.example")
    assert found is not None
    assert found.ground.cname == encode_name("walled.example")


def test_a_hundred_thousand_rules_take_seconds_and_little_memory() -> None:
    text = HEAD + "".join(
        f"n{n}.h{n % 997}.example CNAME .\n*.n{n}.h{n % 997}.example CNAME .\n" for n in range(50_000)
    )
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    layer, skipped = read(text.removeprefix(HEAD))
    assert time.process_time() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10
    assert (len(layer), skipped.total()) == (100_000, 0)


# Loading: what is there, what stays, what is said.


def zone_file(tmp_path: Path, text: str, name: str = "rpz.zone") -> ForeignZone:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return ForeignZone(ZONE, path)


def load(origin: Origin, held: dict[str, int] | None = None) -> tuple[Policy, dict[str, int], object]:
    """The policy of a load, as the control process and a lane make it; its images; and what is said of the zone."""
    from resolver.image import Image, keep

    memories = {part: new_memory() for part in origin.parts}
    compiled = origin.load(memories, held)
    used = {part: memories[part] if is_new else (held or {})[part] for part, is_new in compiled.layers}
    for path, part in compiled.kept:
        keep(path, memories[part])
    return Policy(Image.of_descriptor(used[part]) for part, _new in compiled.layers), used, compiled.loaded.zones[0]


def test_a_zone_that_cannot_be_read_any_more_stays_as_it_was(tmp_path: Path) -> None:
    zone = zone_file(tmp_path, HEAD + "bad.example CNAME .\n")
    origin = Origin(zones=(zone,), zone_state=tmp_path / "state")
    (tmp_path / "state").mkdir()
    _policy, held, told = load(origin)
    assert (told.serial, told.rules, told.problem) == (7, 1, "")  # type: ignore[attr-defined]
    zone_file(tmp_path, "bad.example CNAME .\n")
    for before in (held, None):
        policy, _held, told = load(origin, before)
        assert policy.by_name(encode_name("bad.example"), HOUR), "from memory, and after a restart from disk"
        assert "no SOA record" in told.problem  # type: ignore[attr-defined]


def test_a_file_that_never_could_be_read_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    for text, why in (("bad.example CNAME .\n", "no SOA record of the zone rpz.test"), (None, "cannot be read")):
        zone = zone_file(tmp_path, text) if text else ForeignZone(ZONE, tmp_path / "nowhere")
        with pytest.raises(Failure, match=why):
            load(Origin(zones=(zone,), zone_state=tmp_path))


def test_a_keeper_asks_its_primary_where_a_units_filter_forbids_it_to_give_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_by: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "nice", forbidden)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        primary = Primary((closed.getsockname(),))
        reading, writing = os.pipe()
        os.close(writing)
        keep_zone(ForeignZone(ZONE, primary=primary), tmp_path, reading, lambda *_told, **_more: None)
    os.close(reading)
    assert (tmp_path / f"{ZONE}.checked").read_text(), "it asked, and noted why it got nothing"


def test_what_has_not_changed_is_not_made_again(tmp_path: Path) -> None:
    zone = zone_file(tmp_path, HEAD + "bad.example CNAME .\n", "rpz.zone.gz")
    origin = Origin(zones=(zone,))
    _policy, held, _told = load(origin)
    _policy, again, told = load(origin, held)
    assert again == held
    assert told.rules == 1  # type: ignore[attr-defined]


def test_a_disabled_zone_is_told_about_and_takes_no_match(tmp_path: Path) -> None:
    zone = ForeignZone(
        ZONE, zone_file(tmp_path, HEAD + "bad.example CNAME .\nx CNAME rpz-x.\n").path, policy="disabled"
    )
    policy, _held, told = load(Origin(zones=(zone,), exceptions=plain_list(tmp_path, "good.example")))
    assert len(policy.layers) == 1
    assert (told.rules, told.skipped, told.policy) == (1, {"action": 1}, "disabled")  # type: ignore[attr-defined]


def test_exceptions_the_feed_and_zones_are_asked_in_that_order_and_a_broken_zone_holds_nothing_up(
    tmp_path: Path,
) -> None:
    state, zones = tmp_path / "feed", tmp_path / "zones"
    zones.mkdir()
    accept(state, 1, rule("feed.example", Action.NODATA), rule("good.feed.example"))
    text = HEAD + "feed.example CNAME .\nzone.example CNAME .\nok.example CNAME rpz-passthru.\nexc.example CNAME .\n"
    one = zone_file(tmp_path, text)
    (tmp_path / "two.zone").write_text(HEAD + "ok.example CNAME .\nlate.example A 192.0.2.7\n")
    exceptions = plain_list(tmp_path, "exc.example", "good.feed.example")
    with (
        upstream() as up,
        resolver(
            tmp_path, [up.address], "--state", str(state), "--except", str(exceptions), "--zone", f"{ZONE}={one.path}",
            "--zone", f"two.test={tmp_path}/two.zone", "--zone-state", str(zones), "--lanes", "1",
        ) as live,
    ):  # fmt: skip

        def verdict(name: str) -> str:
            reply = live.asks(name)
            said = " ".join(option.to_text() for option in reply.options)
            word = "15" if "EDE 15" in said else "16" if "EDE 16" in said else "answer"
            return f"{dns.rcode.to_text(reply.rcode())} {word}"

        assert verdict("feed.example") == "NOERROR 16", "the feed comes before the zone"
        assert verdict("Zone.Example") == "NXDOMAIN 15"
        assert verdict("ok.example") == "NOERROR answer", "rpz-passthru stops later zones"
        assert verdict("exc.example") == "NOERROR answer"
        assert verdict("good.feed.example") == "NOERROR answer"
        assert verdict("late.example") == "NOERROR 15"
        met = [f'blocker_dns_zone_matches_total{{action="{a}",trigger="qname",zone="{ZONE}"}}' for a in MATCHED]
        before = live.metrics()
        for _n in range(5):
            verdict("zone.example")
            verdict("ok.example")
        after = live.metrics()
        assert [after[series] - before[series] for series in met] == [5, 5], "each is counted once, in either lane"
        one.path.write_text("garbage")  # type: ignore[union-attr]
        accept(state, 2, rule("new.example"))
        live.waits_for("enforcing", 2)
        until = time.monotonic() + 10
        while verdict("new.example") != "NXDOMAIN 16" and time.monotonic() < until:
            time.sleep(0.1)
        assert verdict("new.example") == "NXDOMAIN 16", "a broken zone holds up no release"
        assert verdict("zone.example") == "NXDOMAIN 15", "what was in force of the zone stays"
        found = live.metrics()
        assert found[f'blocker_dns_zone_stale{{zone="{ZONE}"}}'] == 1
        assert found[f'blocker_dns_zone_rules{{zone="{ZONE}"}}'] == 4
        assert any("no SOA record" in str(line.get("problem")) for line in live.log() if line["event"] == "zone")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--zone", "rpz.test"], "is not ZONE=VALUE"),
        (["--zone", "=x"], "is not ZONE=VALUE"),
        (["--zone", "a..b=x"], "is not ZONE=VALUE"),
        (["--zone", "a/b=x"], "is not ZONE=VALUE"),
        (["--zone", "a=x", "--zone", "A.=y"], "two zones have the name a"),
        (["--zone", "a=x", "--zone-policy", "b=drop"], "there is no zone b"),
        (["--zone", "a=x", "--zone-policy", "a=local"], "a policy is given"),
        (["--zone", "a=x", "--zone-policy", "a=drop it"], "a policy is given"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(arguments: list[str], why: str) -> None:
    done = CliRunner().invoke(serve, ["--upstream", "127.0.0.9", *arguments])
    assert done.exit_code == 2
    assert why in done.output


def test_settings_of_a_primary_are_read_from_a_file_and_all_faults_told(tmp_path: Path) -> None:
    path = tmp_path / "zones.toml"
    path.write_text('[zone."rpz.test"]\nkey = "k"\nsecret_file = "none"\ncolour = "red"\n')
    arguments = ["--upstream", "127.0.0.9", "--zone", "rpz.test=127.0.0.8", "--zone-settings", str(path)]
    done = CliRunner().invoke(serve, arguments)
    assert isinstance(done.exception, Failure)
    assert [problem.message.partition(":")[0] for problem in done.exception.problems] == [
        "unknown setting",
        "none cannot be read",
    ]
    path.write_text('[zone."other.test"]\n')
    done = CliRunner().invoke(serve, arguments)
    assert done.exit_code == 2
    assert "no zone other.test is transferred" in done.output


def test_zones_are_shown_with_what_was_left_out_and_why(tmp_path: Path) -> None:
    good = zone_file(tmp_path, HEAD + "bad.example CNAME .\nns.example.rpz-nsdname CNAME .\n")
    told = ["--zone-state", str(tmp_path), "--zone", f"{ZONE}={good.path}"]
    done = CliRunner().invoke(dns_group, ["zones", *told, "--json"])
    assert done.exit_code == 0
    [zone] = json.loads(done.output)["zones"]
    assert (zone["zone"], zone["serial"], zone["rules"], zone["skipped"]) == (ZONE, 7, 1, {"nsdname": 1})
    done = CliRunner().invoke(dns_group, ["zones", *told, "--zone", f"two.test={tmp_path}/nowhere"])
    assert done.exit_code == 1
    assert "names of name servers are not looked at" in done.output
    assert "No such file" in done.output


def test_a_client_is_met_by_his_address_before_the_name_and_told_no_more_than_others(tmp_path: Path) -> None:
    zone = zone_file(
        tmp_path,
        HEAD
        + "32.2.0.0.127.rpz-client-ip CNAME .\n128.1.zz.rpz-client-ip CNAME *.\nfree.example CNAME rpz-passthru.\n",
    )
    words = ("--zone", f"{ZONE}={zone.path}", "--zone-state", str(tmp_path), "--lanes", "1")
    with upstream() as up, resolver(tmp_path, [up.address], *words) as live:
        query = dns.message.make_query("free.example", "A", use_edns=0)
        for client, rcode in (("127.0.0.2", "NXDOMAIN"), ("127.0.0.3", "NOERROR")):
            for ask in (dns.query.udp, dns.query.tcp):
                reply = ask(query, "127.0.0.1", port=live.port, source=client, timeout=3)
                assert dns.rcode.to_text(reply.rcode()) == rcode
        reply = dns.query.udp(query, "::1", port=live.port, timeout=3)
        assert (reply.rcode(), reply.answer) == (0, [])
        assert [option.to_text() for option in reply.options] == [f"EDE 15 (Blocked): list {ZONE}"]
        found = live.metrics()
        assert found[f'blocker_dns_zone_matches_total{{action="nxdomain",trigger="client-ip",zone="{ZONE}"}}'] == 2


@pytest.mark.parametrize(
    "line",
    [
        "a CNAME b" + " " * 100_000 + "!",
        "a" + " " * 100_000 + "1" + " " * 100_000 + "x",
        "(" * 100_000,
        "a TXT " + "\\" * 100_000,
        "a TXT " + "x " * 50_000,
        "a CNAME " + "a." * 50_000,
        "a " + "1" * 100_000 + " CNAME .",
        "a MX " + "9" * 100_000 + " b.",
    ],
    ids=["blanks", "more blanks", "parentheses", "backslashes", "strings", "labels", "ttl", "number"],
)
def test_no_line_however_long_takes_more_than_a_moment(line: str) -> None:
    started = time.process_time()
    layer, _skipped = read(f"{line}\nlast.example CNAME .\n")
    assert time.process_time() - started < 2
    assert meets(layer, "last.example") or "(" in line


def test_the_example_of_the_draft_means_what_the_draft_says_of_it() -> None:
    example = Path(__file__).parent.parent / "golden" / "draft.rpz.zone"
    layer, skipped = read(example.read_text())
    policy = Policy([layer])
    assert skipped == {"nsdname": 1, "nsip": 1}

    def by_name(name: str) -> str:
        found = policy.by_name(encode_name(name), HOUR)
        return str(found.action) if found else "none"

    def by(trigger: str, address: str) -> str:
        where = client_address(address)
        found = policy.by_address(*where, HOUR) if trigger == "ip" else layer.by_client(*where, HOUR)
        return f"{found.trigger} {found.action}" if found else "none"

    assert [by_name(f"{label}.domain.com") for label in ("nxdomain", "nodata", "bad", "ok", "x.bzone", "bzone")] == [
        "nxdomain", "nodata", "local", "passthru", "local", "none",
    ]  # fmt: skip
    assert [by_name(name) for name in ("example.com", "a.b.example.com", "domain.com", "com")] == [
        "tcp_only", "tcp_only", "none", "none",
    ]  # fmt: skip
    assert [by("ip", address) for address in ("127.0.0.2", "127.0.0.1", "128.0.0.1")] == [
        "ip nxdomain", "ip passthru", "none",
    ]  # fmt: skip
    assert [by("client", address) for address in ("2001::9", "::ffff:127.0.0.1", "10.1.2.3", "10.0.1.1")] == [
        "client-ip drop", "client-ip drop", "client-ip tcp_only", "none",
    ]  # fmt: skip
