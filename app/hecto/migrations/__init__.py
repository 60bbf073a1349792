"""The history of the schema, and how to move along it."""
