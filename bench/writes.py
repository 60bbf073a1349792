"""What a write costs without and with its key, in CPU of the instance and of PostgreSQL.

    ./hecto bench writes [--requests N] [--app DIRECTORY]

Real PostgreSQL, Redis and one instance, started for this run. The kinds take turns, so that a machine that grows slower
slows all of them. `--app` measures another checkout's app/ with this one's tools. Prints one JSON object, and
writes it to bench/results/writes.json where it measured this checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.integration.conftest import Client
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, AppInstance, Postgres, Redis, Site, scratch

RESULT = Path(__file__).parent / "results" / "writes.json"
CLIENTS = 8
ROUNDS = 5
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of processes."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        total += sum(int(field) for field in fields[11:15])  # with the time of children that have ended
    return total / TICK


def children(pid: int) -> list[int]:
    """The processes below one."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def run(client: Client, requests: int, headers: Callable[[], dict[str, str]]) -> None:
    """Create tasks from several clients at a time."""

    def work() -> None:
        own = client.at(client.instance)
        for _ in range(requests // CLIENTS):
            answer = own.post("/api/tasks", json={"title": "Count the pallets"}, headers=headers())
            if answer.status_code != 201:
                raise SystemExit(f"a create was answered {answer.status_code}: {answer.text[:200]}")

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "without a key": dict,
    "with the key of the hop": lambda: {"X-Request-Key": uuid.uuid4().hex},
    "with a client's key": lambda: {"Idempotency-Key": str(uuid.uuid4())},
}


def measure(requests: int, app: Path | None) -> dict[str, object]:
    """CPU microseconds a request, by kind: the median of the rounds."""
    directory = scratch()
    postgres, redis = Postgres(directory / "postgres"), Redis(directory / "redis")
    site = Site(directory, postgres, redis, "bench")
    if app:
        site.extra["PYTHONPATH"] = str(app)
    site.setup()
    instance = AppInstance(site, HECTO_REQUESTS_PER_MINUTE="10000000")
    try:
        client = Client(instance).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
        client.instance = instance
        found: dict[str, dict[str, list[float]]] = {kind: {"instance": [], "postgres": []} for kind in KINDS}
        run(client, requests, dict)
        for _ in range(ROUNDS):
            for kind, headers in KINDS.items():
                app_before = cpu_seconds(children(instance.process.pid))
                database_before = cpu_seconds([postgres.process.pid, *children(postgres.process.pid)])
                run(client, requests, headers)
                app_after = cpu_seconds(children(instance.process.pid))
                database_after = cpu_seconds([postgres.process.pid, *children(postgres.process.pid)])
                found[kind]["instance"].append((app_after - app_before) / requests * 1e6)
                found[kind]["postgres"].append((database_after - database_before) / requests * 1e6)
    finally:
        instance.stop()
        redis.stop()
        postgres.stop()
        shutil.rmtree(directory)
    return {
        "requests": requests,
        "rounds": ROUNDS,
        "cpu_microseconds_a_request": {
            kind: {part: round(statistics.median(values)) for part, values in parts.items()}
            for kind, parts in found.items()
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=800)
    parser.add_argument("--app", type=Path)
    options = parser.parse_args()
    found = json.dumps(measure(options.requests, options.app), indent=1) + "\n"
    sys.stdout.write(found)
    if options.app is None:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(found)


if __name__ == "__main__":
    main()
