"""Snapshots of hosts as hecto-fleet top takes them, made up."""

from __future__ import annotations

from hecto.fleet.top import redis
from hecto.fleet.top.fleet import sums

GB = 2**30


def instance(number, **changed):
    row = {
        "number": number,
        "name": f"instance-{number}",
        "state": "ready",
        "wanted": True,
        "release": "aaaaaaaaaaaa",
        "uptime": 86_000.0,
        "requests": 1.5,
        "errors": 0.0,
        "in_flight": 1,
        "websockets": 10,
        "cpu": number / 1000,
        "memory": 90 * 2**20,
        "restarts": 0,
        "problem": None,
    }
    return row | changed


def fleet(rows):
    return {"release": "aaaaaaaaaaaa", "restarted": 0, "instances": rows, **sums(rows)}


def session(who, seconds, state="active", text="SELECT 1"):
    return {"pid": 4711, "who": who, "state": state, "seconds": seconds, "text": text, "id": "1"}


def snapshot(**changed):
    database = {
        "state": "up",
        "version": "17.2",
        "replica": False,
        "most_connections": 100,
        "sessions": [
            {"who": "instance-1", "state": "idle", "count": 3},
            {"who": "psql", "state": "active", "count": 1},
        ],
        "transaction": None,
        "query": None,
        "waiting": [],
        "waiters": 0,
        "archiver": {"on": True, "failed": 0, "failing": False, "age": 10.0},
        "replicas": [],
        "behind": None,
        "size": 3 * GB,
        "slow": [],
        "transactions": 12.0,
        "hit_share": 0.9999,
        "pool": 4,
    }
    info = {
        "redis_version": "8.0",
        "role": "master",
        "used_memory": "1000000",
        "maxmemory": "4000000",
        "aof_enabled": "1",
    }
    return {
        "host": "one",
        "at": 0.0,
        "machine": {
            "load": [0.5, 0.4, 0.3],
            "cores": 4,
            "cpu": 0.1,
            "memory": {"total": 8 * GB, "available": 4 * GB, "swapped": 0},
            "disk": {"mount": "/", "used": 0.5, "free": 10 * GB, "of": "bytes"},
        },
        "fleet": fleet([instance(1), instance(2)]),
        "postgres": database,
        "redis": {"state": "up", **redis.figures(info, None, 0.0)},
        "nginx": {"connections": 7},
        "problems": [],
        **changed,
    }
