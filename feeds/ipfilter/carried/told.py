"""What a target was told: its file, read back as a filter."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from feeds.errors import Rejected, Unavailable
from feeds.ipfilter.bulk import intervals_of
from feeds.ipfilter.carried.ways import Way
from feeds.ipfilter.filter import BITS, PROTOCOLS, Box, Filter
from feeds.ipfilter.intervals import merged
from feeds.ipfilter.kernel import InKernel, prefix_span
from feeds.ipfilter.routers.form import Flow, Form
from feeds.language import _

MAX_FILE_BYTES = 256 << 20
# After a line that a kill cut short: whoever reads it refuses it, rather than half of a prefix.
CUT = " # cut short"
_NEXT_HOP = re.compile(r"next-?hop (\S+)")
_TIMEOUT = re.compile(r" timeout=(\d+)s$")


def read(path: Path, form: Form, lines: Sequence[str], marks: tuple[str, ...], now_seconds: float) -> InKernel:
    """What these lines say, and when it lapses; raises Unavailable. `marks` are the next hops it shall be told with."""
    try:
        held = filter_of(lines, form)
    except (Rejected, ValueError, OSError):
        raise Unavailable(
            _("{path} is not what this program wrote").format(path=path),
            kept=_("what {target} holds is as it was").format(target=form.name),
            then=_("move that file away and try again; all is said anew then"),
        ) from None
    # A next hop that nothing is announced with now is none that is wrong.
    hops = {hop for line in lines for hop in _NEXT_HOP.findall(line)} if marks else set()
    uses = marks if hops <= set(marks) else tuple(sorted(hops))
    if untold(path).exists():
        uses = ("?", *uses)
    return InKernel(held, uses, {}, _left_seconds(path, lines, now_seconds) if form.times_out else None)


def untold(path: Path) -> Path:
    """The mark that the file was written and its program not told yet."""
    return path.with_name(f"{path.name}.untold")


def lines_of(path: Path, form: Form, way: Way) -> tuple[str, ...]:
    """What the file says in the end: lines taken back are gone. Raises Unavailable where it cannot be read."""
    try:
        files = sorted(path.iterdir()) if way.in_parts else [path]
        if sum(file.stat().st_size for file in files) > MAX_FILE_BYTES:
            raise Unavailable(_("{path} is too large to be a rendering").format(path=path))
        lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else _("it is not UTF-8 text")
        raise Unavailable(
            _("{path} cannot be read: {why}").format(path=path, why=why), then=_("check the path and its permissions")
        ) from None
    if way.appends:
        return _in_the_end((line.removesuffix(CUT) for line in lines), form)
    return tuple(line for line in lines if not line.startswith(form.comment))


def _in_the_end(lines: Iterable[str], form: Form) -> tuple[str, ...]:
    held: dict[str, None] = {}
    undone: dict[str, str] = {}
    for line in lines:
        if line in undone:
            held.pop(undone.pop(line), None)
        elif form.undo is not None and (taken_back := form.undo(line)) is not None:
            held[line] = None
            undone[taken_back] = line
    return tuple(held)


def filter_of(lines: Sequence[str], form: Form) -> Filter:
    """What these lines drop; raises Rejected, ValueError or OSError where a line is none of the form's."""
    flows: list[Flow] = []
    found: list[str] = []
    for line in lines:
        if (flow := form.flow_of(line)) is not None:
            flows.append(flow)
        elif (prefix := form.prefix_of(line)) is not None:
            found.append(prefix)
    # Flowspec without a protocol drops all.
    found += [flow.prefix for flow in flows if not flow.protocol]
    four, six = ([each for each in found if (":" in each) == (version == 6)] for version in BITS)
    boxes = (tuple(_boxes(flows, protocol, version)) for protocol in PROTOCOLS for version in BITS)
    return Filter(intervals_of(four, BITS[4]), intervals_of(six, BITS[6]), *boxes).joined()


def _boxes(flows: Iterable[Flow], protocol: str, version: int) -> Iterator[Box]:
    for flow in flows:
        if (flow.protocol, flow.version) == (protocol, version):
            (span,) = merged([prefix_span(flow.prefix)])
            yield Box(*span, flow.low, flow.high)


def _left_seconds(path: Path, lines: Iterable[str], now_seconds: float) -> float | None:
    lives = [int(found[1]) for line in lines if (found := _TIMEOUT.search(line))]
    return max(lives) - (now_seconds - path.stat().st_mtime) if lives else None
