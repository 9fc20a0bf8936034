"""The guard's data in one compact file: built once from the packages' lists, opened read-only in milliseconds."""

from blocker.guard.index.lookup import Index, NameHits, RangeHit
from blocker.guard.index.place import open_index

__all__ = ["Index", "NameHits", "RangeHit", "open_index"]
