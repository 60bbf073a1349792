"""What must hold of users and their sign-ins."""

from __future__ import annotations

from hecto.core.checks import Check

CHECKS = (
    Check(
        "users that were not made exactly once",
        "SELECT app_user.id::text FROM app_user LEFT JOIN activity ON subject_type = 'user'"
        " AND subject_id = app_user.id AND verb = 'created' GROUP BY app_user.id HAVING count(activity.id) <> 1",
    ),
    Check("users without a password", "SELECT id::text FROM app_user WHERE password_hash NOT LIKE '$%'"),
    Check("sign-ins that end before they begin", "SELECT id FROM user_session WHERE expires_at < created_at"),
)
