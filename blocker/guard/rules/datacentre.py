"""Data centres and VPN providers. An address there is usually one customer's, so this is no more than a warning."""

from blocker.guard.rule import GuardRule, Subject, listed_range
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.datacentre"


def check(subject: Subject) -> str | None:
    # Where the range is known to be shared, that says it already.
    return None if "guard.shared-address" in subject.ranges else listed_range(subject, ID)


RULE = GuardRule(
    ID,
    Severity.WARN,
    N_("a range of a data centre or VPN provider: other customers are near, and addresses change hands"),
    check,
)
