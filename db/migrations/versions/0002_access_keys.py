"""Access keys of the API users."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.types import Identity64, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_key",
        sa.Column("key_digest", sa.String(length=64), nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("api_user_id", Identity64, nullable=False),
        sa.Column("password_digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_access_key_account_id")),
        sa.ForeignKeyConstraint(["api_user_id"], ["api_user.id"], name=op.f("fk_access_key_api_user_id")),
        sa.PrimaryKeyConstraint("key_digest", name=op.f("pk_access_key")),
    )
    op.create_index(op.f("ix_access_key_expires_at"), "access_key", ["expires_at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_access_key_expires_at"), table_name="access_key")
    op.drop_table("access_key")
