"""How many items of a proposal were left out because they stand already"""

from alembic import op
import sqlalchemy as sa

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("proposal", sa.Column("unchanged", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    raise NotImplementedError("a register is never taken back: restore a backup")
