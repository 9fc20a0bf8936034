"""What passes between the processes of a resolver arrives whole, and sums up."""

import errno
import os
import pickle
import select
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.systemd import Notifier
from resolver.frames import Hour, Loaded, LoadFailure, failure_frame, frame, hour_frame, policy_frames
from resolver.image import new_memory, seal
from resolver.loading import Origin
from resolver.metrics import Counters, Figures, ResolverCollector, Standing, exposition
from resolver.processes import succession
from resolver.processes.channel import COUNT, FIGURES, Channel, kind_of, packed, unpacked
from resolver.processes.children import LONGEST_WAIT, Child, Patience
from resolver.processes.counting import WAIT_SECONDS, Counting
from resolver.processes.enforcement import Enforcement
from resolver.processes.loads import Gathering, Load
from resolver.processes.settings import Settings
from resolver.processes.succession import Inheritance, stored
from resolver.session import Config
from tests.resolver.image_of import image_memory
from tests.resolver.play import rule


@pytest.fixture
def ends():
    one, other = Channel.pair()
    yield one, other
    one.close()
    other.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# Frames and descriptors.


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_frames_arrive_whole_and_in_order_however_they_are_cut(payloads):
    one, other = Channel.pair()
    try:
        for payload in payloads:
            one.send(frame(b"x", payload))
        assert [data for data, _none in other.receive()] == [frame(b"x", payload) for payload in payloads]
    finally:
        one.close()
        other.close()


def test_nobody_waits_for_an_end_that_does_not_read_and_nothing_is_lost(ends):
    one, other = ends
    sent = [packed(b"x", (number, bytes(5000))) for number in range(300)]
    for data in sent:
        one.send(data)
    assert one.waiting
    got = []
    for _turn in range(1000):
        got += [data for data, _none in other.receive()]
        one.flush()
        if len(got) == len(sent):
            break
    assert got == sent
    assert not one.waiting


def test_a_descriptor_goes_with_its_frame_also_behind_a_full_socket(ends):
    one, other = ends
    files = open_files()
    memories = [new_memory() for _ in range(3)]
    for number, memory in enumerate(memories):
        os.write(memory, bytes([number]))
        one.send(packed(b"x", bytes(200_000)))
        one.send(frame(b"I", b"+feed"), memory)
        os.close(memory)
    found = []
    for _turn in range(1000):
        for data, descriptor in other.receive():
            if descriptor is not None:
                assert data == frame(b"I", b"+feed")
                found.append(os.pread(descriptor, 10, 0))
                os.close(descriptor)
        one.flush()
    assert found == [b"\0", b"\1", b"\2"]
    assert open_files() == files


def test_what_was_not_sent_or_not_taken_is_closed_with_the_channel():
    files = open_files()
    one, other = Channel.pair()
    memory = new_memory()
    one.send(packed(b"x", bytes(1_000_000)))
    for _time in range(3):
        one.send(frame(b"I", b"+feed"), memory)
    os.close(memory)
    one.close()
    other.close()
    assert open_files() == files


def test_an_image_without_its_descriptor_and_a_frame_too_large_are_refused(ends):
    one, other = ends
    one.send(frame(b"I", b"+feed"))
    with pytest.raises(ValueError, match="without"):
        list(other.receive())
    other._in.clear()
    one.send(b"\xff\xff\xff\xffx")
    with pytest.raises(ValueError, match="too large"):
        list(other.receive())


# Releases.


def sent_by_control(*names: str) -> list[tuple[bytes, int | None]]:
    """The frames of a release with its image."""
    memory = image_memory(*(rule(name, expires=2_000_000) for name in names))
    seal(memory)
    image, loaded = policy_frames([("feed", True)], Loaded(1, len(names), 0))
    return [(image, memory), (loaded, None)]


def take_all(gathering: Gathering, frames: list[tuple[bytes, int | None]]) -> object:
    return [gathering.take(data, descriptor) for data, descriptor in frames][-1]


def test_a_release_is_whole_or_not_there():
    files = open_files()
    gathering = Gathering()
    image, loaded = sent_by_control("a.com")
    assert gathering.take(*image) is None
    assert gathering.take(hour_frame(5), None) == Hour(5)
    load = gathering.take(*loaded)
    assert isinstance(load, Load)
    assert (load.number, load.loaded.rules) == (1, 1)
    assert [data for data, _file in load.frames] == [image[0], loaded[0]]
    load.close()
    assert gathering.take(*sent_by_control("b.com")[0]) is None
    failure = LoadFailure("no", "", "", 1)
    assert gathering.take(failure_frame(failure), None) == failure
    gathering.take(*sent_by_control("c.com")[0])
    gathering.drop()
    again = take_all(gathering, sent_by_control("d.com"))
    assert isinstance(again, Load)
    assert len(again.frames) == 2, "nothing is left of the one that was broken off"
    assert again.number == 2
    again.close()
    assert open_files() == files


def test_a_damaged_image_reaches_no_lane():
    memory = new_memory()
    os.write(memory, bytes(4096))
    gathering = Gathering()
    with pytest.raises(Exception, match=r"no image|damaged"):
        gathering.take(policy_frames([("feed", True)], Loaded(1, 1, 0)).__next__(), memory)
    gathering.drop()


class Lane(Child):
    """A lane without a process."""

    def __init__(self) -> None:
        ours, self.theirs = Channel.pair()
        super().__init__(0, ours, 0.0)

    def hears(self) -> list[bytes]:
        found = []
        for data, descriptor in self.theirs.receive():
            found.append(kind_of(data))
            if descriptor is not None:
                os.close(descriptor)
        return found


def enforcement(load: Load | None = None, **more: bool) -> tuple[Enforcement, list[str]]:
    said: list[str] = []
    settings = Settings(Origin(), (), (), Config(("a:53",)), **more)  # type: ignore[arg-type]
    return Enforcement(settings, load, Notifier({}), lambda event, **_more: said.append(event)), said


def test_a_release_is_said_to_be_enforced_when_the_last_lane_enforces_it():
    made, said = enforcement()
    lanes = [Lane(), Lane()]
    for data, descriptor in sent_by_control("a.com"):
        assert made.take(data, descriptor, lanes, None) is None
    assert [lane.hears() for lane in lanes] == [[b"I", b"P"]] * 2
    lanes[0].enforces = lanes[0].sent.popleft()
    made.settle(lanes)
    made.settle([])
    assert said == []
    lanes[1].enforces = lanes[1].sent.popleft()
    made.settle(lanes)
    assert said == ["enforcing"]
    assert (made.standing.rules, made.counters.swaps) == (1, 1)
    late = Lane()
    made.greet(late)
    assert late.hears() == [b"I", b"P"], "one that is started later enforces the same"
    made.leave()


def test_a_control_process_that_starts_again_with_the_same_release_changes_nothing():
    made, _said = enforcement()
    lane = Lane()
    first = sent_by_control("a.com")
    same = [(data, None if file is None else os.dup(file)) for data, file in first]
    for data, descriptor in first:
        made.take(data, descriptor, [lane], None)
    assert lane.hears() == [b"I", b"P"]
    made.control_lost()
    for data, descriptor in same:
        made.take(data, descriptor, [lane], None)
    assert lane.hears() == []
    for data, descriptor in sent_by_control("b.com"):
        made.take(data, descriptor, [lane], None)
    assert lane.hears() == [b"I", b"P"]
    made.leave()


def test_what_the_control_process_should_never_send_is_a_failed_load():
    made, said = enforcement()
    lane = Lane()
    failure = made.take(frame(b"?", b""), None, [lane], None)
    assert isinstance(failure, LoadFailure)
    assert said == ["load_failed"]
    assert lane.hears() == []


def test_a_load_that_fails_says_what_stays_where_something_is_in_force():
    made, _said = enforcement()
    kept: list[object] = []
    made._log = lambda _event, **more: kept.append(more.get("kept"))
    failure = failure_frame(LoadFailure("a wrong line", "", "correct it", 1))
    made.take(failure, None, [], None)
    for data, descriptor in sent_by_control("a.com"):
        made.take(data, descriptor, [], None)
    made.take(failure, None, [], None)
    assert kept == ["", "the release in force stays"]
    made.leave()


def test_a_load_with_a_damaged_image_changes_nothing_in_any_lane_and_the_next_one_does():
    made, said = enforcement()
    lane = Lane()
    for data, descriptor in sent_by_control("a.com"):
        made.take(data, descriptor, [lane], None)
    assert lane.hears() == [b"I", b"P"]
    files, memory = open_files(), new_memory()
    os.write(memory, bytes(4096))
    image, loaded = sent_by_control("b.com")
    os.close(image[1] or 0)
    assert isinstance(made.take(image[0], memory, [lane], None), LoadFailure)
    made.take(*loaded, [lane], None)
    assert lane.hears() == [], "a policy without its image would block nothing"
    assert said == ["load_failed"]
    assert open_files() == files
    for data, descriptor in sent_by_control("b.com"):
        made.take(data, descriptor, [lane], None)
    assert lane.hears() == [b"I", b"P"]
    made.leave()


def test_a_lane_may_answer_without_a_release_only_where_that_was_asked_for():
    for open_, heard in ((True, [b"O"]), (False, [])):
        made, _said = enforcement(open=open_)
        lane = Lane()
        made.greet(lane)
        assert lane.hears() == heard


def test_a_standby_that_cannot_take_a_load_ends_and_does_not_take_over_from_one_that_lives(ends, monkeypatch):
    one, other = ends

    class Ended(Exception): ...

    def fails(*_any: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    def ended(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(succession, "call_process", lambda _name: None)
    monkeypatch.setattr(succession.Gathering, "take", fails)
    monkeypatch.setattr(os, "_exit", ended)
    for data, descriptor in sent_by_control("a.com"):
        one.send(data, descriptor)
        if descriptor is not None:
            os.close(descriptor)
    with pytest.raises(Ended, match="1"):
        succession.wait_for_the_part(other)


# Figures.


def counted(blocked: int, moment: float = 0.0) -> Figures:
    counters = Counters()
    counters.udp["blocked"] = blocked
    counters.upstream[0, "lost"] = blocked
    counters.canaries["nxdomain"] = moment
    for _time in range(blocked):
        counters.took(0.001)
    return Figures(counters, (True, blocked != 2), cache_bytes=10, cache_entries=1, cache_evicted=blocked)


def test_the_figures_of_all_lanes_are_their_sums_and_of_moments_the_latest():
    whole = Figures.total((counted(2, 5.0), counted(3, 4.0)))
    counters = whole.counters
    assert (counters.udp["blocked"], counters.upstream[0, "lost"], sum(counters.durations)) == (5, 5, 5)
    assert counters.duration_sum == pytest.approx(0.005)
    assert counters.canaries["nxdomain"] == 5.0
    assert (whole.cache_bytes, whole.cache_entries, whole.cache_evicted) == (20, 2, 5)
    assert whole.upstreams == (True, False), "down where one lane found it down"


def test_figures_that_were_sent_are_those_that_arrive():
    figures = counted(4)
    assert pickle.loads(pickle.dumps(figures)) == figures


def replies(lane: Lane, figures: Figures, counting: Counting) -> None:
    for data, _none in lane.theirs.receive():
        if kind_of(data) == COUNT:
            lane.theirs.send(packed(FIGURES, (unpacked(data), figures)))
    for data, _none in lane.channel.receive():
        counting.told(lane, *unpacked(data))


def test_who_looks_gets_what_every_lane_says_at_that_moment_and_the_dead_are_counted():
    lanes = [Lane(), Lane()]
    pages: list[bytes] = []
    counting = Counting(lambda: lanes, lambda figures: b"%d" % figures.counters.udp["blocked"])
    counting.wanted(pages.append)
    replies(lanes[0], counted(2), counting)
    counting.turn(0)
    assert pages == [], "one has not told yet"
    replies(lanes[1], counted(3), counting)
    counting.turn(0)
    assert pages == [b"5"]
    gone = lanes.pop()
    counting.lost(gone)
    lanes.append(Lane())
    counting.wanted(pages.append)
    replies(lanes[0], counted(2), counting)
    replies(lanes[1], counted(0), counting)
    counting.turn(0)
    assert pages == [b"5", b"5"]


def test_a_silent_lane_holds_nobody_up_for_more_than_a_second_and_is_noticed():
    lanes = [Lane(), Lane()]
    pages: list[bytes] = []
    counting = Counting(lambda: lanes, lambda figures: b"%d" % figures.counters.udp["blocked"])
    counting.wanted(pages.append)
    replies(lanes[0], counted(2), counting)
    counting.turn(monotonic())
    assert pages == []
    counting.turn(monotonic() + WAIT_SECONDS)
    assert pages == [b"2"]
    assert lanes[1].silent_since is not None
    for second in range(2, 200):
        counting.turn(monotonic() + second)
    assert lanes[1].open <= 16, "it is not asked without end"
    replies(lanes[1], counted(1), counting)
    assert lanes[1].silent_since is None


def test_the_page_says_lanes_restarts_and_what_answers():
    standing = Standing(lanes=2)
    standing.restarts["lane"] = 3
    page = exposition(ResolverCollector(Figures(), standing, ("a:53",), "1.0", "fast")).decode()
    assert "blocker_dns_lanes 2.0" in page
    assert 'blocker_dns_restarts_total{process="lane"} 3.0' in page
    assert 'blocker_dns_restarts_total{process="standby"} 0.0' in page
    assert 'blocker_build_info{lane="fast",python="3.' in page


# Patience, settings, inheritance.


def test_one_that_ends_is_started_at_once_and_one_that_keeps_ending_never_in_a_hot_loop():
    patience = Patience()
    waits = [patience.after(0.01) for _ in range(20)]
    assert waits[0] == 0.0
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT < 2
    assert sum(wait + 0.01 for wait in waits) > 10
    assert patience.after(5.0) == 0.0


@given(st.integers(1, 64), st.integers(1, 1 << 40), st.integers(0, 10_000))
def test_the_lanes_together_have_what_was_allowed_and_hardly_more(lanes, cache, rate):
    settings = Settings(Origin(), (), (), Config((), cache_bytes=cache, rate_limit=rate), lanes=lanes)
    one = settings.for_one_lane()
    assert cache <= one.config.cache_bytes * lanes < cache + lanes
    assert rate <= one.config.rate_limit * lanes < rate + lanes
    assert (one.config.rate_limit == 0) == (rate == 0)
    assert settings.streams.connections <= one.streams.connections * lanes


def test_who_is_left_behind_sees_the_octet_and_not_only_the_end():
    for relieved, wanted in ((True, True), (False, False)):
        reading, writing = os.pipe()
        try:
            if relieved:
                Inheritance((writing,)).relieve()
            else:
                os.close(writing)
            poll = select.poll()
            poll.register(reading, select.POLLIN)
            for _look in range(2):
                assert any(found & select.POLLIN for _file, found in poll.poll(0)) is wanted
        finally:
            os.close(reading)


def test_what_systemd_kept_is_taken_only_when_it_is_meant_for_this_process():
    names = {"LISTEN_FDNAMES": "other:blocker-lanes", "LISTEN_FDS": "0"}
    for pid, left in ((os.getpid(), {}), (1, {})):
        environ = {**names, "LISTEN_PID": str(pid)}
        assert stored(environ) == ()
        assert environ == left
