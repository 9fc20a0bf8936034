"""The authority's documents: decisions, proposals and reviews, each with one canonical byte form."""

from blocker.proposal.decision import Decision
from blocker.proposal.document import Confirmation, Proposal, Review, Verdict, in_order, split_items
from blocker.proposal.items import AddItem, Addition, Change, ChangeItem, Verb, check_reason, evidence_text

__all__ = [
    "AddItem",
    "Addition",
    "Change",
    "ChangeItem",
    "Confirmation",
    "Decision",
    "Proposal",
    "Review",
    "Verb",
    "Verdict",
    "check_reason",
    "evidence_text",
    "in_order",
    "split_items",
]
