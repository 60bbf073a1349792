"""keepalived as its role configures it, on two hosts that share a network: each in a network namespace of its own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import REPOSITORY, stop, wait_until

ROLE = REPOSITORY / "roles/keepalived"
HOSTS = {"lb1": "10.77.0.1", "lb2": "10.77.0.2"}
ADDRESSES = ["10.77.0.10", "10.77.0.11"]
# Who answers the checks is not what these tests are about: a file says whether nginx does, another whether an app host.
CHECK = '#!/bin/sh\n[ -e "{place}/$1" ]\n'


def run(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def in_space(space: str, *words: str | Path) -> list[str]:
    return ["ip", "netns", "exec", space, *map(str, words)]


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """What keepalived runs: nobody but root may be able to change it, so it is not in /tmp."""
    directory = Path("/usr/local/lib") / f"hecto-test-{os.getpid()}"
    directory.mkdir(mode=0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def configurations(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The configuration of each host, as the role writes it."""
    directory = tmp_path_factory.mktemp("keepalived")
    values = {
        "ansible_managed": "Ansible managed",
        "ansible_python_interpreter": sys.executable,
        "keepalived_addresses": ADDRESSES,
        "keepalived_hosts": [{"name": name, "address": address} for name, address in HOSTS.items()],
        "keepalived_public_name": "erp.hecto.test",
        "__keepalived_programs": f"{programs}/{{{{ inventory_hostname }}}}",
        "__keepalived_interface": "eth0",
    }
    destination = f"{directory}/{{{{ inventory_hostname }}}}"
    tasks = [
        {"ansible.builtin.assert": {"that": "__keepalived_checks | map(attribute='that') is all"}},
        {"ansible.builtin.file": {"path": values["__keepalived_programs"], "state": "directory", "mode": "0755"}},
        *(
            {
                "ansible.builtin.template": {
                    "src": str(ROLE / f"templates/{name}.j2"),
                    "dest": f"{values['__keepalived_programs']}/{name}",
                    "mode": "0755",
                    "validate": "/bin/sh -n %s",
                }
            }
            for name in ("address-check", "address-moved")
        ),
        {
            "ansible.builtin.template": {
                "src": str(ROLE / "templates/keepalived.conf.j2"),
                "dest": f"{destination}.conf",
                "mode": "0644",
            }
        },
        {"ansible.builtin.copy": {"content": "{{ __keepalived_test }}", "dest": f"{destination}.test", "mode": "0644"}},
    ]
    files = [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")]
    play = [{"hosts": "all", "gather_facts": False, "vars_files": files, "tasks": tasks}]
    (directory / "play.json").write_text(json.dumps(play))
    run(
        Path(sys.executable).with_name("ansible-playbook"), "-i", ",".join(HOSTS), "-c", "local",
        "-e", json.dumps(values), directory / "play.json",
    )  # fmt: skip
    return {name: directory / f"{name}.conf" for name in HOSTS}


class Host:
    """One edge, with an interface in the common network."""

    def __init__(self, name: str, configuration: Path, programs: Path, bridge: str) -> None:
        self.name, self.configuration, self.place = name, configuration, programs / name
        self.space = f"hecto-{os.getpid()}-{name}"
        self.process: subprocess.Popen[bytes] | None = None
        run("ip", "netns", "add", self.space)
        wire = f"h{os.getpid()}{name[-1]}"
        run("ip", "-n", bridge, "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "-n", bridge, "link", "set", wire, "master", "bridge", "up")
        run("ip", "-n", self.space, "address", "add", f"{HOSTS[name]}/24", "dev", "eth0")
        for interface in ("lo", "eth0"):
            run("ip", "-n", self.space, "link", "set", interface, "up")
        (self.place / "address-check").write_text(CHECK.format(place=self.place))
        self.can(nginx=True, app=True)
        self.start()

    def can(self, **what: bool) -> None:
        """Say whether nginx answers here and reaches an app host."""
        for name, does in what.items():
            (self.place / name).touch() if does else (self.place / name).unlink(missing_ok=True)

    def start(self) -> None:
        log = self.configuration.with_suffix(".log").open("ab")
        words = in_space(self.space, "keepalived", "--dont-fork", "--log-console", "--log-detail")
        files = [
            f"--use-file={self.configuration}",
            f"--pid={self.configuration}.pid",
            f"--vrrp_pid={self.configuration}.vrrp",
        ]
        self.process = subprocess.Popen([*words, *files], stdout=log, stderr=log)

    def die(self) -> None:
        """Stop without a farewell, and let nobody reach the host any more."""
        assert self.process is not None
        run("ip", "-n", self.space, "link", "set", "eth0", "down")

    def come_back(self) -> None:
        run("ip", "-n", self.space, "link", "set", "eth0", "up")

    def has(self) -> set[str]:
        """The addresses that move and are here."""
        found = json.loads(run("ip", "-n", self.space, "-json", "address", "show", "dev", "eth0", "up"))
        here = {one.get("local") for link in found for one in link.get("addr_info", ())}
        return here & set(ADDRESSES)

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)
        run("ip", "netns", "delete", self.space)


@pytest.fixture
def hosts(configurations: dict[str, Path], programs: Path) -> Iterator[list[Host]]:
    bridge = f"hecto-{os.getpid()}-net"
    run("ip", "netns", "add", bridge)
    run("ip", "-n", bridge, "link", "add", "bridge", "type", "bridge")
    run("ip", "-n", bridge, "link", "set", "bridge", "up")
    found = [Host(name, configuration, programs, bridge) for name, configuration in configurations.items()]
    yield found
    for host in found:
        host.stop()
    run("ip", "netns", "delete", bridge)


def wait_for(hosts: list[Host], *wanted: set[str], seconds: float = 25) -> None:
    wait_until(
        lambda: [host.has() for host in hosts] == list(wanted), f"the addresses at {wanted}", seconds=seconds,
        log=hosts[0].configuration.with_suffix(".log"),
    )  # fmt: skip


def test_keepalived_takes_the_configuration_and_no_other(hosts):
    for host in hosts:
        test = shlex.split(host.configuration.with_suffix(".test").read_text())
        run(*in_space(host.space, *test[:-1], host.configuration))
        wrong = host.configuration.with_suffix(".wrong")
        wrong.write_text(host.configuration.read_text().replace("priority", "prioritty"))
        done = subprocess.run(in_space(host.space, *test[:-1], str(wrong)), capture_output=True, check=False)
        assert done.returncode != 0


def test_each_host_has_its_address_and_both_take_both(hosts):
    first, second = ({address} for address in ADDRESSES)
    wait_for(hosts, first, second, seconds=40)
    # The host is gone: the other one has it after three words that were not heard.
    hosts[0].die()
    wait_until(lambda: hosts[1].has() == first | second, "both addresses at the second", seconds=6)
    hosts[0].come_back()
    wait_for(hosts, first, second, seconds=40)


def test_who_cannot_serve_steps_back(hosts):
    first, second = ({address} for address in ADDRESSES)
    wait_for(hosts, first, second, seconds=40)
    hosts[0].can(nginx=False)
    wait_for(hosts, set(), first | second, seconds=8)
    # Nginx without an app host is better than no nginx: it says that nothing answers.
    hosts[1].can(app=False)
    hosts[0].can(app=False)
    wait_for(hosts, set(), first | second, seconds=1)
    # Where both are as badly off, each has its own again.
    hosts[0].can(nginx=True)
    wait_for(hosts, first, second, seconds=40)
