"""The statement by which two officers let a large change pass the brake of every ISP.

A statement is a target of the delegated TUF role `officers` (threshold 2), so the role's metadata is what the two
officers sign. Prepared from the feed, it travels as one file: the first officer signs it, then the second, each on
their own machine; `blocker publish --bulk FILE` puts it into the feed with the release it speaks of. It carries the
text of every statement it lists, so that nobody signs what they cannot read.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Targets

from blocker.publishing.layout import OFFICERS_ROLE
from blocker.publishing.sign import BULK_LIFE, OFFICERS_THRESHOLD, KeySigner, delegation, next_version, public_key
from blocker.publishing.standing import Standing, read_target
from feeds.errors import Refused, Rejected, Untrusted
from feeds.language import _
from feeds.manifest import MAX_DELTAS, BulkStatement, bulk_path, seconds
from feeds.officers import Signer

MAX_BULK_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Bulk:
    """`path` is the statement at hand; `statements` are all that the metadata lists, by path."""

    path: str
    statements: Mapping[str, bytes]
    metadata: Metadata[Targets]

    @property
    def statement(self) -> BulkStatement:
        """What the officers are to sign."""
        return cast(BulkStatement, BulkStatement.of_bytes(self.statements[self.path]))

    def to_bytes(self) -> bytes:
        """The file that travels."""
        value = {
            "format": 1,
            "path": self.path,
            "statements": {path: data.decode() for path, data in self.statements.items()},
            "metadata": self.metadata.to_dict(),
        }
        return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def of_bytes(cls, data: bytes) -> "Bulk":
        """Read the file; raises Untrusted unless the metadata lists exactly the statements that came with it."""
        try:
            if len(data) > MAX_BULK_FILE_BYTES:
                raise ValueError(_("it is too large"))
            value = json.loads(data)
            if value["format"] != 1:
                raise ValueError(_("it needs a newer program"))
            made = cast("Metadata[Targets]", Metadata.from_dict(value["metadata"]))
            found = cls(str(value["path"]), {p: str(t).encode() for p, t in value["statements"].items()}, made)
            if made.signed.type != Targets.type or made.signed.targets.keys() != found.statements.keys():
                raise ValueError(_("its parts do not belong together"))
            for path, target in made.signed.targets.items():
                target.verify_length_and_hashes(found.statements[path])
                statement = cast(BulkStatement, BulkStatement.of_bytes(found.statements[path]))
                if bulk_path(statement.from_serial, statement.to_serial) != path:
                    raise ValueError(_("its parts do not belong together"))
            if found.path not in found.statements:
                raise ValueError(_("its parts do not belong together"))
        except json.JSONDecodeError:
            raise _malformed(_("it is not JSON")) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RepositoryError, Untrusted) as error:
            raise _malformed(str(error)) from None
        return found

    def signers(self, officer_keys: Collection[str]) -> list[str]:
        """The public keys among `officer_keys` whose signature it carries."""
        role = Targets(delegations=delegation(officer_keys))
        found = role.get_verification_result(OFFICERS_ROLE, self.metadata.signed_bytes, self.metadata.signatures)
        return sorted(str(key.keyval["public"]) for key in found.signed.values())

    def check(self, standing: Standing, officer_keys: Collection[str], next_serial: int, now: datetime) -> None:
        """Raise Refused or Rejected unless it may be put into this feed now."""
        statement = self.statement
        signed = self.signers(officer_keys)
        if len(signed) < OFFICERS_THRESHOLD:
            raise Refused(
                _("the bulk statement needs the signatures of two active officers and carries {n}").format(
                    n=len(signed)
                ),
                kept=_("nothing was changed"),
                then=_("let another officer run «blocker publish bulk sign FILE»"),
            )
        authority = standing.manifest.authority if standing.manifest else statement.authority
        before = {d.to_serial: d.from_serial for d in standing.manifest.deltas} if standing.manifest else {}
        ahead = (statement.from_serial, statement.to_serial) == (standing.serial, next_serial)
        if statement.authority != authority or not (ahead or before.get(statement.to_serial) == statement.from_serial):
            raise Rejected(
                _("the bulk statement speaks of releases {a} to {b}; the next step is {c} to {d}").format(
                    a=statement.from_serial, b=statement.to_serial, c=standing.serial, d=next_serial
                ),
                rule="bulk.serial",
                kept=_("nothing was changed"),
                then=_("prepare it again with «blocker publish bulk prepare», and let both officers sign"),
            )
        older = standing.officers.signed.version if standing.officers else 0
        if self.metadata.signed.version <= older or self.metadata.signed.is_expired(now):
            raise Rejected(
                _("the bulk statement has expired or another one was published after it was prepared"),
                rule="bulk.old",
                kept=_("nothing was changed"),
                then=_("prepare it again with «blocker publish bulk prepare», and let both officers sign"),
            )


def _malformed(why: str) -> Untrusted:
    return Untrusted(
        _("this is no bulk statement: {why}").format(why=why),
        kept=_("nothing was signed"),
        then=_("prepare it again with «blocker publish bulk prepare»"),
    )


def prepare_bulk(standing: Standing, statement: BulkStatement, now: datetime) -> Bulk:
    """The file for `statement`, unsigned, with the statements that still count listed beside it."""
    now = now.astimezone(UTC)
    path = bulk_path(statement.from_serial, statement.to_serial)
    statements = {old: data for old, data in _still_listed(standing).items() if old != path}
    statements[path] = statement.model_copy(update={"made": seconds(now)}).to_bytes()
    targets = {p: TargetFile.from_data(p, data, ["sha256"]) for p, data in sorted(statements.items())}
    older = standing.officers.signed.version if standing.officers else 0
    made = Metadata(Targets(next_version(older, now), None, now + BULK_LIFE, targets))
    return Bulk(path, statements, made)


def sign_bulk(bulk: Bulk, officer: Signer) -> Bulk:
    """The file with one more officer's signature; raises Rejected if it is there already."""
    if public_key(officer.public_hex).keyid in bulk.metadata.signatures:
        raise Rejected(
            _("this officer has signed the statement already"),
            rule="bulk.twice",
            kept=_("the file as it was"),
            then=_("another officer must sign it"),
        )
    made = cast("Metadata[Targets]", Metadata.from_dict(bulk.metadata.to_dict()))
    made.sign(KeySigner(officer), append=True)
    return Bulk(bulk.path, bulk.statements, made)


def in_force(standing: Standing, officer_keys: Collection[str], now: datetime) -> dict[str, BulkStatement]:
    """The statements of the feed that two officers active now have signed, by path."""
    if standing.officers is None or standing.officers.signed.is_expired(now):
        return {}
    bulk = Bulk("", {}, standing.officers)
    if len(bulk.signers(officer_keys)) < OFFICERS_THRESHOLD:
        return {}
    return {path: cast(BulkStatement, BulkStatement.of_bytes(data)) for path, data in _still_listed(standing).items()}


def _still_listed(standing: Standing) -> dict[str, bytes]:
    """The statements that the feed carries and that speak of a step its deltas still cover."""
    if standing.officers is None or standing.manifest is None:
        return {}
    steps = {bulk_path(d.from_serial, d.to_serial) for d in standing.manifest.deltas[-MAX_DELTAS:]}
    return {
        path: read_target(standing.directory, target)
        for path, target in standing.officers.signed.targets.items()
        if path in steps
    }
