"""Several hosts on one machine: each has an address of its own, an nginx as its role configures it, and instances."""

from __future__ import annotations

import getpass
import os
import signal
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from hecto.settings import host_tag
from tests.integration.conftest import Client
from tests.integration.edge.certificates import Authority
from tests.integration.test_nginx_templates import certificate, nginx, place, render
from tests.servers import REPOSITORY, AppInstance, Site, ask, free_instance

# The rest of an address in 127.0.0.0/8, which all belong to this machine.
APP_HOSTS = {"app1": "127.0.0.2", "app2": "127.0.0.3"}
EDGES = {"lb1": "127.0.0.4", "lb2": "127.0.0.5"}
PUBLIC_NAME = "erp.hecto.test"
INSTANCES = 2
PATIENCE = 6


class Nginx:
    """The nginx of one host."""

    def __init__(
        self,
        directory: Path,
        name: str,
        address: str,
        ports_of_metrics: Mapping[int, int] | None = None,
        **variables: Any,
    ) -> None:
        self.directory, self.name, self.address = directory, name, address
        directory.mkdir(exist_ok=True)
        certificate(directory, "site")
        text = render(
            directory,
            name,
            __nginx_tls=str(directory / "tls"),
            __nginx_acme=str(directory / "acme"),
            nginx_names=[PUBLIC_NAME],
            nginx_instances=INSTANCES,
            nginx_ipv6=False,
            nginx_workers=1,
            **variables,
        )[0]
        # Every host has the same ports, each at its own address.
        for port in (variables["nginx_http_port"], variables["nginx_https_port"]):
            text = text.replace(f"listen {port}", f"listen {address}:{port}")
        # Other runs have instances on this machine, too.
        for number, port in (ports_of_metrics or {}).items():
            text = text.replace(f"/internal/metrics/{number} {5000 + number};", f"/internal/metrics/{number} {port};")
        self._file = place(directory, text.replace("user www-data;", f"user {getpass.getuser()};"))
        self.start()

    def start(self) -> None:
        """Start it; it is there when this returns."""
        done = nginx(self._file)
        assert done.returncode == 0, done.stderr

    def reload(self) -> None:
        """Have new workers take over."""
        assert nginx(self._file, "-s", "reload").returncode == 0

    def pids(self) -> list[int]:
        """The master and its workers."""
        master = int((self.directory / "nginx.pid").read_text())
        return [master, *map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split())]

    def stop(self) -> None:
        """Stop it, if it runs."""
        if (self.directory / "nginx.pid").exists():
            nginx(self._file, "-s", "stop")

    def log(self) -> str:
        """What it has served so far, a line a request."""
        return (self.directory / "access.json").read_text()


class AppHost:
    """An app host: instances, and the inner server in front of them."""

    def __init__(self, directory: Path, site: Site, name: str, **variables: Any) -> None:
        self.name, self.site = name, site
        with ThreadPoolExecutor() as pool:
            self.instances = tuple(pool.map(self._start, range(1, INSTANCES + 1)))
        for number, instance in enumerate(self.instances, 1):
            (directory / f"{number}.sock").symlink_to(site.run / f"{instance.number}.sock")
        ports = {number: 5000 + instance.number for number, instance in enumerate(self.instances, 1)}
        self.nginx = Nginx(directory, name, APP_HOSTS[name], ports, nginx_layers=["inner"], **variables)

    def _start(self, number: int) -> AppInstance:
        environment = {
            "PYTHONPATH": f"{REPOSITORY / 'app'}:{REPOSITORY}",
            "HECTO_HOST": self.name,
            "STAGE_PLACE": f"{host_tag(self.name)}-{number}",
            "HECTO_REQUESTS_PER_MINUTE": "1000000",
            "EDGE_SLOW": str(self.site.directory / "slow"),
        }
        return AppInstance(self.site, app="tests.integration.edge.app:app", **environment)

    def drain(self) -> None:
        """As at a roll, but all instances at once."""
        for instance in self.instances:
            assert ask(instance.control, "POST", "/control/drain")[0] == 200

    def resume(self) -> None:
        for instance in self.instances:
            assert ask(instance.control, "POST", "/control/resume")[0] == 200

    def kill(self) -> None:
        """All of its processes end at once, and nobody gets to say anything."""
        for pid in self.nginx.pids():
            os.kill(pid, signal.SIGKILL)
        for instance in self.instances:
            instance.kill()
        (self.nginx.directory / "nginx.pid").unlink()

    def come_back(self) -> None:
        """Start again after `kill`."""
        for instance in self.instances:
            instance.start()
        self.nginx.start()

    def freeze(self, signal_number: int = signal.SIGSTOP) -> None:
        """Have nginx do nothing, while the kernel takes connections for it; with SIGCONT, have it go on."""
        for pid in self.nginx.pids():
            os.kill(pid, signal_number)

    def stop(self) -> None:
        self.nginx.stop()
        for instance in self.instances:
            instance.stop()


class Cluster:
    """Two app hosts behind two edges."""

    def __init__(self, directory: Path, site: Site) -> None:
        directory.mkdir()
        self.port, http_port, self.inner_port = (5000 + free_instance() for _ in range(3))
        self.http_port = http_port
        self.directory = directory
        self.authority = Authority()
        for name, address in APP_HOSTS.items():
            self.authority.issue(directory / name / "tls", name, address, ["app"])
        for name, address in EDGES.items():
            self.authority.issue(directory / name / "tls", name, address, ["lb"])
        self.url = f"https://{EDGES['lb1']}:{self.port}"
        shared = {
            "nginx_public_url": f"https://{PUBLIC_NAME}:{self.port}",
            "nginx_https_port": self.port,
            "nginx_http_port": http_port,
            "nginx_inner_port": self.inner_port,
            "nginx_edge_names": list(EDGES),
            "nginx_monitoring_names": ["mon1"],
            # Instances that are silent are given up sooner than on a real host, so that tests need not wait.
            "nginx_read_timeout": f"{PATIENCE}s",
        }
        app_hosts = [{"name": name, "address": address} for name, address in APP_HOSTS.items()]
        edge = {"nginx_layers": ["edge"], "nginx_app_hosts": app_hosts}
        self.hosts: list[AppHost] = []
        self.edges: list[Nginx] = []
        try:
            for name, address in APP_HOSTS.items():
                self.hosts.append(AppHost(directory / name, site, name, nginx_inner_address=address, **shared))
            for name, address in EDGES.items():
                peers = [peer for peer in EDGES.values() if peer != address]
                self.edges.append(Nginx(directory / name, name, address, nginx_peer_addresses=peers, **edge, **shared))
        except BaseException:
            self.stop()
            raise

    def person(self, token: str = "") -> Person:
        return Person(self.url, token)

    def knock(self, host: str, path: str, tls: Path | None = None, **headers: str) -> requests.Response:
        """Ask an inner server, as somebody who has found it; `tls` holds his certificate."""
        pair = (str(tls / "host.crt"), str(tls / "host.key")) if tls else None
        url = f"https://{APP_HOSTS[host]}:{self.inner_port}{path}"
        ca = str(self.directory / host / "tls" / "ca.crt")
        return requests.get(url, cert=pair, verify=ca, headers=headers, timeout=10)

    def tell(self, host: str, path: str, body: dict[str, Any], tls: Path, **headers: str) -> requests.Response:
        """Write something at an inner server."""
        pair = (str(tls / "host.crt"), str(tls / "host.key"))
        url = f"https://{APP_HOSTS[host]}:{self.inner_port}{path}"
        ca = str(self.directory / host / "tls" / "ca.crt")
        return requests.post(url, json=body, cert=pair, verify=ca, headers=headers, timeout=10)

    def stop(self) -> None:
        for each in (*self.edges, *self.hosts):
            each.stop()


class Person(Client):
    """Somebody who comes to an edge, by the site's name."""

    def __init__(self, url: str, token: str = "") -> None:
        requests.Session.__init__(self)
        self.base = url
        self.headers["Host"] = f"{PUBLIC_NAME}:{url.rpartition(':')[2]}"
        # The certificate that people see is not what these tests are about.
        self.verify = self.trust_env = False
        if token:
            self.headers["Authorization"] = token

    def served_by(self) -> set[str]:
        """The hosts that answer twenty requests."""
        return {self.get("/api/me").headers["X-Instance"].partition("/")[0] for _ in range(20)}


def trusting() -> ssl.SSLContext:
    """TLS as a client has it that does not care who answers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
