"""PostgreSQL, Redis and instances of the app, started for a test run out of what Debian installs, and stopped after it.

Everything listens on unix sockets in a directory of its own, so that any number of runs may go on side by side; only
gunicorn also needs a port, and takes one that is free.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

PASSWORD = "for-this-run-only"
SECRET_KEY = "k" * 64
ADMIN_EMAIL = "admin@example.com"
ADMIN_PASSWORD = "correct horse battery"
REPOSITORY = Path(__file__).parent.parent


def wait_until(
    ready: Callable[[], bool],
    what: str,
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
    seconds: float = 30,
) -> None:
    """Wait for a condition; fails with the log of the process when it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-3000:] if log and log.exists() else ""
            raise AssertionError(f"{what} {'ended' if ended else f'was not ready within {seconds:.0f} s'}:\n{tail}")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], how: int = signal.SIGTERM) -> None:
    """End a process that we started, for certain."""
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Psql:
    """Somebody with an open session of their own, who can hold a lock."""

    def __init__(self, postgres: Postgres, database: str) -> None:
        words = [str(postgres.bin / "psql"), "-h", str(postgres.directory), "-U", "postgres", "-qAt", database]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, statements: str) -> str:
        """Run statements of which one gives one row, and return it."""
        self._process.stdin.write(statements + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End the session, and with it its transaction."""
        self._process.kill()
        self._process.wait()


class Postgres:
    """A PostgreSQL server with the roles that roles/postgres makes."""

    def __init__(self, directory: Path, connections: int = 60) -> None:
        self.directory = directory
        self.connections = connections
        self.data = directory / "data"
        self.process: subprocess.Popen[bytes] | None = None
        self.bin = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))[-1]
        # The server refuses to run as root, as whom CI runs: Debian's package made the user postgres.
        self.user = "postgres" if os.geteuid() == 0 else None
        directory.mkdir()
        if self.user:
            shutil.chown(directory, self.user)
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8")
        self.start()
        for role in ("hecto_owner", "hecto_app", "hecto_read"):
            self.sql("postgres", f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = self.directory / "log"
        settings = ["-k", str(self.directory), "-h", "", "-c", "fsync=off"]
        settings += ["-c", f"max_connections={self.connections}"]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(self.bin / "postgres"), "-D", str(self.data), *settings],
                stdout=output,
                stderr=output,
                user=self.user,
                cwd=self.directory,
            )
        wait_until(self._answers, "PostgreSQL", self.process, log)

    def open(self, database: str) -> Psql:
        """A session that stays open."""
        return Psql(self, database)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop the server; SIGINT is its fast shutdown."""
        assert self.process is not None
        stop(self.process, how)

    def make_database(self, name: str) -> None:
        """A database as roles/postgres makes it."""
        self.sql("postgres", f"CREATE DATABASE {name} OWNER hecto_owner")
        self.sql(
            name,
            "ALTER DEFAULT PRIVILEGES FOR ROLE hecto_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO hecto_app;"
            "ALTER DEFAULT PRIVILEGES FOR ROLE hecto_owner GRANT USAGE ON SEQUENCES TO hecto_app;"
            "ALTER SCHEMA public OWNER TO hecto_owner; GRANT USAGE ON SCHEMA public TO hecto_app",
        )

    def sql(self, database: str, statements: str) -> str:
        """Run SQL as the superuser; returns what psql prints."""
        return self._run(
            "psql", "-h", str(self.directory), "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-qAtc", statements, database
        )

    def _answers(self) -> bool:
        command = [str(self.bin / "pg_isready"), "-q", "-h", str(self.directory)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            user=self.user,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed: {done.stderr}"
        return done.stdout.strip()


class Redis:
    """A Redis server with the user that roles/redis makes."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.options = options
        self.socket = directory / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir()
        (directory / "users.acl").write_text(
            f"user default off ~* &* +@all\nuser root on >{PASSWORD} ~* &* +@all\n"
            f"user hecto on >{PASSWORD} ~* &* +@all -@dangerous -@admin +info\n"
        )
        self.start()

    def start(self) -> None:
        """Start the server and wait until it listens."""
        log = self.directory / "log"
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.directory)]
        options += self.options
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["redis-server", *options, "--aclfile", str(self.directory / "users.acl")], stdout=output, stderr=output
            )
        wait_until(self._listens, "Redis", self.process, log)

    def stop(self) -> None:
        """Stop the server."""
        assert self.process is not None
        stop(self.process)

    def ask(self, *command: str) -> str:
        """Send a command as the administrator of the server, whom the app's user is not."""
        words = ["redis-cli", "-s", str(self.socket), "--user", "root", "--pass", PASSWORD, "--no-auth-warning"]
        return subprocess.run([*words, *command], check=True, capture_output=True, text=True).stdout

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0


@dataclass
class Site:
    """A database, a Redis and the environment that points the app at them."""

    directory: Path
    postgres: Postgres
    redis: Redis
    database: str
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.credentials = self.directory / f"credentials-{self.database}"
        self.credentials.mkdir()
        for name, value in {
            "database-password": PASSWORD,
            "redis-password": PASSWORD,
            "secret-key": SECRET_KEY,
            "admin-password": ADMIN_PASSWORD,
        }.items():
            (self.credentials / name).write_text(value)
        self.run = self.directory / f"run-{self.database}"
        (self.run / "control").mkdir(parents=True)
        self.postgres.make_database(self.database)

    def environment(self, instance: int = 0, **more: str) -> dict[str, str]:
        """The environment of an instance."""
        return {
            "HECTO_INSTANCE": str(instance),
            "HECTO_DATABASE_HOST": str(self.postgres.directory),
            "HECTO_DATABASE_NAME": self.database,
            "HECTO_DATABASE_USER": "hecto_app",
            "HECTO_DATABASE_POOL": "4",
            "HECTO_REDIS_SOCKET": str(self.redis.socket),
            "HECTO_PUBLIC_URL": "http://127.0.0.1",
            "HECTO_RUN_DIRECTORY": str(self.run),
            "HECTO_ADMIN_EMAIL": ADMIN_EMAIL,
            "CREDENTIALS_DIRECTORY": str(self.credentials),
            "PYTHONPATH": str(REPOSITORY / "app"),
            "PATH": os.environ["PATH"],
            **self.extra,
            **more,
        }

    def setup(self, *arguments: str) -> str:
        """Run ``hecto setup`` as the owner of the database; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "hecto.cli", "setup", *arguments],
            env=self.environment(HECTO_DATABASE_USER="hecto_owner"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class AppInstance:
    """One instance of the app under gunicorn, as the unit hecto@N runs it."""

    def __init__(self, site: Site, *, held: bool = False, app: str = "hecto.wsgi:app", **environment: str) -> None:
        self.site = site
        self.app = app
        self.number = free_instance()
        self.name = f"instance-{self.number}"
        self.url = f"http://127.0.0.1:{5000 + self.number}"
        self.control = site.run / "control" / f"{self.number}.sock"
        self.hold = self.control.with_suffix(".hold")
        if held:
            self.hold.touch()
        self.log = site.directory / f"{self.name}.log"
        # Clients come straight to the instance here, so its own address is the public one.
        self.environment = site.environment(self.number, HECTO_PUBLIC_URL=self.url, **environment)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start and wait until it takes traffic, or says that it is held."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "python:hecto.gunicorn_conf", self.app],
                env=self.environment,
                cwd=self.site.directory,
                stdout=output,
                stderr=output,
            )
        # Several start at once, each with seconds of work for a core.
        wait_until(self.answers, self.name, self.process, self.log, seconds=90)

    def stop(self) -> None:
        """Stop as systemd does."""
        assert self.process is not None
        stop(self.process)
        self.hold.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it as the kernel does that has no memory left: nobody gets to say anything."""
        assert self.process is not None
        worker = json.loads(ask(self.control, "GET", "/control/status")[1])["pid"]
        # The arbiter first, or it would start another worker.
        self.process.kill()
        self.process.wait()
        os.kill(worker, signal.SIGKILL)
        # Nobody waits for the worker, whose files the kernel closes when it gets to it.
        wait_until(lambda: not self.listens(), f"the end of {self.name}", seconds=5)

    def listens(self) -> bool:
        with socket.socket(socket.AF_INET) as probe:
            return probe.connect_ex(("127.0.0.1", 5000 + self.number)) == 0

    def answers(self) -> bool:
        with socket.socket(socket.AF_INET) as probe:
            probe.settimeout(5)
            if probe.connect_ex(("127.0.0.1", 5000 + self.number)) != 0:
                return False
            probe.sendall(b"GET /api/ready HTTP/1.0\r\n\r\n")
            expected = b'"held"' if self.hold.exists() else b" 200 "
            return expected in b"".join(iter(lambda: probe.recv(1000), b""))


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path) -> None:
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


def ask(path, method: str, url: str) -> tuple[int, bytes]:
    connection = UnixConnection(path)
    connection.request(method, url)
    answer = connection.getresponse()
    return answer.status, answer.read()


def free_instance() -> int:
    """A number N whose port 5000 + N nobody uses, kept from other test runs on this machine until this one ends."""
    for number in range(100, 999):
        # An instance binds its port seconds after the number was chosen, so looking at the port alone is not enough.
        lock = Path(tempfile.gettempdir(), f"hecto-instance-{number}.lock").open("w")  # noqa: SIM115  held to the end
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        with socket.socket(socket.AF_INET) as probe:
            if probe.connect_ex(("127.0.0.1", 5000 + number)) != 0:
                _taken.append(lock)
                return number
        lock.close()
    raise AssertionError("no free port between 5100 and 5999")


_taken: list[TextIO] = []


def scratch() -> Path:
    """A directory with a path short enough for unix sockets (108 bytes), open to the user postgres."""
    directory = Path(tempfile.mkdtemp(prefix="hecto-"))
    directory.chmod(0o755)
    return directory
