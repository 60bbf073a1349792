"""What must hold of tasks."""

from __future__ import annotations

from hecto.core.checks import Check

CHECKS = (
    Check(
        "tasks that were not made exactly once",
        "SELECT task.id::text FROM task LEFT JOIN activity ON subject_type = 'task' AND subject_id = task.id"
        " AND verb = 'created' GROUP BY task.id HAVING count(activity.id) <> 1",
    ),
    Check(
        "activity of tasks that are neither there nor deleted",
        "SELECT subject_id::text FROM activity WHERE subject_type = 'task'"
        " AND NOT EXISTS (SELECT FROM task WHERE task.id = subject_id)"
        " GROUP BY subject_id HAVING count(*) FILTER (WHERE verb = 'deleted') <> 1",
    ),
    Check(
        "tasks that are there and deleted",
        "SELECT subject_id::text FROM activity JOIN task ON task.id = subject_id"
        " WHERE subject_type = 'task' AND verb = 'deleted'",
    ),
)
