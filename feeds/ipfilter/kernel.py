"""What every target shares: what the kernel holds now, and how its tool is run."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from feeds.errors import Unavailable
from feeds.ipfilter.filter import Filter
from feeds.language import _

TOOL_SECONDS = 120
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

# (command, what it reads on stdin) -> what it printed
Run = Callable[[Sequence[str], str], str]


class Count(NamedTuple):
    """What was dropped."""

    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class InKernel:
    """What the kernel holds of ours. `uses` are the places that drop by a set, as `hook:set`, sorted, and
    `hook:?` for a rule among them that is not ours.

    `counts` are what was dropped by category and IP version (`phishing4`), where the target counts. `left_seconds`
    says how long the entries last if nobody renews them: of those given the longest life, the least that is left;
    infinite if they do not lapse, None if there are none. `generation` is the number of the rule set that was read,
    None unless every interval of the filter stands in the kernel as one of its own, so that it can be taken out by
    itself.
    """

    filter: Filter
    uses: tuple[str, ...]
    counts: Mapping[str, Count]
    left_seconds: float | None = None
    generation: int | None = None


def run(command: Sequence[str], stdin: str) -> str:
    """Run a tool; raises Unavailable where it is missing or says no, with the first line of its complaint."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    program = shutil.which(command[0], path=search)
    if program is None:
        raise Unavailable(
            _("{program} is not installed").format(program=command[0]),
            kept=_("the filter is as it was"),
            then=_("install it (Debian: apt install {package})").format(
                package={"nft": "nftables"}.get(command[0], command[0])
            ),
        )
    try:
        done = subprocess.run(
            [program, *command[1:]],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TOOL_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise _said_no(command[0], str(error)) from None
    if done.returncode != 0:
        raise _said_no(command[0], (done.stderr.strip() or _("it gave no reason")).splitlines()[0])
    return done.stdout


def address_text(version: int, address: int) -> str:
    """An address as people write it."""
    return socket.inet_ntop(_FAMILY[version], address.to_bytes(4 if version == 4 else 16))


def address_of(text: str) -> int:
    """The reverse of `address_text`; raises OSError for anything else."""
    return int.from_bytes(socket.inet_pton(_FAMILY[6 if ":" in text else 4], text))


def prefix_span(text: str) -> tuple[int, int]:
    """First and last address of `ADDRESS` or `ADDRESS/LENGTH`."""
    address, slash, length = text.partition("/")
    bits = 128 if ":" in address else 32
    free = bits - int(length) if slash else 0
    first = address_of(address) >> free << free
    return first, first | ((1 << free) - 1)


def _said_no(program: str, why: str) -> Unavailable:
    advice = _("read the reason above, correct it and try again")
    if os.geteuid() != 0:
        advice = _("try again as root: only root may change packet filters")
    return Unavailable(
        _("{program} refuses: {why}").format(program=program, why=why[:500]),
        kept=_("the filter is as it was"),
        then=advice,
    )
