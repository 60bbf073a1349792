"""What an instance counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
        self._in_flight = Gauge("hecto_requests_in_flight", "Requests in hand", registry=self.registry)
        self._websockets = Gauge("hecto_websockets", "Open WebSockets", registry=self.registry)
        self._connections = Gauge("hecto_database_connections", "Database connections in use", registry=self.registry)
        self._uptime = Gauge(
            "hecto_uptime_seconds", "Seconds since this process began to serve", registry=self.registry
        )
        info = Gauge(
            "hecto_info", "Which release runs as which instance", ["instance", "release"], registry=self.registry
        )
        info.labels(instance.name, instance.release).set(1)

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        self._in_flight.set(self._instance.in_flight)
        self._websockets.set(self._instance.count_websockets())
        self._connections.set(self._database.connections_in_use())
        self._uptime.set(self._instance.uptime)
        return generate_latest(self.registry)
