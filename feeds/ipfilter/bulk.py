"""Prefixes by the hundred thousand: lines of text to the addresses they cover, and back to the fewest prefixes.

In C where the extension could be built, in Python elsewhere; a law holds the two to the same answers. A line is an
address or a prefix, host bits cleared; space around it, comments from `#` on and empty lines count for nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, Self

from feeds.errors import Problem, Rejected
from feeds.ipfilter.bulk_python import Listed as PythonListed
from feeds.ipfilter.bulk_python import span_of
from feeds.ipfilter.intervals import Intervals, spans
from feeds.language import _

# Of a file that is something else altogether no more is said than a person reads.
MOST_PROBLEMS = 1000

# (line number, line) -> first and last address, or None
Other = Callable[[int, bytes], tuple[int, int] | None]


class Listed(Protocol):
    """Addresses of one IP version. `len` is the number of the fewest prefixes that cover them."""

    @classmethod
    def of_text(cls, text: bytes, bits: int, other: Other) -> Self:
        """Read lines; `other` is asked about each that is not an address or a prefix and nothing else."""
        ...

    @classmethod
    def of_spans(cls, spans: Iterable[tuple[int, int]], bits: int) -> Self:
        """Of (first, last) pairs in any order."""
        ...

    def __len__(self) -> int: ...

    def pairs(self) -> Sequence[tuple[int, int]]:
        """(first, last) of each interval, rising, disjoint and not adjacent."""
        ...

    def texts(self) -> Iterator[str]:
        """The fewest `ADDRESS/LENGTH`, rising."""
        ...


def _best() -> "type[Listed]":
    try:
        from feeds.ipfilter.native import Listed
    except ImportError:
        return PythonListed
    return Listed


BEST = _best()


def listed(text: bytes, bits: int, way: type[Listed] = BEST) -> Listed:
    """The addresses that these lines name; raises Rejected that names every line that is something else."""
    problems: list[Problem] = []

    def other(number: int, line: bytes) -> tuple[int, int] | None:
        word = line.partition(b"#")[0].strip()
        if not word:
            return None
        span = span_of(word, bits)
        if span is None and len(problems) < MOST_PROBLEMS:
            shown = word[:100].decode("utf-8", "backslashreplace")
            version = 4 if bits == 32 else 6
            message = _("«{text}» is no prefix of IPv{version}").format(text=shown, version=version)
            problems.append(Problem(_("line {n}").format(n=number), "prefix.form", message))
        return span

    made = way.of_text(text, bits, other)
    if problems:
        raise Rejected(_("this is not a list of prefixes"), rule="prefix.form", problems=problems)
    return made


def intervals_of(lines: Iterable[str], bits: int) -> Intervals:
    """The addresses that these lines name, as intervals; raises Rejected, see `listed`."""
    return spans(listed("\n".join(lines).encode(), bits).pairs())


def interval_texts(intervals: Intervals, bits: int) -> Iterator[str]:
    """The fewest `ADDRESS/LENGTH` of these intervals, in rising order."""
    return BEST.of_spans(intervals, bits).texts()


def prefix_count(intervals: Intervals, bits: int) -> int:
    """How many prefixes `interval_texts` yields."""
    return len(BEST.of_spans(intervals, bits))
