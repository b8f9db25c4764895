"""Who is on which list of a CRM."""

import sqlalchemy as sa
from alembic import op

from models.base import Id

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crm_member",
        sa.Column("source", sa.String(100), nullable=False),
        sa.Column("list", sa.String(100), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("row_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["row_id"], ["crm_row.id"], name=op.f("fk_crm_member_row_id")),
        sa.PrimaryKeyConstraint("source", "list", "number", name=op.f("pk_crm_member")),
    )
    op.create_index("ix_crm_member_row_id", "crm_member", ["row_id"])
