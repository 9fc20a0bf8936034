"""First tables"""

from alembic import op
import sqlalchemy as sa

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agency",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agency")),
        sa.UniqueConstraint("name", name=op.f("uq_agency_name")),
    )
    op.create_table(
        "document",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_document")),
    )
    op.create_table(
        "event",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=32), nullable=False),
        sa.Column("at", sa.String(length=20), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_event")),
        sa.UniqueConstraint("hash", name=op.f("uq_event_hash")),
        sa.UniqueConstraint("previous", name=op.f("uq_event_previous")),
    )
    op.create_table(
        "officer",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_officer")),
        sa.UniqueConstraint("key", name=op.f("uq_officer_key")),
    )
    op.create_table(
        "publication",
        sa.Column("serial", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reserved", sa.String(length=20), nullable=False),
        sa.Column("published", sa.String(length=20), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("length", sa.Integer(), nullable=True),
        sa.Column("hash", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_publication")),
    )
    op.create_table(
        "register",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("authority", sa.String(length=32), nullable=False),
        sa.Column("authority_name", sa.String(length=200), nullable=False),
        sa.Column("training", sa.Boolean(), nullable=False),
        sa.Column("next_entry", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_register_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_register")),
    )
    op.create_table(
        "decision",
        sa.Column("notation", sa.String(length=200), nullable=False),
        sa.Column("agency", sa.Integer(), nullable=False),
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.Column("date", sa.String(length=10), nullable=False),
        sa.Column("recorded", sa.String(length=20), nullable=False),
        sa.Column("officer", sa.String(length=32), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["agency"], ["agency.id"], name=op.f("fk_decision_agency_agency")),
        sa.ForeignKeyConstraint(["document"], ["document.sha256"], name=op.f("fk_decision_document_document")),
        sa.PrimaryKeyConstraint("notation", name=op.f("pk_decision")),
    )
    op.create_table(
        "officer_change",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("officer", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("first_by", sa.String(length=32), nullable=False),
        sa.Column("first_signature", sa.String(length=128), nullable=False),
        sa.Column("second_by", sa.String(length=32), nullable=True),
        sa.CheckConstraint(
            "first_by <> officer AND (second_by IS NULL OR second_by <> officer)",
            name=op.f("ck_officer_change_not_oneself"),
        ),
        sa.CheckConstraint("second_by IS NULL OR second_by <> first_by", name=op.f("ck_officer_change_four_eyes")),
        sa.ForeignKeyConstraint(["first_by"], ["officer.id"], name=op.f("fk_officer_change_first_by_officer")),
        sa.ForeignKeyConstraint(["second_by"], ["officer.id"], name=op.f("fk_officer_change_second_by_officer")),
        sa.ForeignKeyConstraint(["sha256"], ["document.sha256"], name=op.f("fk_officer_change_sha256_document")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_officer_change")),
    )
    op.create_table(
        "proposal",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("decision", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("opened", sa.String(length=20), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("draft", sa.LargeBinary(), nullable=True),
        sa.Column("proposer", sa.String(length=32), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("signature", sa.String(length=128), nullable=True),
        sa.Column("signed", sa.String(length=20), nullable=True),
        sa.Column("reviewer", sa.String(length=32), nullable=True),
        sa.Column("reviewed", sa.String(length=20), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.CheckConstraint(
            "state <> 'approved' OR (reviewer IS NOT NULL AND reviewer <> proposer)", name=op.f("ck_proposal_four_eyes")
        ),
        sa.CheckConstraint(
            "state = 'draft' OR state = 'discarded' OR proposer IS NOT NULL", name=op.f("ck_proposal_proposer")
        ),
        sa.ForeignKeyConstraint(["decision"], ["decision.notation"], name=op.f("fk_proposal_decision_decision")),
        sa.ForeignKeyConstraint(["proposer"], ["officer.id"], name=op.f("fk_proposal_proposer_officer")),
        sa.ForeignKeyConstraint(["reviewer"], ["officer.id"], name=op.f("fk_proposal_reviewer_officer")),
        sa.ForeignKeyConstraint(["sha256"], ["document.sha256"], name=op.f("fk_proposal_sha256_document")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_proposal")),
        sa.UniqueConstraint("number", "proposer", name=op.f("uq_proposal_number_proposer")),
        sa.UniqueConstraint("sha256", name=op.f("uq_proposal_sha256")),
    )
    op.create_index(op.f("ix_proposal_state"), "proposal", ["state"], unique=False)
    op.create_table(
        "entry",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("proposal", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("target", sa.String(length=253), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=8), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("category", sa.String(length=16), nullable=False),
        sa.Column("decision", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("path_dropped", sa.Boolean(), nullable=False),
        sa.Column("valid_from", sa.Integer(), nullable=False),
        sa.Column("expires", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("paused_until", sa.Integer(), nullable=False),
        sa.Column("lapses", sa.Integer(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["decision"], ["decision.notation"], name=op.f("fk_entry_decision_decision")),
        sa.ForeignKeyConstraint(["proposal"], ["proposal.number"], name=op.f("fk_entry_proposal_proposal")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_entry")),
    )
    op.create_index(op.f("ix_entry_proposal"), "entry", ["proposal"], unique=False)
    op.create_index(op.f("ix_entry_target"), "entry", ["target"], unique=False)
    op.create_table(
        "entry_change",
        sa.Column("proposal", sa.Integer(), nullable=False),
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("verb", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("old", sa.Integer(), nullable=False),
        sa.Column("new", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["proposal"], ["proposal.number"], name=op.f("fk_entry_change_proposal_proposal")),
        sa.PrimaryKeyConstraint("proposal", "entry", name=op.f("pk_entry_change")),
    )
    op.create_index(op.f("ix_entry_change_entry"), "entry_change", ["entry"], unique=False)
    op.create_table(
        "review",
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.Column("proposal", sa.Integer(), nullable=False),
        sa.Column("proposer", sa.String(length=32), nullable=False),
        sa.Column("officer", sa.String(length=32), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("at", sa.String(length=20), nullable=False),
        sa.CheckConstraint("verdict = 'break_glass' OR officer <> proposer", name=op.f("ck_review_four_eyes")),
        sa.ForeignKeyConstraint(["document"], ["document.sha256"], name=op.f("fk_review_document_document")),
        sa.ForeignKeyConstraint(["officer"], ["officer.id"], name=op.f("fk_review_officer_officer")),
        sa.ForeignKeyConstraint(
            ["proposal", "proposer"],
            ["proposal.number", "proposal.proposer"],
            name=op.f("fk_review_proposal_proposer_proposal"),
        ),
        sa.PrimaryKeyConstraint("document", name=op.f("pk_review")),
        sa.UniqueConstraint("proposal", "verdict", name=op.f("uq_review_proposal_verdict")),
    )


def downgrade() -> None:
    raise NotImplementedError("a register is never taken back: restore a backup")
