"""The topic of a provider's own list that somebody left."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("provider_event", sa.Column("topic", sa.String(length=100), server_default="", nullable=False))
