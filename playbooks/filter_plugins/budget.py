"""The budget of a host: how its memory, connections and open files are shared out between the services.

`plan` turns a few facts and wishes (cores, memory, instances, clients) into every number that the roles need. It asks
no host anything, so the same numbers come out of `./hecto plan` and of a deployment. Where the sum does not work out it
stops and names the number to change, because a fleet that is one connection short fails under load, not at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

ONE_HOST = ("postgres", "redis", "app", "lb")
SERVICES = (*ONE_HOST, "etcd", "monitoring", "backup")

# Memory, in MB, measured where not said otherwise.
SYSTEM_SHARE = 20  # a twentieth of the host for kernel, systemd, sshd, journald
SYSTEM_LEAST, SYSTEM_MOST = 256, 2048
REDIS_SHARE = 32  # sessions, cached lists and event streams: 2 GB on a 64 GB host
REDIS_LEAST, REDIS_MOST = 64, 4096
REDIS_FORK = 1.5  # while Redis rewrites its log, changed pages exist twice; half is what a busy host was seen to reach
NGINX_BASE, NGINX_WORKER, NGINX_CLIENT = 32, 16, 0.05  # master, one worker, the buffers of one client (two connections)
# Up to this fleet a host can grow without a change of what PostgreSQL reads at its start only: six instances a core are
# more than a core keeps busy, and the reference host, with 100 on 16 cores, is about there.
GROWTH_PER_CORE = 6
DATABASE_LEAST = 160  # below it PostgreSQL starts but cannot hold one sort for each instance

# What else a host may run: etcd keeps its data in memory, Prometheus the last two hours.
SMALL = {"etcd": 256, "monitoring": 768, "backup": 128}
PROXY = 96  # the way of an app host to the primary of several, and its pooler

# Connections of PostgreSQL.
CONNECTIONS_STEP = 100  # also the least: changing the number restarts the database, so a fleet can grow within a step
RESERVED_LEAST = 8  # below it nobody could look into a full database; the role postgres refuses less, too
CONNECTIONS_MOST = 500  # no pooler is needed up to here; past it throughput falls, see PostgreSQL's own guidance
POOLER = ("auto", "always")
POOLED_PER_CORE = 8  # through a pooler: four at work for each core, as many again that wait for a lock or the disk

# Open files and sockets.
FILES_LEAST = 4096
INSTANCE_FILES_BASE = 256  # modules, logs, Redis and control sockets
NGINX_FILES_BASE = 512  # logs, static files, listeners
HEADROOM = 2  # clients are never spread evenly, and all of them reconnect at once after a restart
# Instance N listens on 127.0.0.1, port 5000 + N.
INSTANCE_PORT_BASE = 5000
INSTANCES_MOST = 999

HUGE_PAGE_MB = 2
HUGE_PAGES_FROM_MB = 1024  # smaller shared buffers gain nothing that can be measured
# A row of the plan as a person reads it: the groups whose hosts have it (none for every host), its name, its number and
# what that means.
Row = tuple[str, str, str, str]
FILES_OF = {"instance": "app", "nginx": "lb app", "redis": "redis", "postgres": "postgres"}


class BudgetError(ValueError):
    """The budget does not work out; the message says which number to change."""


def connections(
    instances: int, pool_max: int, reserved: int, app_hosts: int = 1, cores: int = 1, pooler: str = "auto"
) -> int:
    """Count the connections that PostgreSQL should accept: full pools and the reserve, within bounds.

    The pools are those of the fleet that `cores` are good for, where that is larger than `instances`. Where several
    hosts have more than PostgreSQL serves well, a pooler on each of them keeps to what its cores are good for.
    """
    if is_pooled(pooler, instances, pool_max, reserved, app_hosts):
        wanted = POOLED_PER_CORE * _whole("host_cores", cores, 1) + app_hosts + reserved
        return min(CONNECTIONS_MOST, math.ceil(wanted / CONNECTIONS_STEP) * CONNECTIONS_STEP)
    wanted = (
        max(_whole("hecto_instances", instances, 1), GROWTH_PER_CORE * _whole("host_cores", cores, 1))
        * _whole("app hosts", app_hosts, 1)
        * _whole("hecto_database_pool_max", pool_max, 1)
    )
    steps = math.ceil((wanted + _whole("postgres_reserved_connections", reserved, RESERVED_LEAST)) / CONNECTIONS_STEP)
    return min(CONNECTIONS_MOST, steps * CONNECTIONS_STEP)


def is_pooled(pooler: str, instances: int, pool_max: int, reserved: int, app_hosts: int) -> bool:
    """Whether instances reach PostgreSQL through a pooler: by itself on several hosts with too many together."""
    if pooler not in POOLER:
        raise BudgetError(f"hecto_pooler is {pooler!r}: use {' or '.join(POOLER)}.")
    total = _whole("hecto_instances", instances, 1) * app_hosts * _whole("hecto_database_pool_max", pool_max, 1)
    return pooler == "always" or (app_hosts > 1 and total + reserved > CONNECTIONS_MOST)


def plan(
    *,
    cores: int,
    memory_mb: int,
    instances: int,
    clients: int,
    max_connections: int,
    reserved_connections: int,
    pool_max: int,
    instance_memory_mb: int,
    services: Collection[str] = ONE_HOST,
    app_hosts: int = 1,
    hosts: int = 1,
    database_port: int = 5432,
    pooler: str = "auto",
) -> dict[str, Any]:
    """Share one host out between its services.

    cores, memory_mb: what the host has.
    instances: of the application, on each host that runs it; app_hosts: how many such hosts use this database.
    clients: people connected at the same time to this host (each holds one WebSocket).
    max_connections, reserved_connections: of PostgreSQL; the reserve is for administration, migrations, backup and
    monitoring.
    pool_max: connections that an instance may hold even where there are more.
    instance_memory_mb: what an instance may need at work.
    services: what runs on this host, its groups; the others take nothing from it.
    hosts: of the whole site.
    database_port: of PostgreSQL; where it runs beside instances, none of them can have it.
    pooler: "always" for one between instances and PostgreSQL also where the numbers ask for none.

    Raises BudgetError with a message for the operator.
    """
    cores = _whole("host_cores", cores, 1)
    memory_mb = _whole("host_memory_mb", memory_mb, 512)
    instances = _whole("hecto_instances", instances, 1)
    clients = _whole("hecto_clients", clients, 1)
    max_connections = _whole("postgres_max_connections", max_connections, 10)
    reserved_connections = _whole("postgres_reserved_connections", reserved_connections, RESERVED_LEAST)
    pool_max = _whole("hecto_database_pool_max", pool_max, 1)
    instance_memory_mb = _whole("hecto_instance_memory_mb", instance_memory_mb, 64)
    if unknown := set(services) - set(SERVICES):
        raise BudgetError(f"unknown services {', '.join(sorted(unknown))}: use {', '.join(SERVICES)}")
    services = [service for service in SERVICES if service in services]
    _check_ports(instances, services, _whole("postgres_port", database_port, 1))

    pooled = is_pooled(pooler, instances, pool_max, reserved_connections, app_hosts)
    # To a pooler an instance may hold what it wants: it shares out what there is with every transaction.
    pool = pool_max if pooled else _pool(instances * app_hosts, max_connections, reserved_connections, pool_max)
    pooler_pool = (max_connections - reserved_connections) // app_hosts if pooled else 0
    least = DATABASE_LEAST if "postgres" in services else 0
    sizes = {"cores": cores, "clients": clients, "instances": instances, "each": instance_memory_mb, "hosts": hosts}
    sizes["proxied"] = hosts > 1 or pooled
    memory = _shares(memory_mb, services, **sizes)
    rest = memory_mb - sum(memory.values())
    if rest < least:
        enough = memory_mb
        while (missing := sum(_shares(enough, services, **sizes).values()) + least - enough) > 0:
            enough += missing  # a larger host keeps more for its system and for Redis
        fit = instances - math.ceil((least - rest) / instance_memory_mb)
        fewer = f", or lower hecto_instances to at most {fit}" if "app" in services and fit >= 1 else ""
        raise BudgetError(
            f"{memory_mb} MB are not enough for what runs on this host: {', '.join(services)}, "
            f"{instances} instances of {instance_memory_mb} MB. "
            f"Give it at least {enough} MB and say so in host_memory_mb{fewer}."
        )
    growth = max(0, GROWTH_PER_CORE * cores - instances) * instance_memory_mb if "app" in services else 0
    memory["postgres"] = _database_share(memory_mb, rest, growth, services)
    memory["free"] = memory_mb - sum(memory.values())

    postgres = _postgres(max(memory["postgres"], DATABASE_LEAST), cores, max_connections)
    websockets = math.ceil(clients / instances) * HEADROOM
    worker_connections = max(
        1024, math.ceil(clients * 2 * HEADROOM / cores)
    )  # a client takes two: its own and the upstream's
    # A limit, not a cost, so there is room for a fleet that grows: a change of it is a restart.
    redis_clients = max(1024, instances * app_hosts * 10 + 64)
    files = {
        "instance": max(FILES_LEAST, INSTANCE_FILES_BASE + pool + websockets * 2),
        # Each connection is a file, and so may be what it reads or buffers on disk.
        "nginx": max(FILES_LEAST, worker_connections * 2 + NGINX_FILES_BASE),
        "redis": max(FILES_LEAST, redis_clients + 64),
        "postgres": max(FILES_LEAST, max_connections * 2 + 1024),
    }
    return {
        "cores": cores,
        "host_memory_mb": memory_mb,
        "instances": instances,
        "app_hosts": app_hosts,
        "clients": clients,
        "services": services,
        "pool": pool,
        "connections": {
            "max": max_connections,
            "reserved": reserved_connections,
            "instances": pooler_pool * app_hosts if pooled else pool * instances * app_hosts,
        },
        "pgbouncer": pooled,
        "pgbouncer_pool": pooler_pool,
        "memory_mb": memory,
        "files": files,
        "instance": {"memory_mb": instance_memory_mb, "files": files["instance"], "websockets": websockets},
        "nginx": {"workers": cores, "worker_connections": worker_connections, "files": files["nginx"]},
        "redis": {"maxmemory_mb": _redis_maxmemory(memory_mb), "clients": redis_clients, "files": files["redis"]},
        "postgres": {**postgres, "files": files["postgres"]},
        "huge_pages": _huge_pages(postgres["shared_buffers_mb"]) if "postgres" in services else 0,
    }


def table(planned: dict[str, Any]) -> str:
    """Write the plan of one host as text for a person: of what runs on it, and no more."""
    blocks = [_host_rows(planned), _memory_rows(planned), _file_rows(planned), _service_rows(planned)]
    shown = [[(name, value, note) for on, name, value, note in block if _runs(planned, on)] for block in blocks]
    width = max(18, *(len(value) for block in shown for _, value, _ in block))
    text = ["\n".join(f"{name:<20}{value:>{width}}   {note}" for name, value, note in block) for block in shown]
    return "\n\n".join(block for block in text if block)


def _runs(planned: dict[str, Any], groups: str) -> bool:
    return not groups or any(group in planned["services"] for group in groups.split())


def _host_rows(planned: dict[str, Any]) -> list[Row]:
    link = planned["connections"]
    spare = link["max"] - link["instances"] - link["reserved"]
    hosts = f" on each of {planned['app_hosts']} hosts" if planned["app_hosts"] > 1 else ""
    each = planned["instance"]["websockets"]
    rows = [
        (
            "",
            "Host",
            f"{planned['cores']} cores, {planned['host_memory_mb']} MB",
            f"runs {', '.join(planned['services'])}",
        ),
        (
            "app",
            "Instances",
            f"{planned['instances']}{hosts}",
            f"for {planned['clients']} clients, {each} WebSockets each at most",
        ),
        ("app", "Pool", f"{planned['pool']} connections", "for each instance"),
    ]
    if planned["pgbouncer"]:
        pool = f"{planned['pgbouncer_pool']} connections"
        rows.append(("app", "PgBouncer", pool, "to PostgreSQL, for all instances of a host"))
    shares = f"{link['instances']} for instances, {link['reserved']} reserved, {spare} to spare"
    return [*rows, ("app postgres", "Connections", f"{link['max']}", shares)]


def _memory_rows(planned: dict[str, Any]) -> list[Row]:
    memory, buffers = planned["memory_mb"], planned["postgres"]["shared_buffers_mb"]
    instances = f"{planned['instances']} of {planned['instance']['memory_mb']} MB"
    data = f"{planned['redis']['maxmemory_mb']} MB of data, and its copy while the log is rewritten"
    rows = [
        ("", "system", "kernel and the host's own services"),
        ("app", "instances", instances),
        ("redis", "redis", data),
        ("lb app", "nginx", "workers and buffers"),
        ("", "others", "what the groups etcd, monitoring and backup run, and the proxy to other hosts"),
        ("postgres", "postgres", f"{buffers} MB of shared buffers, the rest sorts and page cache"),
        ("", "free", "page cache, peaks"),
    ]
    return [(on, f"Memory: {of}", f"{memory[of]} MB", note) for on, of, note in rows if memory[of] or of != "others"]


def _file_rows(planned: dict[str, Any]) -> list[Row]:
    note = "open at once, for each process"
    return [(FILES_OF[of], f"Files: {of}", f"{files}", note) for of, files in planned["files"].items()]


def _service_rows(planned: dict[str, Any]) -> list[Row]:
    postgres, nginx, redis = planned["postgres"], planned["nginx"], planned["redis"]
    return [
        ("lb app", "nginx", f"{nginx['workers']} workers", f"{nginx['worker_connections']} connections each"),
        ("redis", "Redis", f"{redis['maxmemory_mb']} MB", f"{redis['clients']} connections"),
        (
            "postgres",
            "PostgreSQL",
            f"{postgres['work_mem_mb']} MB",
            f"for each sort; {planned['huge_pages']} huge pages",
        ),
    ]


def _check_ports(instances: int, services: Collection[str], database_port: int) -> None:
    """Every instance has a port, and one of them could be the database's."""
    if instances > INSTANCES_MOST:
        raise BudgetError(f"hecto_instances is {instances}: it must be at most {INSTANCES_MOST}.")
    number = database_port - INSTANCE_PORT_BASE
    if {"postgres", "app"} <= set(services) and 1 <= number <= instances:
        fewer = f"Lower hecto_instances to at most {number - 1}, or choose" if number > 1 else "Choose"
        raise BudgetError(
            f"hecto_instances is {instances}, and instance {number} would listen on 127.0.0.1:{database_port}, "
            f"which is PostgreSQL's. {fewer} a postgres_port below {INSTANCE_PORT_BASE} or above "
            f"{INSTANCE_PORT_BASE + INSTANCES_MOST}."
        )


def _shares(
    memory_mb: int,
    services: Collection[str],
    *,
    cores: int,
    clients: int,
    instances: int,
    each: int,
    hosts: int,
    proxied: bool,
) -> dict[str, int]:
    """What everything but PostgreSQL takes of a host."""
    return {
        "system": _clamp(memory_mb // SYSTEM_SHARE, SYSTEM_LEAST, SYSTEM_MOST),
        "instances": instances * each if "app" in services else 0,
        "redis": math.ceil(_redis_maxmemory(memory_mb) * REDIS_FORK) if "redis" in services else 0,
        "nginx": math.ceil(NGINX_BASE + cores * NGINX_WORKER + clients * NGINX_CLIENT)
        if "lb" in services or ("app" in services and hosts > 1)
        else 0,
        "others": sum(SMALL.get(service, 0) for service in services) + (PROXY if "app" in services and proxied else 0),
    }


def _database_share(memory_mb: int, rest: int, growth: int, services: Collection[str]) -> int:
    """The memory of PostgreSQL, in steps: a change of it is a restart, which a growing fleet should rarely need.

    Where it can it leaves the `growth` of the fleet out of its share, so that this does not change the step.
    """
    if "postgres" not in services:
        return 0
    if set(services) == {"postgres"}:
        return rest
    # At most half: the application's peaks must never push it into swap.
    steps = (memory_mb // 2, memory_mb // 4, memory_mb // 8)
    fitting = (step for room in (rest - growth, rest) for step in steps if DATABASE_LEAST <= step <= room)
    return next(fitting, DATABASE_LEAST)


def _redis_maxmemory(memory_mb: int) -> int:
    return _clamp(memory_mb // REDIS_SHARE, REDIS_LEAST, REDIS_MOST)


def _pool(instances: int, max_connections: int, reserved: int, pool_max: int) -> int:
    pool = (max_connections - reserved) // instances
    if pool < 1:
        fit = max_connections - reserved
        fewer = f", or lower hecto_instances to at most {fit}" if fit > 0 else ""
        raise BudgetError(
            f"{instances} instances cannot share {max_connections} database connections of which {reserved} are "
            f"reserved: each needs one. Raise postgres_max_connections to at least {instances + reserved}{fewer}."
        )
    return min(pool, pool_max)


def _postgres(memory_mb: int, cores: int, max_connections: int) -> dict[str, int]:
    """PostgreSQL's settings for its share of the memory; the fractions are those of its manual and of pgtune."""
    workers = max(8, cores)
    shared_buffers = max(64, memory_mb // 4)
    # Every connection may sort, and a query a few times over: three for each keep a full house inside the share.
    work_mem = (memory_mb - shared_buffers) / ((max_connections + workers) * 3)
    return {
        "shared_buffers_mb": shared_buffers,
        "effective_cache_size_mb": max(96, memory_mb * 3 // 4),
        "maintenance_work_mem_mb": _clamp(memory_mb // 16, 16, 2048),
        "work_mem_mb": _clamp(round(work_mem / 4) * 4 if work_mem > 4 else int(work_mem), 1, 64),
        "max_wal_size_mb": _clamp(memory_mb // 4, 256, 8192),
        "min_wal_size_mb": _clamp(memory_mb // 16, 80, 2048),
        "max_worker_processes": workers,
        "max_parallel_workers": cores,
        "max_parallel_workers_per_gather": min(4, cores // 2),
        "autovacuum_max_workers": 4 if cores >= 16 else 3,
    }


def _huge_pages(shared_buffers_mb: int) -> int:
    """Count the huge pages for shared memory: in small pages, 400 connections need 6 GB of page tables to map 8 GB."""
    return math.ceil(shared_buffers_mb * 1.08 / HUGE_PAGE_MB) if shared_buffers_mb >= HUGE_PAGES_FROM_MB else 0


def _whole(name: str, value: Any, least: int) -> int:
    """`value` as a whole number; environment variables and the command line bring text."""
    try:
        if isinstance(value, bool) or int(value) != float(value):
            raise ValueError
        number = int(value)
    except (TypeError, ValueError):
        raise BudgetError(f"{name} is {value!r}: write a whole number of at least {least}.") from None
    if number < least:
        raise BudgetError(f"{name} is {number}: it must be at least {least}.")
    return number


def _clamp(value: int, least: int, most: int) -> int:
    return max(least, min(value, most))


class FilterModule:
    """Gives the budget to templates: `inputs | hecto_plan`, `hecto_plan | hecto_plan_table` and so on."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as templates use them."""
        return {
            "hecto_connections": lambda inputs: connections(**inputs),
            "hecto_plan": lambda inputs: plan(**inputs),
            "hecto_plan_table": table,
        }
