"""Users: accounts, roles, signing in and out."""

PERMISSIONS = {
    "users.read": "See the users",
    "users.manage": "Create users and change their roles",
}
