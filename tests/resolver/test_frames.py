"""A policy survives the way from the compiling process to the answering one, whole or not at all."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.message.building import encode_name
from feeds.rule import Action
from resolver.frames import (
    NAMES_PER_FRAME,
    Assembler,
    Hour,
    Loaded,
    LoadFailure,
    NewPolicy,
    ends_load,
    failure_frame,
    frame,
    hour_frame,
    policy_frames,
    whole_frames,
)
from tests.resolver.play import HOUR, compiled, rule

LOADED = Loaded(7, 3, 1, "tpa")
FAILURE = LoadFailure("what", "kept", "then", 1)
RULES = (
    rule("bad.example", number=5),
    rule("page.example", Action.LOCAL, data="notice.tpa.example", number=6),
    rule("192.0.2.0/24", number=7),
)


def taken(data: bytes, step: int) -> list[object]:
    assembler = Assembler()
    return [event for i in range(0, len(data), step) for event in assembler.feed(data[i : i + step])]


@given(st.integers(1, 5000))
def test_the_policy_that_arrives_decides_as_the_one_that_was_sent_however_it_is_cut(step):
    sent = compiled(*RULES)
    [event] = taken(b"".join(policy_frames(sent, LOADED)), step)
    assert isinstance(event, NewPolicy)
    assert event.loaded == LOADED
    for name in ("bad.example", "x.page.example", "free.example"):
        before, after = (policy.by_name(encode_name(name), HOUR) for policy in (sent, event.policy))
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert (after.entry, after.action, after.target) == (before.entry, before.action, before.target)
            assert after.ground.cname == before.ground.cname
    hit = event.policy.by_address(4, 0xC0000242, HOUR)
    assert hit is not None
    assert hit.entry == "tpa:7"


def test_more_names_than_a_frame_holds_all_arrive():
    many = compiled(*(rule(f"n{i}.example", number=i + 1) for i in range(2 * NAMES_PER_FRAME + 1)))
    [event] = taken(b"".join(policy_frames(many, LOADED)), 65_536)
    assert isinstance(event, NewPolicy)
    assert len(event.policy) == 2 * NAMES_PER_FRAME + 1


def test_what_a_failed_load_began_is_forgotten():
    begun = list(policy_frames(compiled(*RULES), LOADED))[:-1]
    whole = b"".join([*begun, failure_frame(FAILURE), *policy_frames(compiled(RULES[1]), LOADED)])
    failure, event = taken(whole, 100)
    assert failure == FAILURE
    assert isinstance(event, NewPolicy)
    assert len(event.policy) == 1
    assert event.policy.by_name(encode_name("bad.example"), HOUR) is None


def test_a_torn_last_frame_is_left_out_so_that_the_next_one_is_read_right():
    frames = list(policy_frames(compiled(*RULES), LOADED))
    torn = b"".join(frames)[:-3]
    passed = list(whole_frames(io.BytesIO(torn)))
    assert passed == frames[:-1]
    assert not ends_load(passed[-1])
    assert ends_load(frames[-1])
    assert ends_load(failure_frame(FAILURE))


def test_the_hour_comes_between_loads():
    assert taken(hour_frame(HOUR), 3) == [Hour(HOUR)]


@pytest.mark.parametrize("data", [frame(b"?", b""), b"\xff\xff\xff\xffE"])
def test_what_no_compiler_of_ours_sends_is_an_error(data):
    with pytest.raises(ValueError, match="frame"):
        list(Assembler().feed(data))
