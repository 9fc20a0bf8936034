"""What a proposal can ask for: new entries, and changes of entries that stand."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from feeds.rule import NO_LIMITS, Action, Category, Limits, Target


class Verb(StrEnum):
    """What a change does to an entry."""

    EXTEND = "extend"
    SUSPEND = "suspend"
    RESUME = "resume"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Addition:
    """A new entry as an officer asks for it. `place` is where it was read (`row 17`), for messages only.

    `expires` None: 180 days (prefixes 30 days; where the guard limits it, its limit) from `valid_from` or signing.
    """

    target: Target
    category: Category
    reason: str
    action: Action = Action.NXDOMAIN
    data: str = ""
    limits: Limits = NO_LIMITS
    valid_from: datetime | None = None
    expires: datetime | None = None
    evidence: tuple[str, ...] = ()
    path_dropped: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of entry number `entry`. `expires` belongs to extend (None: 180 or 30 days from now)."""

    verb: Verb
    entry: int
    reason: str
    expires: datetime | None = None
    place: str = ""
