"""Promises of `feeds.canonical`: one byte form a release, read back whole or refused with the line."""

import io
from collections.abc import Callable

import pytest

from feeds import delta
from feeds.canonical import (
    compress,
    decompressing,
    delta_chunks,
    digest,
    read_delta,
    read_release,
    release_chunks,
    rule_line,
)
from feeds.errors import Untrusted
from feeds.release import Release
from feeds.rule import Action, Limits
from tests.rules import AUTHORITY, rule

RELEASE = Release.of(
    AUTHORITY,
    7,
    [
        rule("evil.test", 1),
        rule("=page.evil.test", 2, action=Action.LOCAL, data="192.0.2.80,2001:db8::80"),
        rule("198.51.100.0/24", 3, limits=Limits.parse("tcp/80,443")),
        rule("2001:db8:1::/48", 4, extra=(("note", "đã kiểm tra"),)),
    ],
)
GOLDEN = (
    "blocker-release 1\nauthority\tvn-test\nserial\t7\nrules\t4\n\n"
    "subtree\tevil.test\t-\tnxdomain\t\tvn-test:1\tgambling\t12/QĐ-STTTT\t2038-06-13T00Z\n"
    "exact\tpage.evil.test\t-\tlocal\t192.0.2.80,2001:db8::80\tvn-test:2\tgambling\t12/QĐ-STTTT\t2038-06-13T00Z\n"
    "prefix\t198.51.100.0/24\ttcp/80,443\tnxdomain\t\tvn-test:3\tgambling\t12/QĐ-STTTT\t2038-06-13T00Z\n"
    "prefix\t2001:db8:1::/48\t-\tnxdomain\t\tvn-test:4\tgambling\t12/QĐ-STTTT\t2038-06-13T00Z\tnote=đã kiểm tra\n"
)


def canonical(release: Release) -> bytes:
    return b"".join(release_chunks(release))


def test_the_byte_form_is_the_documented_one() -> None:
    assert canonical(RELEASE).decode() == GOLDEN


def test_a_release_survives_the_wire() -> None:
    size = digest(RELEASE).size
    packed = compress(release_chunks(RELEASE), size)
    assert read_release(decompressing(io.BytesIO(packed)), size) == RELEASE


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.replace("blocker-release 1", "blocker-release 2"), "newer program"),
        (lambda t: t.replace("blocker-release", "blocker-delta"), "no blocker-release"),
        (lambda t: t.replace("rules\t4", "rules\t5"), "cut off"),
        (lambda t: t.replace("rules\t4", "rules\t3"), "more than was announced"),
        (lambda t: t.replace("rules\t4", "rules\t04"), "not a number"),
        (lambda t: t.replace("rules\t4", "rules\t99999999999"), "not a number"),
        (lambda t: t.replace("serial\t7", "serial\t0"), "serial"),
        (lambda t: t.replace("rules\t4\n", "rules\t4\nsigned\tyes\n"), "header line"),
        (lambda t: t[:-1], "cut off"),
        (lambda t: t[:200], "cut off"),
        (lambda t: t.replace("subtree\tevil", "regex\tevil"), "kind of target"),
        (lambda t: t.replace("nxdomain", "explode", 1), "action"),
        (lambda t: t.replace("gambling", "opinion", 1), "category"),
        (lambda t: t.replace("evil.test\t-\t", "EVIL.test\t-\t", 1), "canonical"),
        (lambda t: t.replace("tcp/80,443", "tcp/443,80"), "canonical"),
        (lambda t: t.replace("note=", "Scope="), "does not know"),
        (lambda t: t.replace("vn-test:1", "vn-other:1"), "another authority"),
        (lambda t: t.replace("=page.evil", "x").replace("exact\tpage.evil.test", "exact\ta.evil.test"), ""),
        (lambda t: t.replace("exact\tpage.evil.test", "exact\taaa.test"), "out of order"),
        (lambda t: t.replace("\tvn-test:2\tgambling", "\tvn-test:2", 1), "fields"),
        (lambda t: t.replace("12/QĐ-STTTT", "", 1), "decision"),
        (lambda t: t.replace("evil.test\t-", "e" * 9000 + "\t-", 1), "too long"),
    ],
)
def test_anything_but_the_canonical_form_is_refused_with_its_reason(change: Callable[[str], str], says: str) -> None:
    changed = change(GOLDEN)
    if not says:
        assert read_release(io.BytesIO(changed.encode()))
        return
    with pytest.raises(Untrusted, match=says) as caught:
        read_release(io.BytesIO(changed.encode()))
    assert caught.value.what.startswith("line ")


def test_a_file_larger_than_announced_is_refused_before_it_is_read_whole() -> None:
    bomb = compress([b"\0" * (1 << 20)] * 64, 64 << 20)
    assert len(bomb) < 10_000
    with pytest.raises(Untrusted):
        read_release(decompressing(io.BytesIO(bomb)), 1000)
    with pytest.raises(Untrusted, match="larger than the 100 bytes"):
        read_release(io.BytesIO(GOLDEN.encode()), 100)


def test_damaged_compression_is_refused() -> None:
    packed = bytearray(compress(release_chunks(RELEASE), digest(RELEASE).size))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(Untrusted):
        read_release(decompressing(io.BytesIO(bytes(packed))))
    with pytest.raises(Untrusted):
        read_release(decompressing(io.BytesIO(b"not zstd at all")))


def test_a_later_version_s_field_with_a_small_letter_survives() -> None:
    read = read_release(io.BytesIO(GOLDEN.encode()))
    assert rule_line(read.rules[3]).endswith("\tnote=đã kiểm tra")


def test_a_delta_survives_the_wire_and_must_run_upwards() -> None:
    later = Release.of(AUTHORITY, 8, [*RELEASE.rules[1:], rule("new.test", 9)])
    made = delta.between(RELEASE, later)
    data = b"".join(delta_chunks(made))
    assert read_delta(io.BytesIO(data)) == made
    for wrong in (data.replace(b"to\t8", b"to\t7"), data.replace(b"\n+\t", b"\n-\t"), data[:-1]):
        with pytest.raises(Untrusted):
            read_delta(io.BytesIO(wrong))
