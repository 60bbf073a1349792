"""Tasks: what is to be done, by whom, and what has been said about it."""

PERMISSIONS = {
    "tasks.read": "See tasks",
    "tasks.write": "Create and change tasks",
}
