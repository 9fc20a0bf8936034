"""What the tests of the guard share: the real index, built once and kept in pytest's cache directory."""

from pathlib import Path

import pytest

from blocker.guard import Finding, Guard, Severity
from blocker.sheet import parse_targets
from feeds.rule import Target


@pytest.fixture(scope="session")
def guard_cache(request: pytest.FixtureRequest) -> Path:
    """A directory that survives the run: the index in it is named after all that it was built from."""
    return request.config.cache.mkdir("guard-index")  # type: ignore[union-attr]


@pytest.fixture(scope="session")
def guard(guard_cache: Path) -> Guard:
    """The guard of a register in earnest, over the installed lists."""
    return Guard.load(False, guard_cache)


def target(text: str) -> Target:
    """The one target of a text."""
    (parsed,) = parse_targets(text)
    return parsed.target


def judged(guard: Guard, text: str) -> dict[str, Finding]:
    """Findings by rule id."""
    return {finding.rule: finding for finding in guard.judge(target(text))}


def gravest(guard: Guard, text: str) -> Severity | None:
    """The severity of the first, and so the gravest, finding."""
    findings = guard.judge(target(text))
    order = list(Severity)
    assert [order.index(f.severity) for f in findings] == sorted(order.index(f.severity) for f in findings)
    return findings[0].severity if findings else None
