"""What is wrong, in words: what it is, and what that means or what to do. The worst comes first."""

from collections.abc import Iterator
from typing import Any

from hecto.fleet.top.words import one_line, percent, rate, seconds, size

Snapshot = dict[str, Any]
Problem = dict[str, str]

# From here on somebody notices, or will before long.
CPU, LOAD_A_CORE = 0.95, 3.0
MEMORY_LEFT, DISK_USED, DISK_FULL = 0.07, 0.85, 0.95
CONNECTIONS = 0.9
TRANSACTION_SECONDS, IDLE_SECONDS, QUERY_SECONDS, LOCK_SECONDS = 60.0, 15.0, 10.0, 1.0
LAG_SECONDS, LAG_BYTES = 30.0, 256 * 2**20
REDIS_MEMORY = 0.9
# So many that are not ready are named.
INSTANCES = 3


def find(now: Snapshot) -> list[Problem]:
    """Every problem of a snapshot."""
    found = [*services(now.get("postgres"), now.get("redis")), *_fleet(now.get("fleet")), *_machine(now["machine"])]
    return [{"what": what, "means": means} for what, means in found]


def services(postgres: dict[str, Any] | None, redis: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    """What is wrong with PostgreSQL and Redis."""
    if postgres:
        yield from _postgres(postgres) if postgres["state"] == "up" else _postgres_away(postgres)
    if redis:
        yield from _redis(redis) if redis["state"] == "up" else _redis_away(redis)


def _postgres_away(postgres: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if postgres["state"] == "unknown":
        yield f"PostgreSQL cannot be asked: {postgres['why']}", "what it does is not shown"
        return
    if postgres.get("of_several") and postgres["here"]:
        yield (
            f"the PostgreSQL of this host does not answer: {one_line(postgres['why'], 120)}",
            "another one works or takes over, and there is a copy less; see journalctl -u patroni",
        )
        return
    yield (
        f"PostgreSQL does not answer: {one_line(postgres['why'], 120)}",
        "nothing can be read or written; see journalctl -u 'postgresql@*' -u patroni",
    )


def _redis_away(redis: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if redis.get("of_several") and redis["here"]:
        yield (
            f"the Redis of this host does not answer: {one_line(redis['why'], 120)}",
            "another one works or takes over, and there is a copy less; see journalctl -u redis-server",
        )
        return
    yield (
        f"Redis does not answer: {one_line(redis['why'], 120)}",
        "work goes on, slower, and pages are not live; see journalctl -u redis-server",
    )


def _postgres(now: dict[str, Any]) -> Iterator[tuple[str, str]]:
    used = sum(group["count"] for group in now["sessions"])
    if used >= CONNECTIONS * now["most_connections"]:
        yield (
            f"PostgreSQL has {used} of {now['most_connections']} connections",
            "the next ones are refused; a pool is too large or somebody else connects",
        )
    yield from _waits(now)
    if now.get("deadlocks_now"):
        yield (
            f"{now['deadlocks_now']} deadlocks in PostgreSQL",
            "one of each two was cancelled, and tried again",
        )
    archiver = now["archiver"]
    if archiver["on"] and archiver["failing"]:
        yield (
            f"PostgreSQL cannot archive its log ({archiver['failed']} failures)",
            "backups fall behind and the disk fills up; see PostgreSQL's journal",
        )
    for replica in now["replicas"]:
        if replica["state"] != "streaming":
            yield f"replica {replica['who']} is in state {replica['state']}", "it does not take over as it is"
        elif (replica["seconds"] or 0) > LAG_SECONDS or (replica["bytes"] or 0) > LAG_BYTES:
            behind = f"{seconds(replica['seconds'])}, {size(replica['bytes'])}"
            yield f"replica {replica['who']} is {behind} behind", "what it lacks is lost if the primary is"
    if (now["behind"] or 0) > LAG_SECONDS:
        yield f"this replica is {seconds(now['behind'])} behind", "it gets nothing from the primary, or cannot keep up"


def _waits(now: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for waiter in now["waiting"][:3]:
        if waiter["seconds"] >= LOCK_SECONDS:
            blockers = ", ".join(f"{one['who']} (pid {one['pid']}, {one['state']})" for one in waiter["blocked_by"])
            yield (
                f"{waiter['who']} has waited {seconds(waiter['seconds'])} for a lock of {blockers or 'somebody gone'}",
                f"{now['waiters']} wait in all; SELECT pg_terminate_backend(pid) ends the holder",
            )
    longest, query = now["transaction"], now["query"]
    who = f"{longest['who']} (pid {longest['pid']})" if longest else ""
    if longest and longest["state"].startswith("idle in transaction") and longest["seconds"] >= IDLE_SECONDS:
        yield (
            f"{who} is idle in a transaction since {seconds(longest['seconds'])}",
            "its locks stay, and vacuum cannot clean up",
        )
    elif longest and longest["seconds"] >= TRANSACTION_SECONDS:
        yield f"{who} is in a transaction since {seconds(longest['seconds'])}", "vacuum cannot clean up behind it"
    if query and query["seconds"] >= QUERY_SECONDS:
        who = f"{query['who']} (pid {query['pid']})"
        yield f"{who} runs a query since {seconds(query['seconds'])}", "whoever asked waits for it"


def _redis(now: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if now["loading"]:
        yield "Redis reads its data after a start", "it answers in a moment"
    if now["most_memory"] and now["memory"] >= REDIS_MEMORY * now["most_memory"]:
        full = f"{size(now['memory'])} of {size(now['most_memory'])}"
        yield f"Redis has {full} in use", "when it is full it refuses to keep more, and pages are not live"
    if now["rejected_now"]:
        yield f"Redis refused {now['rejected_now']} connections just now", "it has as many clients as it may"
    if now["evicted_now"]:
        yield f"Redis threw away {now['evicted_now']} keys just now", "it is full, and people may have to sign in again"
    if now["aof"] == "failing" or now["rdb"] != "ok":
        yield "Redis cannot write its data to the disk", "a restart would lose it; see journalctl -u redis-server"
    if now["link"] not in (None, "up"):
        yield "this Redis does not reach its primary", "it does not take over with all that was told"


def _fleet(now: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if now is None:
        return
    if not now["wanted"]:
        yield "no instance is to run on this host", "nobody is served from here; run the playbook site.yml"
    elif not now["ready"]:
        yield "no instance is ready", "nobody is served from here; see hecto-fleet status and journalctl -u 'hecto@*'"
    yield from _instances(now["instances"])
    if now["restarted"]:
        yield f"instances ended and were restarted, {now['restarted']} times since this began", "see ./hecto logs"
    if now["errors"]:
        yield f"{rate(now['errors'])} requests a second end in an error", "the release is at fault; see ./hecto logs"
    if len(now["releases"]) > 1:
        share = ", ".join(f"{name} on {count}" for name, count in now["releases"].items())
        yield f"several releases run: {share}", "a roll is under way, or stopped half-way: see hecto-fleet status"


def _instances(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    bad = [row for row in rows if row["problem"] or (row["wanted"] and row["state"] != "ready")]
    for row in bad[:INSTANCES]:
        yield f"{row['name']} is {row['state']}", row["problem"] or "others do its work; this should pass in moments"
    if len(bad) > INSTANCES:
        yield f"{len(bad) - INSTANCES} more instances are not ready", "hecto-fleet status shows them"


def _machine(now: dict[str, Any]) -> Iterator[tuple[str, str]]:
    disk, memory = now["disk"], now["memory"]
    if disk and disk["used"] >= DISK_USED:
        means = "PostgreSQL stops when it is full" if disk["used"] < DISK_FULL else "PostgreSQL is about to stop"
        yield f"{disk['mount']} is {percent(disk['used'])} full ({disk['of']})", f"{means}; free some, or grow it"
    if memory["total"] and memory["available"] < MEMORY_LEFT * memory["total"]:
        left = f"{size(memory['available'])} of {size(memory['total'])}"
        yield f"memory is short: {left} left", "the kernel ends instances when there is none; scale down, or add some"
    if (now["cpu"] or 0) >= CPU and now["load"][0] >= LOAD_A_CORE * now["cores"]:
        yield f"all processors are busy (load {now['load'][0]:.1f} on {now['cores']} cores)", "everybody waits a little"
