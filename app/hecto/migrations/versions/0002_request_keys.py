"""Keys of writes with their answers."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE request_key (
            id bytea CONSTRAINT pk_request_key PRIMARY KEY,
            body_digest bytea NOT NULL,
            status smallint NOT NULL,
            content_type text NOT NULL,
            headers jsonb NOT NULL,
            answer bytea NOT NULL,
            expires_at timestamptz NOT NULL
        )
    """)
    op.execute("COMMENT ON TABLE request_key IS 'Writes that were done, with their answers, for those that come twice'")
    op.execute("CREATE INDEX ix_request_key_expires_at ON request_key (expires_at)")
