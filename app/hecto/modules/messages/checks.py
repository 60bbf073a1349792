"""What must hold of channels and messages."""

from __future__ import annotations

from hecto.core.checks import Check

CHECKS = (
    # Whatever was done last is still to be seen at its message.
    Check(
        "channels whose last change is missing",
        "SELECT channel.id::text FROM channel LEFT JOIN message ON channel_id = channel.id"
        " GROUP BY channel.id HAVING coalesce(max(change), 0) <> last_change",
    ),
    # A change that another one followed has left no trace: where nothing was changed, no number may be missing.
    Check(
        "channels that lack a message",
        "SELECT channel.id::text FROM channel JOIN message ON channel_id = channel.id"
        " GROUP BY channel.id HAVING bool_and(change = number) AND count(*) <> last_change",
    ),
    Check(
        "messages in another order than their numbers",
        "SELECT id::text FROM (SELECT id, number, lag(number) OVER (PARTITION BY channel_id ORDER BY id) AS before"
        " FROM message) AS pairs WHERE before >= number",
    ),
    Check(
        "members who have read what is not written",
        "SELECT channel_id::text || ':' || user_id FROM channel_member JOIN channel ON channel.id = channel_id"
        " WHERE read_number > last_change",
    ),
    Check(
        "mentions in messages that are deleted",
        "SELECT message_id::text FROM message_mention JOIN message ON message.id = message_id"
        " WHERE deleted_at IS NOT NULL",
    ),
)
