"""How gunicorn runs an instance: one arbiter, one gevent worker. Used as ``-c python:hecto.gunicorn_conf``."""

# Before anything else imports sockets, locks or threads.
from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402  after the patch

# Importing makes hundreds of thousands of objects and next to no garbage: looking for some takes a quarter of the
# processor time of a start. when_ready turns the collector on again.
gc.disable()

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402

# redis-py takes up OpenTelemetry wherever it finds it, which costs an instance 2 MB. It finds none; tracing.py does.
sys.modules["opentelemetry"] = None  # type: ignore[assignment]
import redis  # noqa: E402, F401

del sys.modules["opentelemetry"]

from hecto import response, settings  # noqa: E402
from hecto.core import logs  # noqa: E402

response.install()

_number = int(os.environ.get("HECTO_INSTANCE", "0"))
# As early as this, so that what stops the start is told like everything else.
logs.install(f"instance-{_number}", settings.release())
_run = os.environ.get("HECTO_RUN_DIRECTORY", "/run/hecto")

# The first is nginx's, the second for metrics and for people on the host, the third for the fleet tool alone.
bind = [f"unix:{_run}/{_number}.sock", f"127.0.0.1:{5000 + _number}", f"unix:{_run}/control/{_number}.sock"]
# Sockets are group-writable: the directory lets in nginx's group and nobody else.
umask = 0o007

worker_class = "hecto.worker.InstanceWorker"
# Rooms and connections live in the memory of one process; more workers behind one socket would each know a part.
workers = 1
# Connections at a time, WebSockets included: a hundred instances then hold far more than a host is meant for.
worker_connections = 2000
backlog = 1024

# The app is imported before the socket answers: "started" means "can serve", and a broken release fails at once.
preload_app = True
# A worker that is stopped or hangs is killed after this long; until then nginx gives each of its requests to another.
timeout = 15
graceful_timeout = 25
# nginx opens a connection for each request: on a unix socket that costs nothing, and no request can meet a closing one.
keepalive = 0
# All instances of a user would share one path.
control_socket_disable = True
# Headers and path of one request; nginx has checked them before.
limit_request_line = 8190
forwarded_allow_ips = "*"

# nginx tells of every request; the app, of what nginx cannot know.
accesslog = None
logger_class = "hecto.worker.InstanceLogger"


def when_ready(server: Any) -> None:
    """Keep what was imported out of the garbage collector, so that the worker shares its pages with the arbiter."""
    gc.freeze()
    gc.enable()


def post_worker_init(worker: Any) -> None:
    """Begin to serve, and make SIGTERM a drain: refuse at once, move the sockets, finish what is in hand."""
    from hecto import application
    from hecto.wsgi import app

    application.serve(app)

    def leave() -> None:
        application.leave(app)
        worker.leave()

    # libev's own watcher: a Python handler would wait until the loop next returns to the interpreter.
    gevent.signal_handler(signal.SIGTERM, leave)


def worker_exit(server: Any, worker: Any) -> None:
    """Leave nothing open behind."""
    from hecto import application
    from hecto.wsgi import app

    application.close(app)
