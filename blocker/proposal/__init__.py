"""The authority's documents: decisions, proposals and reviews, each with one canonical byte form."""

from blocker.proposal.decision import Decision
from blocker.proposal.items import Addition, Change, Verb

__all__ = ["Addition", "Change", "Decision", "Verb"]
