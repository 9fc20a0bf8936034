"""The order of a publication: look, plan, reserve the serial, write the files, timestamp.json last, note it.

A crash at any point leaves the old release or the new one to the readers, and `recover` finishes or undoes the rest
at the next start. A serial that a crash wasted is not used again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tuf.api.metadata import TargetFile

from blocker.publishing.bulk import Bulk, in_force
from blocker.publishing.clean import clean
from blocker.publishing.difference import Difference, lapsed, release_lines, rules_of
from blocker.publishing.edition import Edition, check_keys, put, stamp
from blocker.publishing.layout import CONTACT_PATH, OFFICERS_PATH, Disk, locked
from blocker.publishing.plan import Source, held, make_plan
from blocker.publishing.recover import Ledger, recover
from blocker.publishing.release_of import Content, Judge, changes, manifest_of
from blocker.publishing.sign import RESIGN_WITHIN, ROOT_WARNING, FeedKeys, delegation
from blocker.publishing.standing import Standing, read_standing
from feeds.canonical import Digest, compress, delta_chunks, digest_of, release_chunks
from feeds.delta import Delta
from feeds.errors import Problem, Refused
from feeds.language import _
from feeds.manifest import (
    MANIFEST_PATH,
    MAX_DELTAS,
    RELEASE_PATH,
    BulkStatement,
    DeltaRef,
    Manifest,
    delta_path,
)
from feeds.release import Release
from feeds.rule import Rule, Serial, hours

KEPT_TARGETS = (MANIFEST_PATH, RELEASE_PATH, OFFICERS_PATH, CONTACT_PATH)
EMERGENCIES = "emergencies"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a publication did. `serial` 0: nothing has been published yet.

    `described`: the rules are the same, but the manifest or what goes with it says something else now.
    """

    serial: int
    new_release: bool
    removed: int
    added: int
    resigned: bool
    manifest: Manifest | None
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    described: bool = False


@dataclass(frozen=True, slots=True)
class _Draft:
    """What the next edition is made of."""

    content: Content
    rules: tuple[Rule, ...]
    change: Difference
    bulk: Bulk | None
    statements: Mapping[str, BulkStatement]


def publish(
    ledger: Ledger,
    source: Source,
    disk: Disk,
    keys: FeedKeys,
    now: datetime,
    judge: Judge,
    *,
    bulk: Bulk | None = None,
    accept_hold: bool = False,
) -> Outcome:
    """Publish what the register holds.

    Raises Held if an ISP's brake would stop it and no bulk statement covers it, unless `accept_hold`; Refused where
    register and repository do not fit together; Failure at a fault of the disk. Nothing changed: only what is near
    its expiry is signed again, and the timestamp.
    """
    with locked(disk.root):
        standing, notes = _look(ledger, disk, keys, now)
        plan = make_plan(ledger, source(standing), standing, now, judge, bulk)
        draft = _Draft(plan.content, plan.chosen.rules, plan.change, bulk, plan.statements)
        if not plan.new_release:
            outcome = _describe_again(standing, disk, keys, now, draft)
        elif plan.forecast and not accept_hold:
            raise held(plan)
        else:
            outcome = _new_release(ledger, standing, disk, keys, now, draft)
        return replace(outcome, problems=plan.problems, notes=(*notes, *plan.content.notes, *_warnings(standing, now)))


def publish_due(ledger: Ledger, disk: Disk, keys: FeedKeys, now: datetime) -> Outcome:
    """For a timer: remove what has expired from the release that stands, and sign the timestamp again.

    It reads nothing from the register but serials, so it can add no rule, whatever the database says.
    """
    with locked(disk.root):
        standing, notes = _look(ledger, disk, keys, now)
        manifest = standing.manifest
        if manifest is None:
            stamp(disk, standing, keys, now)
            return Outcome(0, False, 0, 0, True, None, (*notes, _("nothing has been published yet")))
        last = ledger.last()
        if last is not None and last.serial > standing.serial:
            # Under a new serial an older list would bring back what was withdrawn since.
            raise Refused(
                _("the feed carries {b} although {a} was published: its directory seems to be restored").format(
                    a=last.serial, b=standing.serial
                ),
                kept=_("nothing was changed"),
                then=_("run «blocker publish»: it makes the next release from the register"),
            )
        live, gone = lapsed(release_lines(standing.target(RELEASE_PATH), manifest), hours(now))
        if gone:
            content = _standing_content(standing, manifest)
            statements = in_force(standing, content.officer_keys, now)
            draft = _Draft(content, rules_of(live), Difference(rules_of(gone), ()), None, statements)
            outcome = _new_release(ledger, standing, disk, keys, now, draft)
        else:
            outcome = _sign_again(standing, disk, keys, now, manifest)
        return replace(outcome, notes=(*notes, *_warnings(standing, now)))


def emergencies_of(standing: Standing) -> frozenset[str]:
    """The break-glass proposals (digests) whose rules the standing release carries, as the targets key signed them."""
    target = standing.targets.targets.get(RELEASE_PATH)
    custom = target.custom if target else None
    found = custom.get(EMERGENCIES, ()) if isinstance(custom, dict) else ()
    return frozenset(map(str, found))


def _look(ledger: Ledger, disk: Disk, keys: FeedKeys, now: datetime) -> tuple[Standing, list[str]]:
    standing = read_standing(disk.root)
    check_keys(standing.root, keys)
    notes = recover(ledger, standing, now)
    clean(disk, standing, now)
    return standing, notes


def _new_release(
    ledger: Ledger, standing: Standing, disk: Disk, keys: FeedKeys, now: datetime, draft: _Draft
) -> Outcome:
    before = standing.manifest
    serial = ledger.reserve_serial(now, standing.serial)
    release = Release(draft.content.authority, serial, draft.rules)
    chunks = list(release_chunks(release))
    digest = digest_of(chunks)
    custom = {EMERGENCIES: sorted(draft.content.emergencies)} if draft.content.emergencies else None
    edition = Edition.same(standing).with_file(RELEASE_PATH, compress(chunks, digest.size), custom)
    del chunks
    deltas: tuple[DeltaRef, ...] = ()
    if before is not None:
        data, reference = _delta(before, release, draft.change)
        edition = edition.with_file(delta_path(before.serial, serial), data)
        deltas = (*before.deltas, reference)[-MAX_DELTAS:]
    changed = changes(before, serial, (*draft.change.removed, *draft.change.added))
    manifest = manifest_of(draft.content, release, digest, deltas, sorted(draft.statements), changed, now)
    put(disk, _described(edition, draft, manifest), keys, now)
    ledger.mark_published(serial, manifest.digest, manifest.chain, now)
    clean(disk, read_standing(disk.root), now)
    return Outcome(int(serial), True, len(draft.change.removed), len(draft.change.added), True, manifest)


def _describe_again(standing: Standing, disk: Disk, keys: FeedKeys, now: datetime, draft: _Draft) -> Outcome:
    """The rules are the same; write the manifest again if it would now say something else."""
    old = standing.manifest
    assert old is not None  # noqa: S101 - without one a new release is made
    release = Release(draft.content.authority, Serial(old.serial), draft.rules)
    manifest = manifest_of(
        draft.content, release, Digest(old.digest, old.size), old.deltas, sorted(draft.statements), old.changed, now
    )
    edition = _described(Edition.same(standing), draft, manifest)
    said = manifest.model_copy(update={"issued": old.issued, "chain": old.chain})
    changed = (
        said != old
        or draft.bulk is not None
        or edition.delegations != standing.targets.delegations
        or _but_manifest(edition.targets) != _but_manifest(standing.targets.targets)
    )
    if not changed:
        return _sign_again(standing, disk, keys, now, old)
    put(disk, edition, keys, now)
    return Outcome(old.serial, False, 0, 0, True, manifest, described=True)


def _but_manifest(targets: Mapping[str, TargetFile]) -> dict[str, TargetFile]:
    return {path: target for path, target in targets.items() if path != MANIFEST_PATH}


def _sign_again(standing: Standing, disk: Disk, keys: FeedKeys, now: datetime, manifest: Manifest) -> Outcome:
    """Nothing changed: sign the timestamp again, and the other two if they are near their expiry."""
    near = min(standing.targets.expires, standing.snapshot.expires) - now < RESIGN_WITHIN
    if near:
        put(disk, Edition.same(standing), keys, now)
    else:
        stamp(disk, standing, keys, now)
    return Outcome(standing.serial, False, 0, 0, near, manifest)


def _described(edition: Edition, draft: _Draft, manifest: Manifest) -> Edition:
    """The edition with everything about its release, and without the targets of older ones."""
    content = draft.content
    edition = edition.with_file(MANIFEST_PATH, manifest.to_bytes())
    edition = edition.with_file(CONTACT_PATH, content.contact.to_bytes())
    if content.officers:
        edition = edition.with_file(OFFICERS_PATH, content.officers)
    if draft.bulk is not None:
        edition = edition.with_bulk(draft.bulk)
    edition = replace(edition, delegations=delegation(content.officer_keys))
    deltas = [delta_path(d.from_serial, d.to_serial) for d in manifest.deltas]
    return edition.only({*KEPT_TARGETS, *deltas})


def _delta(before: Manifest, release: Release, change: Difference) -> tuple[bytes, DeltaRef]:
    delta = Delta(release.authority, Serial(before.serial), release.serial, change.removed, change.added)
    chunks = list(delta_chunks(delta))
    size = digest_of(chunks).size
    reference = DeltaRef(
        from_serial=before.serial,
        to_serial=int(release.serial),
        size=size,
        removed=len(change.removed),
        added=len(change.added),
    )
    return compress(chunks, size), reference


def _standing_content(standing: Standing, manifest: Manifest) -> Content:
    """The standing release's own account of itself, for an edition made without the register."""
    targets = standing.targets
    return Content(
        authority=manifest.authority,
        authority_name=manifest.authority_name,
        training=manifest.training,
        contact=manifest.contact,
        rules=(),
        decisions=manifest.decisions,
        chain=manifest.chain,
        officers=standing.target(OFFICERS_PATH) if OFFICERS_PATH in targets.targets else b"",
        officer_keys=officer_keys_of(standing),
        emergencies=sorted(emergencies_of(standing)),
    )


def officer_keys_of(standing: Standing) -> list[str]:
    """The public keys to which the feed delegates bulk statements."""
    delegations = standing.targets.delegations
    return [str(key.keyval["public"]) for key in delegations.keys.values()] if delegations else []


def _warnings(standing: Standing, now: datetime) -> list[str]:
    left = standing.root.expires - now
    if left > ROOT_WARNING:
        return []
    return [
        _("the feed's root expires in {n} days: two root keys must sign it again: blocker register renew-root").format(
            n=left.days
        )
    ]
