"""The overblocking gate: every target of a proposal is judged before it can be proposed.

One file per rule. A judgement names all reasons at once, each with a stable rule id, a sentence and its evidence
(the list, its date, and the very item that matched).
"""

from blocker.guard.judge import Guard, ListInfo, max_hours
from blocker.guard.rule import GuardRule
from blocker.guard.rules import RULES
from blocker.guard.verdict import Finding, Severity

__all__ = ["RULES", "Finding", "Guard", "GuardRule", "ListInfo", "Severity", "max_hours"]
