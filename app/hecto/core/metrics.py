"""What an instance counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from hecto.core.db import Database
from hecto.core.instance import Instance


class Metrics:
    """The metrics of one process; an instance has one worker, so nothing needs to be merged."""

    def __init__(self, instance: Instance, database: Database) -> None:
        self.registry = CollectorRegistry()
        self._instance = instance
        self._database = database
        self.requests = Counter(
            "hecto_requests", "Requests by endpoint and status", ["endpoint", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "hecto_request_seconds",
            "Time to answer, by endpoint",
            ["endpoint"],
            # From a cached answer to the longest that nginx waits.
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
            registry=self.registry,
        )
        self._in_flight = self._gauge("hecto_requests_in_flight", "Requests in hand")
        self._websockets = self._gauge("hecto_websockets", "Open WebSockets")
        self._deaf = self._gauge("hecto_listener_deaf", "1 while open pages here do not hear of what others change")
        self._connections = self._gauge("hecto_database_connections", "Database connections in use")
        self._pool = self._gauge("hecto_database_pool_size", "Database connections that this instance may use")
        self._uptime = self._gauge("hecto_uptime_seconds", "Seconds since this process began to serve")
        info = Gauge(
            "hecto_info", "Which release runs as which instance", ["instance", "release"], registry=self.registry
        )
        info.labels(instance.name, instance.release).set(1)
        self.registry.register(_Waits(database))

    def render(self, *, listening: bool) -> bytes:
        """The metrics in Prometheus' text format; `listening` says whether Redis tells this instance of events."""
        self._in_flight.set(self._instance.in_flight)
        self._websockets.set(self._instance.count_websockets())
        self._deaf.set(self._instance.deaf() or not listening)
        self._connections.set(self._database.pool.checkedout())
        self._pool.set(self._database.pool.size())
        self._uptime.set(self._instance.uptime)
        return generate_latest(self.registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(name, about, registry=self.registry)


class _Waits(Collector):
    """What the pool counts by itself. Its seconds each second are how many requests wait, on average."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[CounterMetricFamily]:
        pool = self._database.pool
        about = "Seconds that requests have waited for a database connection"
        yield CounterMetricFamily("hecto_database_pool_wait_seconds", about, value=pool.waited_seconds)
        about = "Requests that waited for a database connection in vain"
        yield CounterMetricFamily("hecto_database_pool_timeouts", about, value=pool.timeouts)
