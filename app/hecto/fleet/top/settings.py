"""Where PostgreSQL and Redis are for this host: as its instances are told, or where Debian puts them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hecto.fleet.layout import Layout

POSTGRES_SOCKETS = Path("/run/postgresql")
REDIS_SOCKET = Path("/run/redis/redis-server.sock")
# Settings of servers are there while they are down as well, when their sockets are not.
ETC = Path("/etc")


@dataclass(frozen=True)
class Settings:
    """What of the instances' settings leads to what they use."""

    # Whether PostgreSQL's own superuser can be asked: the server is on this host.
    postgres_here: bool
    postgres_host: str
    postgres_port: int
    postgres_database: str
    postgres_user: str
    pool: int | None
    redis_address: str | tuple[str, int] | None
    redis_user: str
    # Whether that is this host's own Redis, and not one that is reached from here.
    redis_here: bool = True
    # By which name the inventory knows this host among several, of whose servers one is the primary.
    host: str = ""


def read(
    layout: Layout,
    sockets: Path = POSTGRES_SOCKETS,
    redis_socket: Path = REDIS_SOCKET,
    etc: Path = ETC,
) -> Settings:
    """Look at the environment of the instances, and at the host where there is none."""
    values = _environment(layout.environment)
    port = int(values.get("HECTO_DATABASE_PORT", "5432"))
    host = values.get("HECTO_DATABASE_HOST", "")
    here = host == str(sockets) or (sockets / f".s.PGSQL.{port}").exists() or _has_postgres(etc)
    address: str | tuple[str, int] | None = values.get("HECTO_REDIS_SOCKET") or None
    if address is None and "HECTO_REDIS_HOST" in values:
        address = (values["HECTO_REDIS_HOST"], int(values.get("HECTO_REDIS_PORT", "6379")))
    # What instances are told leads to the primary, wherever it is. A host that has a Redis tells of its own.
    redis_here = str(redis_socket) == address or redis_socket.exists() or (etc / "redis/hecto.conf").exists()
    if redis_here:
        address = str(redis_socket)
    return Settings(
        postgres_here=here,
        postgres_host=str(sockets) if here else host,
        postgres_port=port,
        postgres_database=values.get("HECTO_DATABASE_NAME", "hecto"),
        postgres_user=values.get("HECTO_DATABASE_USER", "hecto_app"),
        pool=int(values["HECTO_DATABASE_POOL"]) if "HECTO_DATABASE_POOL" in values else None,
        redis_address=address,
        redis_user=values.get("HECTO_REDIS_USER", "hecto"),
        redis_here=redis_here,
        host=values.get("HECTO_HOST", ""),
    )


def _has_postgres(etc: Path) -> bool:
    return (etc / "patroni/config.yml").exists() or any(etc.glob("postgresql/*/*"))


def _environment(file: Path) -> Mapping[str, str]:
    """Lines such as NAME="value", as systemd reads them."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip('"') for name, value in pairs}
