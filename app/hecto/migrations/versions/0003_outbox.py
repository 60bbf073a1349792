"""What was committed and has not been told yet."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE outbox (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_outbox PRIMARY KEY,
            subject text NOT NULL,
            drops text[] NOT NULL,
            messages jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("COMMENT ON TABLE outbox IS 'What was committed and has not been told yet'")
    op.execute("CREATE INDEX ix_outbox_subject ON outbox (subject, id)")
