"""Users, sign-ins, tasks and their history."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A trusted extension: the owner of the database may create it.
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("""
        CREATE TABLE app_user (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_app_user PRIMARY KEY,
            email text NOT NULL,
            name text NOT NULL,
            password_hash text NOT NULL,
            active boolean NOT NULL,
            version bigint NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        )
    """)
    op.execute("COMMENT ON TABLE app_user IS 'People who can sign in'")
    op.execute("CREATE UNIQUE INDEX uq_app_user_email ON app_user (lower(email))")
    op.execute("""
        CREATE TABLE role (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_role PRIMARY KEY,
            name text NOT NULL CONSTRAINT uq_role_name UNIQUE,
            label text NOT NULL,
            permissions text[] NOT NULL
        )
    """)
    op.execute("COMMENT ON TABLE role IS 'Named sets of permissions'")
    op.execute("""
        CREATE TABLE user_role (
            user_id bigint NOT NULL CONSTRAINT fk_user_role_user_id_app_user REFERENCES app_user,
            role_id bigint NOT NULL CONSTRAINT fk_user_role_role_id_role REFERENCES role,
            CONSTRAINT pk_user_role PRIMARY KEY (user_id, role_id)
        )
    """)
    op.execute("COMMENT ON TABLE user_role IS 'Which user has which role'")
    op.execute("""
        CREATE TABLE user_session (
            id text CONSTRAINT pk_user_session PRIMARY KEY,
            user_id bigint NOT NULL CONSTRAINT fk_user_session_user_id_app_user REFERENCES app_user,
            kind text NOT NULL CONSTRAINT ck_user_session_kind CHECK (kind IN ('browser', 'api')),
            secret_digest text NOT NULL,
            previous_digest text NOT NULL,
            rotated_at timestamptz NOT NULL,
            created_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            revoked_at timestamptz,
            address text NOT NULL,
            user_agent text NOT NULL
        )
    """)
    op.execute("COMMENT ON TABLE user_session IS 'Sign-ins'")
    op.execute("CREATE INDEX ix_user_session_user_id ON user_session (user_id)")
    op.execute("CREATE INDEX ix_user_session_expires_at ON user_session (expires_at)")
    op.execute("""
        CREATE TABLE task (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_task PRIMARY KEY,
            title text NOT NULL CONSTRAINT ck_task_title CHECK (title <> ''),
            description text NOT NULL,
            status text NOT NULL CONSTRAINT ck_task_status CHECK (status IN ('open', 'doing', 'done')),
            priority smallint NOT NULL CONSTRAINT ck_task_priority CHECK (priority BETWEEN 1 AND 4),
            due_date date,
            creator_id bigint NOT NULL CONSTRAINT fk_task_creator_id_app_user REFERENCES app_user,
            assignee_id bigint CONSTRAINT fk_task_assignee_id_app_user REFERENCES app_user,
            closed_at timestamptz,
            version bigint NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT ck_task_closed_at CHECK ((status = 'done') = (closed_at IS NOT NULL))
        )
    """)
    op.execute("COMMENT ON TABLE task IS 'Things to be done'")
    op.execute("CREATE INDEX ix_task_status ON task (status, id DESC)")
    op.execute("CREATE INDEX ix_task_assignee ON task (assignee_id, id DESC)")
    op.execute("CREATE INDEX ix_task_title_words ON task USING gin (title gin_trgm_ops)")
    op.execute("""
        CREATE TABLE activity (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_activity PRIMARY KEY,
            subject_type text NOT NULL,
            subject_id bigint NOT NULL,
            actor_id bigint CONSTRAINT fk_activity_actor_id_app_user REFERENCES app_user,
            verb text NOT NULL,
            data jsonb NOT NULL,
            created_at timestamptz NOT NULL
        )
    """)
    op.execute("COMMENT ON TABLE activity IS 'Who did what to which record'")
    op.execute("CREATE INDEX ix_activity_subject ON activity (subject_type, subject_id, id)")
