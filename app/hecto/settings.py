"""Settings: read once at start from the environment and the credentials directory, typed, refused when wrong."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.parse import urlsplit

import orjson

T = TypeVar("T")

DEFAULT_PORTS = {"http": 80, "https": 443}
SHORTEST_KEY = 32  # characters: of letters and digits, 190 bits
LONGEST_DATABASE_NAME = 63  # bytes: PostgreSQL cuts what a client calls itself after them


class SettingsError(Exception):
    """Everything that is wrong with the settings, one line each, with what to do."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"Hecto cannot start, its settings are wrong:\n{lines}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What one process needs to know of its surroundings. Times are in seconds."""

    instance: int
    # The name of this host among several; empty on the only one.
    host: str
    database_host: str
    database_report_host: str
    database_port: int
    database_name: str
    database_user: str
    database_password: str
    database_pool: int
    redis_socket: str
    redis_host: str
    redis_port: int
    redis_user: str
    redis_password: str
    secret_key: str
    public_url: str
    cors_origins: tuple[str, ...]
    run_directory: Path
    release: str
    admin_email: str
    admin_password: str
    requests_per_minute: int
    slow_milliseconds: int
    otlp_endpoint: str
    trace_ratio: float
    sentry_dsn: str

    @property
    def instance_name(self) -> str:
        """The name this process gives itself: ``instance-N``, among several hosts ``HOST/instance-N``."""
        return f"{self.host}/instance-{self.instance}" if self.host else f"instance-{self.instance}"

    @property
    def database_client(self) -> str:
        """What it calls itself to PostgreSQL: of a long host name the end is left out, and never the number."""
        number = f"/instance-{self.instance}"
        host = f"hecto {self.host}"[: LONGEST_DATABASE_NAME - len(number)]
        return f"{host}{number}" if self.host else f"hecto {self.instance_name}"

    @property
    def place(self) -> str:
        """Where its sessions live, for nginx, which finds the way by it: ``N``, among several hosts ``TAG-N``."""
        return f"{host_tag(self.host)}-{self.instance}" if self.host else str(self.instance)

    @property
    def secure(self) -> bool:
        """Whether browsers reach the site by https; cookies and HSTS follow it."""
        return self.public_url.startswith("https://")


def host_tag(host: str) -> str:
    """A host's name in six characters, which stay when hosts are added or removed; the role nginx makes the same."""
    return hashlib.sha1(host.encode(), usedforsecurity=False).hexdigest()[:6]


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from ``HECTO_*`` variables and from files in ``$CREDENTIALS_DIRECTORY``.

    Secrets never come from the environment, where every child process and crash report could read them.
    Raises SettingsError that names every wrong value at once.
    """
    reader = _Reader(os.environ if environ is None else environ)
    settings = _read(reader)
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


def check(file: Path) -> None:
    """See whether instances would start with a file of settings as systemd reads it: lines such as NAME="value".

    Stricter than ``load``, which overlooks names that it does not know, because they may be a newer release's.
    Raises SettingsError that names every wrong line at once.
    """
    lines = (line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#"))
    found = {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}
    with TemporaryDirectory() as directory:
        for name in ("database-password", "redis-password", "secret-key"):
            (Path(directory) / name).write_text("x" * SHORTEST_KEY)
        reader = _Reader({**found, "CREDENTIALS_DIRECTORY": directory})
        _read(reader)
    unknown = [f"{name} is no setting: correct it, or remove it" for name in sorted(found.keys() - reader.names)]
    if problems := reader.problems + unknown:
        raise SettingsError(problems)


def _read(reader: _Reader) -> Settings:
    return Settings(
        instance=reader.number("HECTO_INSTANCE", "0", 0, 999),
        host=reader.parsed("HECTO_HOST", "", _host),
        database_host=reader.text("HECTO_DATABASE_HOST", "/run/postgresql"),
        database_report_host=reader.text("HECTO_DATABASE_REPORT_HOST", "", allow_empty=True),
        database_port=reader.number("HECTO_DATABASE_PORT", "5432", 1, 65535),
        database_name=reader.text("HECTO_DATABASE_NAME", "hecto"),
        database_user=reader.text("HECTO_DATABASE_USER", "hecto_app"),
        database_password=reader.secret("database-password"),
        database_pool=reader.number("HECTO_DATABASE_POOL", "4", 1, 100),
        redis_socket=reader.text("HECTO_REDIS_SOCKET", "", allow_empty=True),
        redis_host=reader.text("HECTO_REDIS_HOST", "127.0.0.1"),
        redis_port=reader.number("HECTO_REDIS_PORT", "6379", 1, 65535),
        redis_user=reader.text("HECTO_REDIS_USER", "hecto"),
        redis_password=reader.secret("redis-password"),
        secret_key=reader.secret("secret-key", shortest=SHORTEST_KEY),
        public_url=reader.parsed("HECTO_PUBLIC_URL", "https://127.0.0.1:8443", _origin),
        cors_origins=reader.parsed("HECTO_CORS_ORIGINS", "", _origins),
        run_directory=Path(reader.text("HECTO_RUN_DIRECTORY", "/run/hecto")),
        release=release(),
        admin_email=reader.parsed("HECTO_ADMIN_EMAIL", "admin@localhost", _address),
        admin_password=reader.secret("admin-password", required=False),
        requests_per_minute=reader.number("HECTO_REQUESTS_PER_MINUTE", "1200", 1, 10_000_000),
        slow_milliseconds=reader.number("HECTO_SLOW_MILLISECONDS", "1000", 1, 600_000),
        otlp_endpoint=reader.parsed("HECTO_OTLP_ENDPOINT", "", _receiver),
        trace_ratio=reader.parsed("HECTO_TRACE_RATIO", "0.01", _ratio),
        sentry_dsn=reader.parsed("HECTO_SENTRY_DSN", "", _dsn),
    )


class _Reader:
    """Reads one value after another and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []
        self.names: set[str] = set()

    def value(self, name: str, default: str) -> str:
        self.names.add(name)
        return self.environ.get(name, default).strip()

    def text(self, name: str, default: str, *, allow_empty: bool = False) -> str:
        value = self.value(name, default)
        if not value and not allow_empty:
            self.problems.append(f"{name} is empty: give it a value, or remove it to get the default {default!r}")
        return value

    def number(self, name: str, default: str, low: int, high: int) -> int:
        value = self.value(name, default)
        if not (value.isascii() and value.isdigit()) or not low <= int(value) <= high:
            self.problems.append(f"{name} is {value!r}: it must be a whole number from {low} to {high}")
            return low
        return int(value)

    def parsed(self, name: str, default: str, parse: Callable[[str], T]) -> T:
        value = self.value(name, default)
        try:
            return parse(value)
        except ValueError as error:
            self.problems.append(f"{name} is {value!r}: {error}")
            return parse(default)

    def secret(self, name: str, *, required: bool = True, shortest: int = 1) -> str:
        directory = self.environ.get("CREDENTIALS_DIRECTORY", "")
        path = Path(directory) / name
        try:
            value = path.read_text(encoding="utf-8").strip() if directory else ""
        except FileNotFoundError:
            value = ""
        except OSError as error:
            self.problems.append(f"the secret {name} cannot be read from {path}: {error.strerror}")
            return ""
        if required and len(value) < shortest:
            self.problems.append(
                f"the secret {name} is {'too short' if value else 'missing'}: put at least {shortest} characters into "
                f"the file {name} of the directory that CREDENTIALS_DIRECTORY names (now {directory or 'unset'})"
            )
        return value


def _origin(value: str) -> str:
    """An origin such as https://erp.example.com:8443, as browsers send it; raises ValueError."""
    parts = urlsplit(value)
    try:
        port = parts.port
    except ValueError:
        raise ValueError("its port must be a number from 1 to 65535") from None
    more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or more or port == 0:
        raise ValueError("it must be an origin such as https://erp.example.com, without a user or a path")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}")


def _host(value: str) -> str:
    """The name of a host as inventories have it, or none; raises ValueError."""
    if not re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)?", value):
        raise ValueError("it must be a name of letters, digits, dots, hyphens and underscores")
    return value


def _address(value: str) -> str:
    """A sign-in name; raises ValueError."""
    name, _, domain = value.partition("@")
    if not name or not domain or "@" in domain or any(character.isspace() for character in value):
        raise ValueError("it must be an address such as admin@example.com")
    return value


def _origins(value: str) -> tuple[str, ...]:
    return tuple(_origin(part.strip()) for part in value.split(",") if part.strip())


def _receiver(value: str) -> str:
    """The address of a service that is sent something, or nothing; raises ValueError."""
    parts = urlsplit(value)
    if value and (parts.scheme not in DEFAULT_PORTS or not parts.hostname):
        raise ValueError("it must be an address such as https://traces.example.com:4318, or empty")
    return value.rstrip("/")


def _dsn(value: str) -> str:
    """Where Sentry takes errors, or nothing; raises ValueError."""
    parts = urlsplit(value)
    if value and (parts.scheme not in DEFAULT_PORTS or not parts.username or not parts.path.strip("/").isdigit()):
        raise ValueError("it must be a DSN as Sentry shows it, such as https://KEY@sentry.example.com/2, or empty")
    return value


def _ratio(value: str) -> float:
    """A part of a whole; raises ValueError."""
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise ValueError("it must be a number from 0 to 1")
    return found


def release() -> str:
    """The id of the release this interpreter belongs to; ``development`` when it runs from a checkout."""
    path = Path(sys.prefix) / "release.json"
    if not path.exists():
        return "development"
    return str(orjson.loads(path.read_bytes())["id"])


if __name__ == "__main__":
    try:
        check(Path(sys.argv[1]))
    except SettingsError as error:
        sys.exit(str(error))
