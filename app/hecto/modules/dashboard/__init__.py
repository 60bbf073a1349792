"""The first page after signing in."""

PERMISSIONS: dict[str, str] = {}
