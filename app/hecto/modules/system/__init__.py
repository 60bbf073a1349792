"""How the whole site is doing, for whoever runs it: instances of all hosts, PostgreSQL, Redis, real time, backups."""

PERMISSIONS = {"system.read": "See how the system is doing"}
