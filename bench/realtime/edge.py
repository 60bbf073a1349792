"""nginx in front of Hecto's instances, as its role configures it, but for TLS, which the clients would pay as well."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from pathlib import Path

from bench.realtime.fleets import AT_ONCE, Instance
from bench.writes import children
from tests.integration.test_nginx_templates import certificate, nginx, place, render
from tests.servers import wait_until

# Ports that the rendered configuration names and nobody listens on: both become unix sockets.
HTTPS, HTTP = 18443, 18080


class Edge:
    """A running nginx; clients connect at `path` and name 127.0.0.1 as the host."""

    def __init__(self, directory: Path, instances: Sequence[Instance], connections: int) -> None:
        directory.mkdir()
        self.path = directory / "edge.sock"
        certificate(directory, "site")
        # The role numbers instances from 1 on; these have the numbers whose ports were free.
        for number, instance in enumerate(instances, 1):
            (directory / f"{number}.sock").symlink_to(instance.path)
        text, _ = render(
            directory,
            nginx_public_url=f"https://127.0.0.1:{HTTPS}",
            nginx_https_port=HTTPS,
            nginx_http_port=HTTP,
            nginx_ipv6=False,
            nginx_workers=AT_ONCE,
            nginx_instances=len(instances),
            # Each worker must be able to take all of them, a connection to each side, since nobody shares them out.
            nginx_worker_connections=2 * connections + 100,
            nginx_open_files=2 * connections + 600,
        )
        text = re.sub(rf"listen {HTTPS} ssl( http2)?", f"listen unix:{self.path}", text)
        text = text.replace(f"listen {HTTP}", f"listen unix:{directory}/plain.sock")
        self._file = place(directory, text.replace("user www-data;", f"user {getpass.getuser()};"))
        self._master = directory / "nginx.pid"
        self._run()
        # The command returns before the master has said who it is and has made its workers.
        wait_until(lambda: len(self.pids) == 1 + AT_ONCE, "nginx", log=directory / "error.log")

    @property
    def pids(self) -> list[int]:
        """The processes of nginx: its master and its workers."""
        master = self._master.read_text() if self._master.exists() else ""
        return [int(master), *children(int(master))] if master.strip() else []

    def close(self) -> None:
        """Stop it."""
        self._run("-s", "stop")

    def _run(self, *options: str) -> None:
        done = nginx(self._file, *options)
        if done.returncode != 0:
            raise RuntimeError(f"nginx did not do as told: {done.stderr}")
