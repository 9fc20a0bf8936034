"""The signed manifest of a release, and the statement by which two officers let a bulk change pass.

Both are JSON targets of the feed's TUF repository. Paths of its targets:

    manifest.json            this manifest
    release.zst              the whole release, canonical bytes in a zstd frame
    deltas/A-B.zst           the delta from serial A to B, the one published after it
    bulk/A-B.json            a bulk statement, signed by the delegated role `officers` (threshold 2)

Keys unknown to this version: those that begin with a small letter are ignored, any other is refused.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from feeds.errors import Problem, Untrusted
from feeds.language import _
from feeds.rule import MAX_SERIAL, Action, Category

MANIFEST_PATH = "manifest.json"
RELEASE_PATH = "release.zst"
MAX_MANIFEST_BYTES = 8 << 20
MAX_DELTAS = 64

SerialNumber = Annotated[int, Field(ge=1, le=MAX_SERIAL)]
Count = Annotated[int, Field(ge=0, le=1 << 40)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(max_length=2000)]
AuthorityId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


def delta_path(old: int, new: int) -> str:
    """Target path of a delta."""
    return f"deltas/{int(old)}-{int(new)}.zst"


def change_kind(category: Category, name: bool) -> str:
    """A key of `Manifest.changed`: rules of a category, either for names or for prefixes."""
    return f"{'names' if name else 'prefixes'}:{category}"


CHANGE_KINDS = tuple(change_kind(category, name) for category in Category for name in (True, False))


def bulk_path(old: int, new: int) -> str:
    """Target path of a bulk statement."""
    return f"bulk/{int(old)}-{int(new)}.json"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_critical(cls, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = [k for k in data if k not in cls.model_fields and not str(k)[:1].islower()]
            if unknown:
                raise ValueError(_("«{key}» needs a newer program").format(key=str(unknown[0])[:40]))
        return data

    def to_bytes(self) -> bytes:
        """The one byte form: JSON, keys sorted, UTF-8, ended by a line feed."""
        value = self.model_dump(mode="json")
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def of_bytes(cls, data: bytes) -> "Any":
        """Read and check it; raises Untrusted that names every fault."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            problems = [
                Problem(".".join(str(p) for p in fault["loc"])[:200], "manifest", fault["msg"][:300])
                for fault in error.errors(include_url=False, include_input=False)[:20]
            ]
            raise Untrusted(_("the {kind} is malformed").format(kind=cls.__name__), problems=problems) from None


class Contact(_Document):
    """How to object: at least an e-mail address; it becomes the RNAME of blocked answers' SOA."""

    name: Text = ""
    email: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]{1,63}@[A-Za-z0-9.-]{1,200}$")]
    url: Text = ""
    phone: Text = ""


class DecisionRef(_Document):
    """What an ISP and a user may know of a decision."""

    notation: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    agency: Text
    number: Text
    date: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")]
    legal_basis: Text
    contact: Text
    sha256: Sha256 | Literal[""] = ""


class DeltaRef(_Document):
    """A delta that the feed carries. `size` is of the plain canonical bytes."""

    from_serial: SerialNumber
    to_serial: SerialNumber
    size: Count
    removed: Count
    added: Count


class Canary(_Document):
    """A name that a prober asks for, to see that an action class is enforced; no rule of the register."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.-]{1,253}$")]
    action: Action
    data: Text = ""


class ChainHead(_Document):
    """Length and hash of the register's event chain when this release was made."""

    length: Count
    hash: Sha256


class Manifest(_Document):
    """Everything about one release but its rules. `digest` and `size` are of the release's canonical bytes.

    `changed`: by kind of rule, the serial of the last release that removed or added one. With it, whoever shows a part
    of the rules knows whether that part is new, whatever releases he has seen himself.
    """

    format: Literal[1] = 1
    authority: AuthorityId
    authority_name: Text
    serial: SerialNumber
    issued: AwareDatetime
    training: bool
    digest: Sha256
    size: Count
    counts: dict[str, Count]
    deltas: Annotated[tuple[DeltaRef, ...], Field(max_length=MAX_DELTAS)] = ()
    bulk: Annotated[tuple[str, ...], Field(max_length=MAX_DELTAS)] = ()
    canaries: Annotated[tuple[Canary, ...], Field(max_length=64)] = ()
    contact: Contact
    decisions: Annotated[tuple[DecisionRef, ...], Field(max_length=20_000)]
    chain: ChainHead
    changed: Annotated[dict[str, SerialNumber], Field(max_length=256)] = Field(default_factory=dict)

    def last_change(self, kinds: Iterable[str]) -> int:
        """The serial of the last release that changed a rule of one of these kinds (`change_kind`).

        Where the manifest does not say it of all of them, it is this one.
        """
        return max((self.changed.get(kind, self.serial) for kind in kinds), default=self.serial)

    def decision(self, notation: str) -> DecisionRef | None:
        """The decision of that notation, if the manifest carries it."""
        return next((d for d in self.decisions if d.notation == notation), None)


class BulkStatement(_Document):
    """Two officers say: from this serial to that one, so many rules may go and so many may come."""

    format: Literal[1] = 1
    authority: AuthorityId
    from_serial: SerialNumber
    to_serial: SerialNumber
    removed: Count
    added: Count
    reason: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    made: AwareDatetime


def seconds(moment: datetime) -> datetime:
    """The moment without its fraction, as documents carry it."""
    return moment.replace(microsecond=0)
