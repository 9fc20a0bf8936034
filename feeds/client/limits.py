"""The floor and the decisions, applied to what was signed: what crosses them is refused and counted, the rest loads."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from feeds import brake
from feeds.floor import crossed
from feeds.manifest import Manifest
from feeds.release import Release
from feeds.store import Accepted

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


def newly_undecided(base: Accepted, release: Release, manifest: Manifest, now: datetime) -> brake.Counts:
    """Rules in force, by category, that the release still lists but whose decision its manifest no longer carries.

    They would cease to be enforced, so the brake must count them as removed: the manifest is signed by the publishing
    host's key alone.
    """
    decisions = {decision.notation for decision in manifest.decisions}
    undecided = [rule for rule in release.rules if rule.decision not in decisions]
    if not undecided:
        return {}
    enforced = {rule.key for rule in base.release().rules}
    return brake.count((rule for rule in undecided if rule.key in enforced), now)
