"""The signed rules of a release: by deltas from the release in force, or whole.

Every delta is signed on its own, and the result must have the digest in the signed manifest; where it has not, or a
delta is missing, the full release is fetched instead.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from feeds import brake, canonical
from feeds.delta import Delta, apply, merge
from feeds.errors import Untrusted
from feeds.language import _
from feeds.manifest import RELEASE_PATH, Manifest, delta_path
from feeds.release import Release
from feeds.repository import Repository, kept
from feeds.rule import hour_of_text, hours
from feeds.store import Accepted, read_checked

MAX_DELTA_BYTES = 256 << 20
# Deltas are worth more than the bytes they save: each is judged by itself. Only absurdly large ones are left out.
MOST_TIMES_WHOLE = 4
SPARE_BYTES = 1 << 20


@dataclass(frozen=True)
class Obtained:
    """A release with the digest that was signed, and the steps that lead to it from the one in force.

    `packed` is the zstd file it came in, for a full one.
    """

    release: Release
    steps: tuple[brake.Step, ...]
    way: str
    packed: Path | None = None
    note: str = ""
    base: Release | None = field(default=None, repr=False)
    deltas: tuple[Delta, ...] = field(default=(), repr=False)

    def digest_at(self, serial: int, manifest: Manifest) -> str:
        """The digest of the release with this serial on the way; empty where it did not come by."""
        if serial == manifest.serial:
            return manifest.digest
        ahead = [delta for delta in self.deltas if delta.to_serial <= serial]
        if self.base is None or not ahead or ahead[-1].to_serial != serial:
            return ""
        return canonical.digest(apply(merged(ahead), self.base)).sha256


def obtain(repository: Repository, manifest: Manifest, base: Accepted | None, scratch: Path, now: datetime) -> Obtained:
    """Fetch and check the rules that the manifest describes; raises Untrusted or Unavailable."""
    if manifest.size > canonical.MAX_RELEASE_BYTES:
        raise Untrusted(
            _("the release has {n} bytes; this program takes at most {max}").format(
                n=manifest.size, max=canonical.MAX_RELEASE_BYTES
            ),
            kept=kept(),
            then=_("tell the authority; a newer version of this program may take it"),
        )
    note = ""
    if base is not None and base.manifest.serial < manifest.serial:
        try:
            deltas = _deltas(repository, manifest, base.manifest.serial, scratch)
            if deltas:
                return _by_deltas(deltas, manifest, base, now)
        except Untrusted as error:
            note = _("the deltas did not serve, the full release was fetched: {why}").format(why=error.what)
    packed = scratch / "release.zst"
    target = repository.target(RELEASE_PATH)
    if target is None:
        raise Untrusted(_("the feed carries no release"), kept=kept(), then=_("tell the authority"))
    repository.fetch(target, packed)
    release = read_checked(packed, manifest.digest, manifest.size)
    _same_name(release, manifest)
    steps = () if base is None else (_full_step(base, release, now),)
    return Obtained(release, steps, "full", packed, note)


def merged(deltas: Sequence[Delta]) -> Delta:
    """One delta for a row of them."""
    whole = deltas[0]
    for delta in deltas[1:]:
        whole = merge(whole, delta)
    return whole


def _deltas(repository: Repository, manifest: Manifest, serial: int, scratch: Path) -> tuple[Delta, ...]:
    """All deltas from `serial` to the manifest's; empty where they are not at hand or absurdly large."""
    known = {ref.from_serial: ref for ref in manifest.deltas}
    refs = []
    while serial < manifest.serial:
        ref = known.get(serial)
        if ref is None or ref.to_serial != serial + 1:
            return ()
        refs.append(ref)
        serial = ref.to_serial
    targets = [repository.target(delta_path(ref.from_serial, ref.to_serial)) for ref in refs]
    whole = repository.target(RELEASE_PATH)
    if sum(ref.size for ref in refs) > canonical.MAX_RELEASE_BYTES:
        # They are held in memory together, so together they may be no larger than a release.
        return ()
    if whole is not None and sum(t.length for t in targets if t) > MOST_TIMES_WHOLE * whole.length + SPARE_BYTES:
        return ()
    deltas = []
    for ref, target in zip(refs, targets, strict=True):
        if target is None:
            return ()
        packed = repository.fetch(target, scratch / "delta.zst")
        with packed.open("rb") as file:
            delta = canonical.read_delta(canonical.decompressing(file), min(ref.size, MAX_DELTA_BYTES))
        if (delta.authority, delta.from_serial, delta.to_serial) != (
            manifest.authority,
            ref.from_serial,
            ref.to_serial,
        ):
            raise Untrusted(_("the delta {path} is another one").format(path=target.path))
        deltas.append(delta)
    return tuple(deltas)


def _by_deltas(deltas: tuple[Delta, ...], manifest: Manifest, base: Accepted, now: datetime) -> Obtained:
    old = base.signed()
    release = apply(merged(deltas), old)
    digest = canonical.digest(release)
    if (digest.sha256, digest.size) != (manifest.digest, manifest.size):
        raise Untrusted(_("the deltas lead to other rules than those that were signed"))
    steps: list[brake.Step] = []
    before = brake.count(old.rules, now)
    for delta in deltas:
        removed, added = brake.measure(delta.removed, delta.added, now)
        steps.append(brake.Step(int(delta.from_serial), int(delta.to_serial), before, removed, added, now))
        before = steps[-1].after()
    return Obtained(release, tuple(steps), "deltas", base=old, deltas=deltas)


def _full_step(base: Accepted, release: Release, now: datetime) -> brake.Step:
    """The whole way in one step.

    Two releases are compared as lines: only the old one's are held, and only what differs becomes rules again.
    """
    gone, before = _lines(base, hours(now + brake.LAPSING))
    added = []
    for rule in release.rules:
        line = canonical.rule_line(rule).encode()
        if line in gone:
            gone.discard(line)
        else:
            added.append(rule)
    removed = [canonical.rule_of_line(line.decode()) for line in gone]
    counts = brake.measure(removed, added, now)
    return brake.Step(base.manifest.serial, int(release.serial), before, *counts, now)


def _lines(base: Accepted, hour: int) -> tuple[set[bytes], brake.Counts]:
    """The rule lines of what was signed at the release in force, and its rules in force by category."""
    body = bytearray()
    hashed = hashlib.sha256()
    with base.signed_file().open("rb") as file:
        stream = canonical.decompressing(file)
        while chunk := stream.read(canonical.CHUNK_BYTES):
            hashed.update(chunk)
            body += chunk
    if hashed.hexdigest() != base.manifest.digest:
        raise Untrusted(_("{name} has changed on disk").format(name=base.signed_file()), kept=kept())
    lines = bytes(body).partition(b"\n\n")[2].split(b"\n")[:-1]
    counts: Counter[str] = Counter()
    for line in lines:
        fields = line.split(b"\t", 9)
        if hour_of_text(fields[8].decode()) > hour:
            counts[fields[6].decode()] += 1
    return set(lines), counts


def _same_name(release: Release, manifest: Manifest) -> None:
    if (release.authority, release.serial) != (manifest.authority, manifest.serial):
        raise Untrusted(
            _("the release is another one than its manifest says"), kept=kept(), then=_("tell the authority")
        )
