"""What was written back to the records of a CRM."""

import sqlalchemy as sa
from alembic import op

from models.base import Json

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("crm_row", sa.Column("pushed", Json, nullable=True))
