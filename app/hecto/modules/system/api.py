"""The state of the site as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from hecto.core.endpoints import Context, Router
from hecto.modules.system import service

router = Router("system", "api")


class InstanceState(BaseModel):
    name: str
    host: str
    release: str
    state: str = Field(description="ready, held, draining, starting, deaf, or silent: it has not spoken for a while")
    at: float = Field(description="when it spoke, in seconds since 1970")
    uptime: float
    requests: int
    errors: int
    requests_per_second: float | None
    errors_per_second: float | None
    in_flight: int
    websockets: int
    memory: int
    pool_in_use: int
    pool_size: int
    rooms: int
    listening: bool
    deaf: bool
    events_per_second: float | None


class Totals(BaseModel):
    instances: int
    ready: int
    hosts: int
    deaf: int
    requests_per_second: float
    errors_per_second: float
    in_flight: int
    websockets: int
    memory: int
    pool_in_use: int
    pool_size: int
    rooms: int
    events_per_second: float | None
    releases: dict[str, int]


class ServiceState(BaseModel):
    """With more where it answers."""

    state: str = Field(description="up, busy or down")
    why: str | None = None


class SystemProblem(BaseModel):
    what: str
    means: str


class Backup(BaseModel):
    name: str
    values: dict[str, Any]


class SystemState(BaseModel):
    at: datetime
    answered_by: str
    complete: bool = Field(description="false where only the instance that answers is known, because Redis is away")
    problems: list[SystemProblem]
    totals: Totals
    instances: list[InstanceState]
    database: ServiceState
    redis: ServiceState
    backups: list[Backup]


@router.route("GET", "/api/system", permission="system.read", answers=SystemState, transaction=False)
def read_system(context: Context) -> dict[str, Any]:
    """How the whole site is doing: instances of all hosts, PostgreSQL, Redis; in two seconds at most"""
    return service.look(context.services)
