"""Channels, their members, messages and mentions."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE channel (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_channel PRIMARY KEY,
            kind text NOT NULL CONSTRAINT ck_channel_kind CHECK (kind IN ('public', 'private', 'direct')),
            name text,
            topic text NOT NULL CONSTRAINT ck_channel_topic CHECK (char_length(topic) <= 250),
            creator_id bigint NOT NULL CONSTRAINT fk_channel_creator_id_app_user REFERENCES app_user,
            first_user_id bigint CONSTRAINT fk_channel_first_user_id_app_user REFERENCES app_user,
            second_user_id bigint CONSTRAINT fk_channel_second_user_id_app_user REFERENCES app_user,
            last_change bigint NOT NULL,
            created_at timestamptz NOT NULL,
            archived_at timestamptz,
            CONSTRAINT ck_channel_name CHECK (
                CASE WHEN kind = 'direct' THEN name IS NULL
                     ELSE coalesce(char_length(name), 0) BETWEEN 1 AND 80 END),
            CONSTRAINT ck_channel_pair CHECK (
                CASE WHEN kind = 'direct' THEN coalesce(first_user_id < second_user_id, false)
                     ELSE first_user_id IS NULL AND second_user_id IS NULL END),
            CONSTRAINT uq_channel_first_user_id_second_user_id UNIQUE (first_user_id, second_user_id)
        )
    """)
    op.execute("COMMENT ON TABLE channel IS 'Channels, and conversations between two people'")
    op.execute("""
        CREATE UNIQUE INDEX uq_channel_name ON channel (lower(name))
         WHERE kind = 'public' AND archived_at IS NULL
    """)
    op.execute("""
        CREATE TABLE channel_member (
            channel_id bigint NOT NULL
                CONSTRAINT fk_channel_member_channel_id_channel REFERENCES channel ON DELETE CASCADE,
            user_id bigint NOT NULL CONSTRAINT fk_channel_member_user_id_app_user REFERENCES app_user,
            read_number bigint NOT NULL,
            joined_at timestamptz NOT NULL,
            CONSTRAINT pk_channel_member PRIMARY KEY (channel_id, user_id)
        )
    """)
    op.execute("COMMENT ON TABLE channel_member IS 'Who is in which channel, and how far they have read'")
    op.execute("CREATE INDEX ix_channel_member_user_id ON channel_member (user_id, channel_id)")
    op.execute("""
        CREATE TABLE message (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_message PRIMARY KEY,
            channel_id bigint NOT NULL CONSTRAINT fk_message_channel_id_channel REFERENCES channel ON DELETE CASCADE,
            number bigint NOT NULL,
            change bigint NOT NULL,
            author_id bigint NOT NULL CONSTRAINT fk_message_author_id_app_user REFERENCES app_user,
            text text NOT NULL,
            links jsonb NOT NULL CONSTRAINT ck_message_links CHECK (jsonb_typeof(links) = 'array'),
            created_at timestamptz NOT NULL,
            edited_at timestamptz,
            deleted_at timestamptz,
            CONSTRAINT ck_message_text CHECK (
                CASE WHEN deleted_at IS NULL THEN char_length(text) BETWEEN 1 AND 10000 ELSE text = '' END),
            CONSTRAINT ck_message_change CHECK (change >= number AND number > 0),
            CONSTRAINT uq_message_channel_id_number UNIQUE (channel_id, number),
            CONSTRAINT uq_message_channel_id_change UNIQUE (channel_id, change)
        )
    """)
    op.execute("COMMENT ON TABLE message IS 'What was written in channels'")
    op.execute("CREATE INDEX ix_message_text_words ON message USING gin (text gin_trgm_ops)")
    op.execute("""
        CREATE TABLE message_mention (
            message_id bigint NOT NULL
                CONSTRAINT fk_message_mention_message_id_message REFERENCES message ON DELETE CASCADE,
            user_id bigint NOT NULL CONSTRAINT fk_message_mention_user_id_app_user REFERENCES app_user,
            CONSTRAINT pk_message_mention PRIMARY KEY (message_id, user_id)
        )
    """)
    op.execute("COMMENT ON TABLE message_mention IS 'Whom a message names'")
