"""hecto-fleet top: a host, its instances, PostgreSQL and Redis, live in a terminal.

Cheap by design: it costs the same with a hundred instances as with twenty-five. Whatever has to be asked of every
instance is asked of some of them each time, in turn; the rest is read where the kernel keeps it anyway.
"""
