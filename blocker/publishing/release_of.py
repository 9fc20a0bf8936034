"""What the register holds -> the rules of a release, and the manifest that describes it. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from feeds.canonical import Digest
from feeds.errors import Problem
from feeds.floor import FLOOR_WORDS, crossed
from feeds.language import _
from feeds.manifest import (
    CHANGE_KINDS,
    Canary,
    ChainHead,
    Contact,
    DecisionRef,
    DeltaRef,
    Manifest,
    change_kind,
    seconds,
)
from feeds.pruning import Pruned, prune
from feeds.release import Release
from feeds.rule import Action, NameTarget, Rule, Serial, Target, hours

CANARY_IPV4, CANARY_IPV6 = "192.0.2.53", "2001:db8::53"
# An entry's judge: the limit it crosses today, or None.
Judge = Callable[[Target], Problem | None]


@dataclass(frozen=True, slots=True)
class Content:
    """What a publication takes from the register, its signatures already verified there.

    `rules` are all approved rules, in any order, not yet pruned. `officers` is the certified officer list as the feed
    carries it (empty: none), `officer_keys` the public keys (64 hexadecimal digits) of the officers now active.
    `emergencies` are the digests of the break-glass proposals whose rules are among these. `problems` are what the
    register left out, `notes` what an operator should know.
    """

    authority: str
    authority_name: str
    training: bool
    contact: Contact
    rules: Sequence[Rule]
    decisions: Sequence[DecisionRef]
    chain: ChainHead
    officers: bytes = b""
    officer_keys: Sequence[str] = ()
    emergencies: Sequence[str] = ()
    problems: Sequence[Problem] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rules of a release in canonical order, and why the others are not in it."""

    rules: tuple[Rule, ...]
    expired: int
    covered: int
    refused: tuple[Problem, ...]


def floor_judge(training: bool) -> Judge:
    """The judge that knows the floor alone."""

    def judge(target: Target) -> Problem | None:
        limit = crossed(target, training)
        return None if limit is None else Problem(str(target), limit, _(FLOOR_WORDS[limit]))

    return judge


def choose(rules: Iterable[Rule], now: datetime, judge: Judge) -> Chosen:
    """Leave out what has expired, what no rule may hit and what another rule enforces already.

    A rule that crosses a limit by today's data is left out and reported, so that it holds up no other change.
    """
    hour = hours(now)
    live: dict[tuple[object, ...], Rule] = {}
    expired = twice = 0
    refused = []
    for rule in rules:
        if rule.expires <= hour:
            expired += 1
            continue
        problem = judge(rule.target)
        if problem is not None:
            refused.append(Problem(f"{rule.entry} {rule.target}", problem.rule, problem.message))
            continue
        key = rule.key
        other = live.get(key)
        live[key] = rule if other is None else _stronger(other, rule)
        twice += other is not None
    pruned: Pruned = prune(live.values())
    return Chosen(pruned.kept, expired, len(pruned.covered) + twice, tuple(refused))


def _stronger(one: Rule, other: Rule) -> Rule:
    """Which of two rules on one target counts: the later entry's action; for one action the later expiry."""
    if (one.action, one.data) != (other.action, other.data):
        return max(one, other, key=_number)
    return max(one, other, key=lambda rule: (rule.expires, -_number(rule)))


def _number(rule: Rule) -> int:
    return int(rule.entry.rpartition(":")[2])


def decisions_of(rules: Iterable[Rule], decisions: Iterable[DecisionRef]) -> tuple[DecisionRef, ...]:
    """The decisions that the rules name, by notation."""
    named = {rule.decision for rule in rules}
    return tuple(sorted((d for d in decisions if d.notation in named), key=lambda d: d.notation))


def canaries(authority: str) -> tuple[Canary, ...]:
    """One name under `.example` for each action class; what they answer is documentation space."""
    data = {Action.LOCAL: f"{CANARY_IPV4},{CANARY_IPV6}"}
    return tuple(
        Canary(
            name=f"canary-{action.value.replace('_', '-')}.{authority}.example",
            action=action,
            data=data.get(action, ""),
        )
        for action in Action
    )


def manifest_of(
    content: Content,
    release: Release,
    digest: Digest,
    deltas: Sequence[DeltaRef],
    bulk: Sequence[str],
    changed: Mapping[str, int],
    now: datetime,
) -> Manifest:
    """The manifest of a release that was made of `content`; `changed` as in `Manifest`."""
    return Manifest(
        authority=content.authority,
        authority_name=content.authority_name,
        serial=int(release.serial),
        issued=seconds(now),
        training=content.training,
        digest=digest.sha256,
        size=digest.size,
        counts=release.counts(),
        deltas=tuple(deltas),
        bulk=tuple(bulk),
        canaries=canaries(content.authority),
        contact=content.contact,
        decisions=decisions_of(release.rules, content.decisions),
        chain=content.chain,
        changed=dict(changed),
    )


def changes(before: Manifest | None, serial: Serial, rules: Iterable[Rule]) -> dict[str, int]:
    """`Manifest.changed` of release `serial`, in which these rules were removed or added.

    After a manifest that does not say it, every kind counts as changed: later ones then know it of all.
    """
    known = {kind: int(serial) for kind in CHANGE_KINDS} | dict(before.changed if before else {})
    touched = {change_kind(rule.category, isinstance(rule.target, NameTarget)) for rule in rules}
    return known | {kind: int(serial) for kind in touched}
