"""The overblocking gate: every target of a proposal is judged before it can be proposed.

One file per rule. A judgement names all reasons at once, each with a stable rule id, a sentence and its evidence
(the list, its date, and the very item that matched).
"""

from blocker.guard.judge import MAX_HOURS, Guard, max_hours
from blocker.guard.verdict import Finding, Severity

__all__ = ["MAX_HOURS", "Finding", "Guard", "Severity", "max_hours"]
