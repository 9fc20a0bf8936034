"""Names and addresses where certificates are checked: OCSP, revocation lists, missing issuers."""

from blocker.guard.index.sources import mask
from blocker.guard.rule import GuardRule, Subject, listed_name, listed_range
from blocker.guard.verdict import Severity
from feeds.language import N_

ID = "guard.certificate-status"
_LISTS = mask(ID)


def check(subject: Subject) -> str | None:
    return listed_name(subject, _LISTS) or listed_range(subject, ID)


RULE = GuardRule(
    ID,
    Severity.NEVER,
    N_("browsers and systems ask this name whether a certificate is still valid (OCSP, CRL)"),
    check,
)
