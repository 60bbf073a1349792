"""What runs on a host beside the app: it starts, stops, watches and rolls the instances.

Standard library only, and no import of the app: this tool must work while the app does not. One exception says so where
it is: `top` imports the driver of PostgreSQL, and shows everything else where it cannot.
"""
