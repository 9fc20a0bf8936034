"""What the brake must remember between pulls: accepted steps of the last 24 hours, and when the feed was last seen."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from feeds.brake import Step, recent
from feeds.store import Store

FILE = "history.json"


def recall(store: Store, now: datetime) -> tuple[datetime, tuple[Step, ...]]:
    """When this ISP last saw the feed with nothing held back, and the accepted steps that can still be summed."""
    kept = store.remembered(FILE)
    since = now
    steps: list[Step] = []
    try:
        since = min(datetime.fromisoformat(kept["seen"]), now)
        steps = [_step(item) for item in kept.get("steps", [])]
    except (KeyError, TypeError, ValueError):
        # A damaged memory makes the brake stricter, never laxer: all that comes counts as come at once.
        since = now
    return since, recent(steps, now)


def seen(store: Store, now: datetime) -> None:
    """The feed was seen and had nothing new."""
    add(store, (), now)


def add(store: Store, steps: Iterable[Step], now: datetime) -> None:
    """These steps were accepted."""
    _since, before = recall(store, now)
    kept = [_item(step) for step in recent((*before, *steps), now)]
    store.remember(FILE, {"seen": now.isoformat(), "steps": kept})


def _item(step: Step) -> dict[str, Any]:
    counts = {"before": dict(step.before), "removed": dict(step.removed), "added": dict(step.added)}
    return {
        "from_serial": step.from_serial,
        "to_serial": step.to_serial,
        **counts,
        "at": step.at.isoformat(),
        "cleared": step.cleared,
    }


def _step(item: dict[str, Any]) -> Step:
    return Step(
        int(item["from_serial"]),
        int(item["to_serial"]),
        dict(item["before"]),
        dict(item["removed"]),
        dict(item["added"]),
        datetime.fromisoformat(item["at"]),
        bool(item["cleared"]),
    )
