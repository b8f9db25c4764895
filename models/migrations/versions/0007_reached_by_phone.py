"""Contacts are found by their phone number."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    known = sa.text("phone IS NOT NULL")
    op.create_index("ix_contact_phone", "contact", ["phone"], sqlite_where=known, postgresql_where=known)
