"""Messages of nf_tables: what is written is read again, and no bytes do worse than be refused."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.ipfilter.nft import wire

pairs = st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40)), max_size=8)


@given(pairs)
def test_attributes_are_read_as_they_were_written(written: list[tuple[int, bytes]]) -> None:
    body = b"".join(wire.attribute(kind, value) for kind, value in written)
    assert list(wire.attributes(body)) == written


@given(st.binary(max_size=60))
def test_what_is_no_list_of_attributes_is_refused(body: bytes) -> None:
    try:
        read = list(wire.attributes(body))
    except ValueError:
        return
    # Nothing is read twice, and nothing from beyond the end.
    assert sum(4 + len(value) for _kind, value in read) <= len(body)


class Kernel:
    """Answers that somebody prepared."""

    def __init__(self, *given: bytes) -> None:
        self.given = list(given)

    def send(self, asked: bytes) -> int:
        return len(asked)

    def recv(self, _most: int) -> bytes:
        return self.given.pop(0)


def answer(kind: int, body: bytes, flags: int = 2) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


DUMP = wire.of_nf_tables(4, wire.REQUEST | wire.DUMP)
PIECE = answer(0xA03, bytes(4) + wire.attribute(1, b"blocker\0"))


def test_a_listing_ends_where_the_kernel_says_so_and_refusals_are_errors() -> None:
    done, no = answer(3, bytes(4)), answer(2, struct.pack("=i", -13) + bytes(16))
    heard = list(wire.answers(Kernel(PIECE + PIECE, PIECE + done), DUMP))  # type: ignore[arg-type]
    assert heard == [wire.attribute(1, b"blocker\0")] * 3
    with pytest.raises(PermissionError):
        list(wire.answers(Kernel(PIECE, no), DUMP))  # type: ignore[arg-type]


def test_a_listing_that_was_interrupted_is_never_believed() -> None:
    interrupted = answer(0xA03, bytes(4), flags=2 | 0x10)
    with pytest.raises(wire.Interrupted):
        list(wire.answers(Kernel(PIECE, interrupted), DUMP))  # type: ignore[arg-type]


@given(st.binary(max_size=60))
def test_no_answer_makes_it_read_past_its_end(given_: bytes) -> None:
    with suppress(OSError, struct.error, IndexError):
        list(wire.answers(Kernel(given_, answer(3, bytes(4))), DUMP))  # type: ignore[arg-type]
