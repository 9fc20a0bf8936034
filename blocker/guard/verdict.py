"""What the guard says about one target."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """`never`: no override. `confirm`: the approving officer confirms this very target. `warn`: to be looked at."""

    NEVER = "never"
    CONFIRM = "confirm"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason. `rule` is stable (`guard.popular-top`), `sentence` is translated, `evidence` names list and item."""

    rule: str
    severity: Severity
    sentence: str
    evidence: str
