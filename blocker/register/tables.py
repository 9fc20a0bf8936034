"""The tables. Moments are text (`2026-11-24T05:39:31Z`), hours are whole hours since 1970-01-01T00Z.

Rows are for finding and showing. What may be published comes from signed documents alone (`replay`), so nothing here
is trusted: every row can be wrong, and publishing then says which.
"""

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, MetaData, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Row(SQLModel):
    """Base of all tables: one metadata with a naming convention, so that every constraint can be migrated."""

    metadata = MetaData(naming_convention=NAMING)


class RegisterRow(Row, table=True):
    """The one row that says whose register this is. `next_entry` is the next free entry number."""

    __tablename__ = "register"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)
    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    authority: str = Field(max_length=32)
    authority_name: str = Field(max_length=200)
    training: bool
    next_entry: int


class DocumentRow(Row, table=True):
    """Canonical bytes of a document in a zstd frame, addressed by their SHA-256. Append-only."""

    __tablename__ = "document"
    sha256: str = Field(primary_key=True, max_length=64)
    kind: str = Field(max_length=32)
    size: int
    body: bytes = Field(sa_type=LargeBinary)


class EventRow(Row, table=True):
    """One link of the chain (`chain`). Append-only, by triggers (`appendonly`)."""

    __tablename__ = "event"
    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    previous: str = Field(max_length=64, unique=True)
    hash: str = Field(max_length=64, unique=True)
    kind: str = Field(max_length=32)
    actor: str = Field(max_length=32)
    at: str = Field(max_length=20)
    body: str = Field(sa_type=Text)


class AgencyRow(Row, table=True):
    """An agency that issues decisions."""

    __tablename__ = "agency"
    id: int = Field(primary_key=True)
    name: str = Field(max_length=200, unique=True)


class OfficerRow(Row, table=True):
    """An officer. `name` stands nowhere else."""

    __tablename__ = "officer"
    id: str = Field(primary_key=True, max_length=32)
    key: str = Field(max_length=64, unique=True)
    name: str = Field(max_length=200)
    active: bool


class OfficerChangeRow(Row, table=True):
    """A signed change of the officer list; in force once `second_by` has signed it."""

    __tablename__ = "officer_change"
    __table_args__ = (
        CheckConstraint("second_by IS NULL OR second_by <> first_by", name="four_eyes"),
        CheckConstraint("first_by <> officer AND (second_by IS NULL OR second_by <> officer)", name="not_oneself"),
    )
    sha256: str = Field(primary_key=True, max_length=64, foreign_key="document.sha256")
    number: int
    officer: str = Field(max_length=32)
    name: str = Field(max_length=200)
    first_by: str = Field(max_length=32, foreign_key="officer.id")
    first_signature: str = Field(max_length=128)
    second_by: str | None = Field(default=None, max_length=32, foreign_key="officer.id")


class DecisionRow(Row, table=True):
    """A decision; what it says is in its document. `folded` is its searchable text."""

    __tablename__ = "decision"
    notation: str = Field(primary_key=True, max_length=200)
    agency: int = Field(foreign_key="agency.id")
    document: str = Field(max_length=64, foreign_key="document.sha256")
    date: str = Field(max_length=10)
    recorded: str = Field(max_length=20)
    officer: str = Field(max_length=32)
    folded: str = Field(sa_type=Text)


class ProposalRow(Row, table=True):
    """A proposal. `draft` (zstd of item lines) is there until it is signed; then `sha256` names its document.

    `unchanged` counts what was asked for and left out, since it stands already.
    """

    __tablename__ = "proposal"
    __table_args__ = (
        # With this a review can carry the proposer, and four eyes become a constraint of the database.
        UniqueConstraint("number", "proposer"),
        CheckConstraint("state = 'draft' OR state = 'discarded' OR proposer IS NOT NULL", name="proposer"),
        CheckConstraint("state <> 'approved' OR (reviewer IS NOT NULL AND reviewer <> proposer)", name="four_eyes"),
    )
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    decision: str = Field(max_length=200, foreign_key="decision.notation")
    state: str = Field(max_length=16, index=True)
    opened: str = Field(max_length=20)
    items: int
    draft: bytes | None = Field(default=None, sa_type=LargeBinary)
    proposer: str | None = Field(default=None, max_length=32, foreign_key="officer.id")
    sha256: str | None = Field(default=None, max_length=64, foreign_key="document.sha256", unique=True)
    signature: str | None = Field(default=None, max_length=128)
    signed: str | None = Field(default=None, max_length=20)
    reviewer: str | None = Field(default=None, max_length=32, foreign_key="officer.id")
    reviewed: str | None = Field(default=None, max_length=20)
    reason: str = Field(default="", max_length=500)
    unchanged: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class ReviewRow(Row, table=True):
    """A verdict on a proposal; only break-glass may be the proposer's own."""

    __tablename__ = "review"
    __table_args__ = (
        ForeignKeyConstraint(["proposal", "proposer"], ["proposal.number", "proposal.proposer"]),
        CheckConstraint("verdict = 'break_glass' OR officer <> proposer", name="four_eyes"),
        UniqueConstraint("proposal", "verdict"),
    )
    document: str = Field(primary_key=True, max_length=64, foreign_key="document.sha256")
    proposal: int
    proposer: str = Field(max_length=32)
    officer: str = Field(max_length=32, foreign_key="officer.id")
    verdict: str = Field(max_length=16)
    at: str = Field(max_length=20)


class EntryRow(Row, table=True):
    """An entry, from the moment it is proposed. `folded` is its name without case and diacritics where that differs.

    `kind`, `target`, `limits`, `action`, `data`, `category`, `decision` are the fields of its rule's canonical line.
    `paused_until`: end of an unconfirmed break-glass suspension. `lapses`: end of an unconfirmed break-glass entry.
    """

    __tablename__ = "entry"
    __table_args__ = (Index(None, "target"), Index(None, "proposal"))
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    proposal: int = Field(foreign_key="proposal.number")
    kind: str = Field(max_length=8)
    target: str = Field(max_length=253)
    limits: str = Field(sa_type=Text)
    action: str = Field(max_length=8)
    data: str = Field(sa_type=Text)
    category: str = Field(max_length=16)
    decision: str = Field(max_length=200, foreign_key="decision.notation")
    reason: str = Field(max_length=500)
    evidence: str = Field(sa_type=Text)
    path_dropped: bool
    valid_from: int
    expires: int
    state: str = Field(max_length=16)
    paused_until: int
    lapses: int
    folded: str | None = Field(default=None, sa_type=Text)


class EntryChangeRow(Row, table=True):
    """What a signed proposal changes of an entry, to find an entry's history by."""

    __tablename__ = "entry_change"
    proposal: int = Field(primary_key=True, foreign_key="proposal.number")
    entry: int = Field(primary_key=True, index=True)
    verb: str = Field(max_length=8)
    reason: str = Field(max_length=500)
    old: int
    new: int


class PublicationRow(Row, table=True):
    """A serial, reserved before its files are written. `length` and `hash` are the chain head it was made from."""

    __tablename__ = "publication"
    serial: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    reserved: str = Field(max_length=20)
    published: str | None = Field(default=None, max_length=20)
    digest: str | None = Field(default=None, max_length=64)
    length: int | None = Field(default=None)
    hash: str | None = Field(default=None, max_length=64)


TABLES = Row.metadata.tables
REGISTER = TABLES["register"]
DOCUMENT = TABLES["document"]
EVENT = TABLES["event"]
AGENCY = TABLES["agency"]
OFFICER = TABLES["officer"]
OFFICER_CHANGE = TABLES["officer_change"]
DECISION = TABLES["decision"]
PROPOSAL = TABLES["proposal"]
REVIEW = TABLES["review"]
ENTRY = TABLES["entry"]
ENTRY_CHANGE = TABLES["entry_change"]
PUBLICATION = TABLES["publication"]
