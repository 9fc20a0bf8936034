"""What a proposal can ask for: new entries, and changes of entries that stand; and their canonical lines.

    add  FROM  REASON  EVIDENCE  MARKS  (then the rule's line as the feed has it, `feeds.canonical`)
    extend  ENTRY  REASON  OLD-EXPIRY  NEW-EXPIRY
    suspend | resume | withdraw  ENTRY  REASON

FROM is an hour or `-` (at once), EVIDENCE is SHA-256 digests joined by commas or `-`, MARKS is `path` (an officer
pasted a link to one page: the approver must confirm that the whole host is meant) or `-`. Fields are separated by TAB.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from sys import intern

from feeds.canonical import rule_line, rule_of_line
from feeds.errors import Rejected, Untrusted
from feeds.language import _
from feeds.rule import (
    NO_LIMITS,
    Action,
    Category,
    Limits,
    Rule,
    Target,
    check_entry,
    good_text,
    hour_of_text,
    hour_text,
)

MAX_REASON = 500
MAX_EVIDENCE = 16
_EVIDENCE = re.compile(r"[0-9a-f]{64}(?:,[0-9a-f]{64})*\Z")


class Verb(StrEnum):
    """What a change does to an entry."""

    EXTEND = "extend"
    SUSPEND = "suspend"
    RESUME = "resume"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Addition:
    """A new entry as an officer asks for it. `place` is where it was read (`row 17`), for messages only.

    `expires` None: 180 days (prefixes 30 days; where the guard limits it, its limit) from `valid_from` or from now.
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


@dataclass(frozen=True, slots=True)
class AddItem:
    """A new entry as the document has it. `valid_from` is in hours since 1970, 0 for at once."""

    rule: Rule
    reason: str
    valid_from: int = 0
    evidence: str = "-"
    path_dropped: bool = False

    @property
    def number(self) -> int:
        """The entry's number."""
        return int(self.rule.entry.partition(":")[2])

    def line(self) -> str:
        """Its canonical line."""
        start = hour_text(self.valid_from) if self.valid_from else "-"
        marks = "path" if self.path_dropped else "-"
        return f"add\t{start}\t{self.reason}\t{self.evidence}\t{marks}\t{rule_line(self.rule)}"


@dataclass(frozen=True, slots=True)
class ChangeItem:
    """A change as the document has it. `old` and `new` are an extension's expiries, in hours since 1970."""

    verb: Verb
    entry: str
    reason: str
    old: int = 0
    new: int = 0

    def __post_init__(self) -> None:
        check_entry(self.entry)

    @property
    def number(self) -> int:
        """The entry's number."""
        return int(self.entry.partition(":")[2])

    def line(self) -> str:
        """Its canonical line."""
        line = f"{self.verb}\t{self.entry}\t{self.reason}"
        return f"{line}\t{hour_text(self.old)}\t{hour_text(self.new)}" if self.verb is Verb.EXTEND else line


Item = AddItem | ChangeItem


def check_reason(reason: str) -> str:
    """A reason is one to 500 printable characters; returns it or raises Rejected."""
    if not good_text(reason, MAX_REASON):
        raise Rejected(
            _("a reason is needed: one line of at most {n} characters").format(n=MAX_REASON), rule="item.reason"
        )
    return reason


def evidence_text(digests: tuple[str, ...]) -> str:
    """The EVIDENCE field; raises Rejected for anything but SHA-256 digests."""
    text = ",".join(sorted(set(digests)))
    if text and (_EVIDENCE.match(text) is None or len(digests) > MAX_EVIDENCE):
        raise Rejected(
            _("evidence is named by at most {n} SHA-256 digests of 64 hexadecimal digits").format(n=MAX_EVIDENCE),
            rule="item.evidence",
        )
    return text or "-"


def item_of_line(line: str) -> Item:
    """The reverse of `.line()`; raises Rejected or Untrusted for anything but a canonical line."""
    if line.startswith("add\t"):
        fields = line.split("\t", 5)
        if len(fields) == 6:
            _add, start, reason, evidence, marks, rest = fields
            if evidence != "-" and evidence_text(tuple(evidence.split(","))) != evidence:
                raise Untrusted(_("evidence is not in canonical form"))
            if marks in ("-", "path"):
                # A million entries share a few reasons; one string each keeps memory small.
                reason = intern(check_reason(reason))
                hour = 0 if start == "-" else hour_of_text(start)
                return AddItem(rule_of_line(rest), reason, hour, intern(evidence), marks == "path")
    else:
        fields = line.split("\t")
        verb = _VERBS.get(fields[0])
        if verb is not None and len(fields) == (5 if verb is Verb.EXTEND else 3):
            hours = [hour_of_text(field) for field in fields[3:]]
            return ChangeItem(verb, fields[1], check_reason(fields[2]), *hours)
    raise Untrusted(_("«{line}» is no item of a proposal that this version knows").format(line=line[:60]))


_VERBS = {str(verb): verb for verb in Verb}
