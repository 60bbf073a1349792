"""The tasks of one person in one state, as the dashboard lists them."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # What an attempt that was cut short has left is of no use, and in the way.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_task_assignee_status")
        op.execute("CREATE INDEX CONCURRENTLY ix_task_assignee_status ON task (assignee_id, status, id DESC)")
