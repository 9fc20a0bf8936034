"""pull: refresh, verify, brake, accept. A pull leaves the old release whole or the new one whole.

obtain      the signed rules, by deltas where they are at hand, else the full release
limits      the floor and the decisions, applied to what was signed
bulk        bulk statements and the officers who may sign them
history     accepted steps of the last 24 hours, for the brake
"""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

from tuf.ngclient import FetcherInterface

from feeds import brake
from feeds.client import history
from feeds.client.bulk import allowances, remember_officers
from feeds.client.limits import newly_undecided, within_limits
from feeds.client.obtain import Obtained, obtain
from feeds.errors import Failure, Held, Stale, Unavailable, Untrusted
from feeds.language import _
from feeds.manifest import Manifest
from feeds.repository import Repository, kept
from feeds.store import Accepted, HeldChange, Store

RESULTS = ("accepted", "unchanged", "held", "stale", "untrusted", "unavailable", "error")
SHORTEST_DIGEST = 16


@dataclass(frozen=True, slots=True)
class Choice:
    """An engineer lets this release pass the brake, by name: its serial and (the start of) its digest."""

    serial: int
    digest: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did. `way` is `deltas`, `full` or `none`; counts are of rules as signed."""

    accepted: Accepted
    changed: bool
    way: str
    removed: int
    added: int
    downloaded_bytes: int
    expires: datetime
    note: str = ""


def pull(store: Store, fetcher: FetcherInterface, now: datetime, choice: Choice | None = None) -> Pulled:
    """Bring the store up to date; raises Stale, Untrusted, Held or Unavailable, the last good release kept."""
    result = "error"
    store.settings()
    with store.lock():
        try:
            done = _pull(store, fetcher, now, choice)
            result = "accepted" if done.changed else "unchanged"
            return done
        except Unavailable as failure:
            result = "unavailable"
            expires = store.expires()
            if expires is not None and expires <= store.clock(now) and store.highest_serial():
                result = "stale"
                raise _expired_unseen(failure, expires) from failure
            raise
        except Failure as failure:
            result = result_of(failure)
            # Faults found deep in a file do not know what a pull leaves as it was.
            failure.kept = failure.kept or kept()
            failure.then = failure.then or _("pull again in a minute; if it lasts, tell the authority")
            raise
        finally:
            store.count(result)


def _expired_unseen(failure: Unavailable, expires: datetime) -> Stale:
    """The feed cannot be reached, and what was fetched last has expired meanwhile."""
    return Stale(
        _("the feed expired on {day} and cannot be reached: {why}").format(
            day=expires.strftime("%Y-%m-%d %H:%M UTC"), why=failure.what
        ),
        kept=failure.kept,
        then=failure.then,
    )


def result_of(failure: Failure) -> str:
    """The word for a failure in metrics."""
    families: tuple[tuple[type[Failure], str], ...] = (
        (Held, "held"),
        (Stale, "stale"),
        (Untrusted, "untrusted"),
        (Unavailable, "unavailable"),
    )
    return next((word for family, word in families if isinstance(failure, family)), "error")


def _pull(store: Store, fetcher: FetcherInterface, now: datetime, choice: Choice | None) -> Pulled:
    now = store.clock(now)
    base = _base(store)
    with store.scratch() as scratch:
        repository = Repository(store.url, store.tuf, scratch, store.root(), fetcher, now)
        repository.refresh()
        raw = repository.manifest()
        manifest: Manifest = Manifest.of_bytes(raw)
        _check(manifest, store, base)
        if base is not None and not base.damage and raw == (base.directory / "manifest.json").read_bytes():
            store.release_held()
            history.seen(store, now)
            return Pulled(base, False, "none", 0, 0, _received(fetcher), repository.expires)
        found = obtain(repository, manifest, base, scratch, now)
        if base is not None:
            found = _with_undecided(found, base, manifest, now)
        steps = () if base is None else _judged(store, repository, manifest, found, now, choice)
        doubt = remember_officers(store, repository, manifest)
        allowed, refused = within_limits(found.release, manifest)
        accepted = store.accept(
            {"manifest.json": raw, **repository.proofs()}, found.release, allowed, refused, now, found.packed
        )
        history.add(store, steps, now)
        return Pulled(
            accepted,
            True,
            found.way,
            sum(step.total_removed for step in found.steps),
            sum(step.total_added for step in found.steps),
            _received(fetcher),
            repository.expires,
            "; ".join(filter(None, (found.note, doubt))),
        )


def _base(store: Store) -> Accepted | None:
    """The release in force. Where none on the disk is whole any more, the pull begins anew."""
    try:
        return store.accepted()
    except Unavailable:
        return None


def _check(manifest: Manifest, store: Store, base: Accepted | None) -> None:
    """What must hold between the manifest and this directory, whatever was signed."""
    if manifest.training != store.training:
        raise Untrusted(
            _("this is a training feed, and this directory is for the real one")
            if manifest.training
            else _("this is the real feed, and this directory is for training"),
            kept=kept(),
            then=_("set up another directory: blocker feed init --root ROOT_FILE URL --state DIR")
            + (" --training" if manifest.training else ""),
        )
    then = _("tell the authority: a serial must never go backwards nor be used twice")
    highest = store.highest_serial()
    if manifest.serial < highest:
        raise Untrusted(
            _("the feed went back from release {a} to release {b}").format(a=highest, b=manifest.serial),
            kept=kept(),
            then=then,
        )
    if base is None:
        return
    if manifest.authority != base.manifest.authority:
        raise Untrusted(
            _("the feed is now of another authority: «{new}» instead of «{old}»").format(
                new=manifest.authority, old=base.manifest.authority
            ),
            kept=kept(),
            then=_("ask the authority; a new one needs a directory of its own"),
        )
    if manifest.serial == base.manifest.serial and manifest.digest != base.manifest.digest:
        raise Untrusted(_("release {n} has other rules than before").format(n=manifest.serial), kept=kept(), then=then)


def _with_undecided(found: Obtained, base: Accepted, manifest: Manifest, now: datetime) -> Obtained:
    """What was obtained, its last step counting the rules that lose their decision as removed."""
    lost = newly_undecided(base, found.release, manifest, now)
    if not lost:
        return found
    *steps, last = found.steps
    last = replace(last, removed=Counter(last.removed) + Counter(lost))
    return replace(found, steps=(*steps, last))


def _judged(
    store: Store,
    repository: Repository,
    manifest: Manifest,
    found: Obtained,
    now: datetime,
    choice: Choice | None,
) -> tuple[brake.Step, ...]:
    """The steps, those marked that somebody entitled let pass; raises Held where the brake holds the change."""
    since, before = history.recall(store, now)
    steps = brake.spread(found.steps, since, now)
    if not brake.judge(steps, before):
        return steps
    if choice is not None:
        passed = _passed(choice, manifest, found)
        steps = tuple(brake.pass_until(steps, passed))
        if not brake.judge(steps, before):
            return steps
    statements, doubts = allowances(store, repository, manifest, steps[0].from_serial)
    steps = brake.clear(steps, statements)
    excesses = brake.judge(steps, before)
    if not excesses:
        return steps
    reasons = (*map(str, excesses), *doubts)
    change = HeldChange(
        manifest.serial,
        manifest.digest,
        steps[0].from_serial,
        sum(step.total_removed for step in steps),
        sum(step.total_added for step in steps),
        reasons,
        now,
    )
    earlier = store.held()
    if earlier is not None and (earlier.serial, earlier.digest) == (change.serial, change.digest):
        change = HeldChange(**{**vars(change), "since": earlier.since})
    store.hold(change)
    raise held(change)


def held(change: HeldChange) -> Held:
    """The error that says what is held and both ways past it."""
    return Held(
        _("release {n} is correctly signed, but too large a change to be plausible: {reasons}").format(
            n=change.serial, reasons="; ".join(change.reasons)
        ),
        kept=_("release {n} stays in force").format(n=change.from_serial),
        then=_(
            "ask the authority. Either it publishes a bulk statement signed by two officers, or, when it confirms the"
            " change to you, run: blocker feed accept {n} {digest}"
        ).format(n=change.serial, digest=change.digest),
    )


def _passed(choice: Choice, manifest: Manifest, found: Obtained) -> int:
    """The serial up to which the engineer's choice lets changes pass; raises Untrusted where it names another one."""
    if len(choice.digest) >= SHORTEST_DIGEST and found.digest_at(choice.serial, manifest).startswith(choice.digest):
        return choice.serial
    raise Untrusted(
        _("release {n} with digest {digest} is not what the feed carries: it is at {serial}, {now}").format(
            n=choice.serial, digest=choice.digest, serial=manifest.serial, now=manifest.digest
        ),
        kept=kept(),
        then=_("run `blocker feed pull` and compare with what the authority told you"),
    )


def _received(fetcher: FetcherInterface) -> int:
    return int(getattr(fetcher, "received_bytes", 0))
