"""The floor and the decisions, applied to what was signed: what crosses them is refused and counted, the rest loads."""

from collections import Counter
from collections.abc import Mapping

from feeds.floor import crossed
from feeds.manifest import Manifest
from feeds.release import Release

NO_DECISION = "decision.missing"


def within_limits(release: Release, manifest: Manifest) -> tuple[Release, Mapping[str, int]]:
    """The rules that may be enforced, and how many were refused by which limit."""
    decisions = {decision.notation for decision in manifest.decisions}
    refused: Counter[str] = Counter()
    allowed = []
    for rule in release.rules:
        limit = crossed(rule.target, manifest.training)
        if limit is None and rule.decision not in decisions:
            limit = NO_DECISION
        if limit is None:
            allowed.append(rule)
        else:
            refused[limit] += 1
    if not refused:
        return release, {}
    return Release(release.authority, release.serial, tuple(allowed)), dict(refused)
