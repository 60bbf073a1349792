"""The business modules, one folder each with the same files."""
