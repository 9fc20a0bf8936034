"""A policy survives the way from the compiling process to the answering one, whole or not at all."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.errors import Untrusted
from feeds.message.building import encode_name
from feeds.rule import Action
from resolver.frames import (
    IMAGE,
    Assembler,
    Hour,
    Loaded,
    LoadFailure,
    NewPolicy,
    brings_image,
    ends_load,
    failure_frame,
    frame,
    hour_frame,
    part_of,
    policy_frames,
    succeeds_load,
    whole_frames,
)
from resolver.policy import Layer, Policy
from tests.resolver.image_of import image_memory
from tests.resolver.play import HOUR, SOURCE, rule

LOADED = Loaded(7, 3, 1, "tpa")
FAILURE = LoadFailure("what", "kept", "then", 1)
RULES = (
    rule("bad.example", number=5),
    rule("page.example", Action.LOCAL, data="notice.tpa.example", number=6),
    rule("192.0.2.0/24", number=7),
)
EXCEPTIONS = Layer.of_exceptions([rule("good.bad.example").target])
BOTH = (("exceptions", True), ("feed", True))
FEED = BOTH[1:]


def taken(data: bytes, step: int, *descriptors: int) -> list[object]:
    """The events of some bytes that come in pieces; descriptors come with the first."""
    assembler = Assembler()
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    return [event for i, part in enumerate(pieces) for event in assembler.feed(part, () if i else descriptors)]


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@given(st.integers(1, 5000))
def test_the_policy_that_arrives_decides_as_the_one_that_was_sent_however_it_is_cut(step):
    memories = image_memory(rule("good.bad.example", Action.PASSTHRU)), image_memory(*RULES)
    sent = Policy([EXCEPTIONS, Layer.compile(RULES, source=SOURCE)])
    [event] = taken(b"".join(policy_frames(BOTH, LOADED)), step, *memories)
    assert isinstance(event, NewPolicy)
    assert event.loaded == LOADED
    assert len(event.policy) == len(sent)
    for name in ("bad.example", "x.page.example", "free.example", "good.bad.example"):
        before, after = (policy.by_name(encode_name(name), HOUR) for policy in (sent, event.policy))
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert (after.action, after.target) == (before.action, before.target)
            assert after.ground.cname == before.ground.cname
    hit = event.policy.by_address(4, 0xC0000242, HOUR)
    assert hit is not None
    assert hit.entry == "tpa:7"
    assert not is_open(memories[-1]), "a resolver that keeps one descriptor a release runs out of them"


def test_what_a_failed_load_began_is_forgotten():
    begun = list(policy_frames(FEED, LOADED))[:-1]
    whole = b"".join([*begun, failure_frame(FAILURE), *policy_frames(FEED, LOADED)])
    failure, event = taken(whole, 100, image_memory(*RULES), image_memory(RULES[1]))
    assert failure == FAILURE
    assert isinstance(event, NewPolicy)
    assert len(event.policy) == 1
    assert event.policy.by_name(encode_name("bad.example"), HOUR) is None


def test_a_torn_last_frame_is_left_out_so_that_the_next_one_is_read_right():
    frames = list(policy_frames(BOTH, LOADED))
    torn = b"".join(frames)[:-3]
    passed = list(whole_frames(io.BytesIO(torn)))
    assert passed == frames[:-1]
    assert not ends_load(passed[-1])
    assert ends_load(frames[-1])
    assert ends_load(failure_frame(FAILURE))
    assert [brings_image(data) for data in frames] == [True, True, False]


def test_the_frame_of_an_image_says_which_part_it_is_and_whether_it_is_the_old_one():
    frames = list(policy_frames([("feed", True), ("zone rpz.example", False)], LOADED))
    assert [part_of(data) for data in frames[:2]] == [("feed", True), ("zone rpz.example", False)]
    assert [succeeds_load(data) for data in frames] == [False, False, True]
    assert not succeeds_load(failure_frame(FAILURE))


def test_the_hour_comes_between_loads():
    assert taken(hour_frame(HOUR), 3) == [Hour(HOUR)]


@pytest.mark.parametrize("data", [frame(b"?", b""), b"\xff\xff\xff\xffE", frame(IMAGE, b"")])
def test_what_no_compiler_of_ours_sends_is_an_error(data):
    with pytest.raises(ValueError, match="frame"):
        list(Assembler().feed(data))


def test_a_file_that_is_no_image_is_refused_and_closed(tmp_path):
    (tmp_path / "other").write_bytes(b"x" * 5000)
    descriptor = os.open(tmp_path / "other", os.O_RDONLY)
    with pytest.raises(Untrusted, match="this is no image"):
        list(Assembler().feed(frame(IMAGE, b""), [descriptor]))
    assert not is_open(descriptor)


@pytest.mark.parametrize("place", [0, 1])
def test_a_load_with_an_image_that_cannot_be_opened_is_no_load_and_the_next_one_is(tmp_path, place):
    (tmp_path / "other").write_bytes(b"x" * 5000)
    files = [image_memory(RULES[0]), image_memory(RULES[1])]
    os.close(files[place])
    files[place] = os.open(tmp_path / "other", os.O_RDONLY)
    assembler = Assembler()
    *images, loaded = policy_frames(BOTH, LOADED)
    for number, data in enumerate(images):
        if number == place:
            with pytest.raises(Untrusted, match="this is no image"):
                list(assembler.feed(data, [files[number]]))
        else:
            assert list(assembler.feed(data, [files[number]])) == []
    # What is left would let pass what the lost layer blocks.
    assert list(assembler.feed(loaded)) == []
    assert not any(map(is_open, files))
    [event] = assembler.feed(b"".join(policy_frames(FEED, LOADED)), [image_memory(*RULES)])
    assert isinstance(event, NewPolicy)
    assert event.policy.by_name(encode_name("bad.example"), HOUR) is not None
