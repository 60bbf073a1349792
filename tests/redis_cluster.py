"""Three hosts of Redis on this machine, configured by the role's own templates, and the role's HAProxy before them.

A host is an address on the loopback. Between the hosts and their Redis is a way of its own, which a test can cut while
HAProxy still reaches the server: so a master can be alone without being gone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.servers import PASSWORD, REPOSITORY, stop, wait_until

NAMES = ("r1", "r2", "r3")
SECRETS = ("app", "admin", "replication", "sentinel", "proxy")
# The application's own is that of all test servers.
PASSWORDS = {name: f"{name}-{PASSWORD}" for name in SECRETS} | {"app": PASSWORD}
TEMPLATES = {
    "redis.conf": "redis",
    "cluster.conf": "redis",
    "users.acl": "redis",
    "sentinel.conf": "redis",
    "sentinel.acl": "redis",
    "redis.cfg": "haproxy",
}
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [str(REPOSITORY / "roles/redis/vars/main.yml")],
        "tasks": [
            {
                "ansible.builtin.template": {
                    "src": str(REPOSITORY / f"roles/{role}/templates/{name}.j2"),
                    "dest": f"{{{{ place }}}}/{name}",
                    "mode": "0600",
                }
            }
            for name, role in TEMPLATES.items()
        ],
    }
]


class Server:
    """A program in the foreground that writes into a log."""

    def __init__(self, log: Path, *words: str) -> None:
        self.log, self._words = log, words
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(self._words, stdout=output, stderr=output)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            # It may have been stopped in mid-air.
            self.process.send_signal(signal.SIGCONT)
            stop(self.process)


class Host:
    """One host: a Redis, a Sentinel, and the way to the Redis from the other hosts."""

    def __init__(self, place: Path, name: str, address: str, behind: str) -> None:
        self.place, self.name, self.address, self.behind = place, name, address, behind
        self.socket = place / "redis.sock"
        state = place / "hecto.conf"
        self.redis = Server(place / "redis.log", "redis-server", str(state), "--include", str(place / "redis.conf"))
        sentinel = ("redis-sentinel", str(place / "sentinel.state"), "--include", str(place / "sentinel.conf"))
        self.sentinel = Server(place / "sentinel.log", *sentinel)
        self.way = Server(place / "way.log", "haproxy", "-db", "-f", str(place / "way.cfg"))

    def write(self, master: str) -> None:
        """What the role writes once, and where things are on this machine."""
        (self.place / "hecto.conf").write_text("" if master == self.address else f"replicaof {master} 6379\n")
        (self.place / "sentinel.state").write_text(f"sentinel monitor hecto {master} 6379 2\n")
        for name in TEMPLATES:
            path = self.place / name
            text = path.read_text()
            for old, new in {
                "/run/redis/redis-server.sock": str(self.socket),
                "/etc/redis/hecto-cluster.conf": str(self.place / "cluster.conf"),
                "/etc/redis/hecto-sentinel.acl": str(self.place / "sentinel.acl"),
                "/etc/redis/hecto.acl": str(self.place / "users.acl"),
                "/var/lib/redis": str(self.place),
                "/var/log/redis": str(self.place),
            }.items():
                text = text.replace(old, new)
            if name == "redis.conf":
                text = text.replace(f" {self.address}\n", f" {self.behind}\n")
            path.write_text(text)
        (self.place / "way.cfg").write_text(
            "defaults\n mode tcp\n timeout connect 1s\n timeout client 1h\n timeout server 1h\n"
            f"listen way\n bind {self.address}:6379\n server redis {self.behind}:6379\n"
        )

    def start(self) -> None:
        self.way.start()
        self.redis.start()
        wait_until(lambda: self.ask("PING").strip() == "PONG", self.name, self.redis.process, self.redis.log)
        self.sentinel.start()

    def stop(self) -> None:
        for each in (self.sentinel, self.redis, self.way):
            each.stop()

    def ask(self, *command: str) -> str:
        """What its Redis answers the administrator; empty when it does not."""
        words = ["redis-cli", "-s", str(self.socket), "--user", "admin", "--pass", PASSWORDS["admin"]]
        return _said(*words, "--no-auth-warning", *command)

    def ask_sentinel(self, *command: str) -> str:
        """What its Sentinel answers the administrator; empty when it does not."""
        words = ["redis-cli", "-h", self.address, "-p", "26379", "--user", "admin", "--pass", PASSWORDS["admin"]]
        files = {"--cacert": "ca.crt", "--cert": "host.crt", "--key": "host.key"}
        tls = [word for option, name in files.items() for word in (option, str(self.place.parent / name))]
        return _said(*words, "--no-auth-warning", "--tls", *tls, *command)

    def info(self) -> dict[str, str]:
        """What its Redis says of replication."""
        lines = self.ask("INFO", "replication").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


class Cluster:
    """The hosts, and the way to the master that an application takes."""

    def __init__(self, directory: Path, **variables: Any) -> None:
        directory.mkdir()
        self.directory = directory
        self.socket = directory / "master.sock"
        # Of this run's own, so that others may go on side by side.
        net = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        self.hosts = [
            Host(directory / name, name, f"{net}.{number}", f"{net}.{number + 10}")
            for number, name in enumerate(NAMES, 1)
        ]
        self._make_certificates()
        self._render(variables)
        for host in self.hosts:
            host.write(self.hosts[0].address)
        self._write_proxy()
        self.proxy = Server(directory / "proxy.log", "haproxy", "-db", "-f", str(directory / "proxy.cfg"))
        for host in self.hosts:
            host.start()
        self.proxy.start()
        self.wait_until_whole()

    @property
    def master(self) -> Host:
        """Whom most Sentinels take for the master."""
        votes = [host.ask_sentinel("SENTINEL", "get-master-addr-by-name", "hecto").split() for host in self.hosts]
        named = [vote[0] for vote in votes if vote]
        found = [host for host in self.hosts if named.count(host.address) >= 2]
        assert found, f"no majority: {votes}"
        return found[0]

    @property
    def is_whole(self) -> bool:
        """Whether there is one master with two copies in step, all Sentinels know all, and the way leads to it."""
        infos = [host.info() for host in self.hosts]
        masters = [info for info in infos if info.get("role") == "master"]
        up = [info for info in infos if info.get("master_link_status") == "up"]
        return (
            len(masters) == 1
            and len(up) == 2
            and masters[0].get("min_slaves_good_slaves") == "2"
            and all("num-other-sentinels\n2\n" in self._sentinel(host) for host in self.hosts)
            and all("num-slaves\n2\n" in self._sentinel(host) for host in self.hosts)
            and self.answers()
        )

    def _sentinel(self, host: Host) -> str:
        return host.ask_sentinel("SENTINEL", "MASTER", "hecto")

    def answers(self) -> bool:
        """Whether the way that the application takes leads to a Redis that writes."""
        words = ["redis-cli", "-s", str(self.socket), "--user", "hecto", "--pass", PASSWORD, "--no-auth-warning"]
        return _said("timeout", "1", *words, "SET", "test", "1", "EX", "5").strip() == "OK"

    def wait_until_whole(self, seconds: float = 60) -> None:
        wait_until(lambda: self.is_whole, f"the cluster in {self.directory}", seconds=seconds)

    def stop(self) -> None:
        self.proxy.stop()
        for host in self.hosts:
            host.stop()

    def _make_certificates(self) -> None:
        """A CA and a certificate with the name that HAProxy asks for."""
        new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9"
        ca, host = self.directory / "ca", self.directory / "host"
        subprocess.run(
            [*new.split(), "-subj", "/CN=ca", "-keyout", f"{ca}.key", "-out", f"{ca}.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
        subprocess.run(
            [*new.split(), "-subj", "/CN=host", "-addext", "subjectAltName=DNS:redis.hecto", "-CA", f"{ca}.crt",
             "-CAkey", f"{ca}.key", "-keyout", f"{host}.key", "-out", f"{host}.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
        both = Path(f"{host}.crt").read_text() + Path(f"{host}.key").read_text()
        (self.directory / "host.pem").write_text(both)

    def _render(self, variables: dict[str, Any]) -> None:
        for host in self.hosts:
            host.place.mkdir()
        facts = {
            **yaml.safe_load((REPOSITORY / "roles/redis/defaults/main.yml").read_text()),
            "ansible_connection": "local",
            "ansible_managed": "Ansible managed",
            "ansible_python_interpreter": sys.executable,
            "hecto_is_cluster": True,
            "redis_hosts": list(NAMES),
            "redis_tls_directory": str(self.directory),
            **{f"redis_{name}_password": password for name, password in PASSWORDS.items()},
            "haproxy_redis_hosts": [{"name": host.name, "address": host.address} for host in self.hosts],
            "haproxy_redis_password": PASSWORDS["proxy"],
            "haproxy_redis_socket": str(self.socket),
            "haproxy_redis_socket_group": "root",
            "haproxy_tls_ca": str(self.directory / "ca.crt"),
            "haproxy_tls_pem": str(self.directory / "host.pem"),
            **variables,
        }
        hosts = {
            host.name: {"redis_address": host.address, "place": str(host.place), "redis_listen_addresses": []}
            for host in self.hosts
        }
        (self.directory / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": facts}}))
        (self.directory / "play.json").write_text(json.dumps(PLAY))
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", self.directory / "hosts.json",
             self.directory / "play.json"],
            cwd=REPOSITORY, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def _write_proxy(self) -> None:
        text = (self.hosts[0].place / "redis.cfg").read_text()
        for host in self.hosts:
            text = text.replace(f" {host.address}:6379 ", f" {host.behind}:6379 ")
        group = shutil.which("id") and subprocess.check_output(["id", "-gn"], text=True).strip()
        text = text.replace("group root", f"group {group}")
        script = REPOSITORY / "roles/haproxy/files/hecto.lua"
        head = f"global\n log stdout format raw local0\n maxconn 500\n lua-load {script}\n"
        (self.directory / "proxy.cfg").write_text(f"{head}defaults\n log global\n option tcplog\n\n{text}")


def _said(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=3)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""
