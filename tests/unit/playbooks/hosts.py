"""Several hosts on this machine, each a directory, and the real playbooks played against them.

Left out of the role is what needs a Debian host of its own: packages, units, settings. Paths of the host are below
$HOST, which the shell of each host sets and every module replaces.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from hecto.fleet import audit, claim, state
from hecto.fleet.layout import Layout, move_link

ROOT = Path(__file__).resolve().parents[3]
OLD, NEW = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
WHO = "ada@laptop"
SECRETS = ("database_app_password", "database_owner_password", "redis_app_password", "secret_key", "admin_password")
# systemd knows by it how many instances there should be.
TARGET = [{"ansible.builtin.command": {"argv": ["sh", "-c", "echo {{ hecto_instances }} > $HOST/wanted"]}}]
NEEDS_A_HOST = {"install.yml": [], "configure.yml": [], "target.yml": TARGET}
NEEDS_SYSTEMD = "ansible.builtin.systemd_service"
PLAYBOOKS = ("rolling-deploy.yml", "rolling-restart.yml", "rollback.yml", "scale.yml", "restore.yml")


class Hosts:
    """Hosts with two instances each on the release OLD; NEW is the one that a deploy brings."""

    def __init__(self, root: Path, *names: str) -> None:
        self.root = root
        self.names = names
        for name in names:
            self._make(root / name)
        (root / "calls").touch()
        self._copy_the_project()
        facts = {
            # Where nobody listens.
            "ansible_host": "127.0.0.1",
            "ansible_port": 1,
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "hecto_who": WHO,
            "hecto_secrets": dict.fromkeys(SECRETS, "x" * 40),
            "hecto_database_pool": 4,
            "hecto_release_command": ["sh", "-c", f"echo '{json.dumps({'id': NEW, 'built': False})}'"],
        }
        hosts = {
            name: {
                "ansible_shell_executable": f"{root / name}/sh",
                "ansible_connection": f"{{{{ 'ssh' if '{root / name}/gone' is exists else 'local' }}}}",
            }
            for name in names
        }
        self.inventory: dict[str, Any] = {"app": {"hosts": hosts, "vars": facts}}
        self._write_inventory()

    def layout(self, name: str) -> Layout:
        host = self.root / name
        return Layout(
            host / "opt/hecto", host / "run", host / "var", host / "etc", host / "cred", host / "lock", host / "log"
        )

    def play(self, playbook: str, **variables: Any) -> tuple[bool, str]:
        """Play it; whether it went well, and what it said."""
        words = [Path(sys.executable).with_name("ansible-playbook"), "-i", self.root / "hosts.yml"]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": f"{self.root / 'roles'}:{ROOT / 'roles'}",
            "ANSIBLE_HOME": str(self.root / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(self.root / "ansible"),
            "ANSIBLE_REMOTE_TEMP": str(self.root / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            [*words, self.root / "playbooks" / playbook, "--extra-vars", json.dumps(variables)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        return done.returncode == 0, done.stdout + done.stderr

    def running(self) -> dict[str, tuple[str, ...]]:
        """The releases of each host's instances."""
        return {
            name: tuple(json.loads((self.root / name / "instances.json").read_text()).values()) for name in self.names
        }

    def claims(self) -> dict[str, str]:
        """Who has which hosts."""
        known = {name: state.load(self.layout(name).fleet_state).claim for name in self.names}
        return {name: found.who for name, found in known.items() if found and found.holds}

    def calls(self, *commands: str) -> list[str]:
        """What hecto-fleet was asked for, in order, as 'HOST COMMAND RELEASE'."""
        return [line for line in (self.root / "calls").read_text().splitlines() if line.split()[1] in commands]

    def history(self, name: str) -> list[dict[str, Any]]:
        return audit.read(self.layout(name).history)

    def breaks(self, name: str, release: str) -> None:
        """From now on a release never gets ready on a host."""
        (self.root / name / "broken").write_text(release)

    def breaks_with(self, name: str, other: str) -> None:
        """The new release never gets ready on a host, and by then another one cannot be reached any more."""
        self.breaks(name, NEW)
        (self.root / name / "takes").symlink_to(self.root / other / "gone")

    def pool_is_due(self, name: str) -> None:
        """Both instances hold another number of connections than they should."""
        due = [{"instance": number, "reasons": ["environment HECTO_DATABASE_POOL"]} for number in (1, 2)]
        (self.root / name / "due.json").write_text(json.dumps(due))

    def was_brought(self, name: str) -> None:
        """As site.yml leaves a host: the new release is current, and no instance runs it."""
        move_link(self.layout(name).current, self.layout(name).release(NEW))

    def was_moved(self, name: str) -> None:
        """As a run leaves a host that was cut after it."""
        self.was_brought(name)
        (self.root / name / "instances.json").write_text(json.dumps({"1": NEW, "2": NEW}))

    def have_backups(self, name: str) -> None:
        """A host has the database as well, and backups of it that come back."""
        self.inventory["postgres"] = {"hosts": {name: None}, "vars": {"backup_is_taken_here": False}}
        self._write_inventory()
        seconds = ("rto", "restore", "recovery", "amcheck", "check", "last_commit_age")
        came_back = {"target": "latest", "last_commit": 1.0, "checks": 1, **{f"{one}_seconds": 1 for one in seconds}}
        _script(
            self.root / "bin/hecto-backup",
            f"""echo "${{HOST##*/}} hecto-backup $1" >> {self.root}/calls\n"""
            f"""if [ -e {self.root}/"$1-fails" ]; then cat {self.root}/"$1-fails" >&2; exit 1; fi\n"""
            f"""echo '{json.dumps(came_back)}'""",
        )
        _script(self.root / "bin/systemctl", f"""echo "${{HOST##*/}} systemctl $1" >> {self.root}/calls; echo $2""")

    def backups_fail(self, command: str, why: str) -> None:
        (self.root / f"{command}-fails").write_text(why)

    def is_claimed(self, name: str) -> None:
        claim.take(self.layout(name), "grace@desk", "desk/1/1", NEW, 600)

    def refuses_to_migrate(self) -> None:
        (self.root / "schema").write_text("revision 0009 would rewrite a table")

    def _write_inventory(self) -> None:
        (self.root / "hosts.yml").write_text(yaml.safe_dump(self.inventory))

    def _make(self, host: Path) -> None:
        layout = self.layout(host.name)
        for directory in (layout.static, layout.state, layout.pins, layout.log):
            directory.mkdir(parents=True)
        for release in (OLD, NEW):
            tool = layout.release(release) / "bin" / "hecto-fleet"
            (layout.release(release) / "static").mkdir(parents=True)
            (layout.release(release) / "release.json").write_text(json.dumps({"id": release, "schema": "0001"}) + "\n")
            _script(
                tool, f'PYTHONPATH={ROOT / "app"} exec {sys.executable} {Path(__file__).with_name("standin.py")} "$@"'
            )
        move_link(layout.current, layout.release(OLD))
        state.save(layout.fleet_state, state.State(last_good=OLD))
        (host / "instances.json").write_text(json.dumps({"1": OLD, "2": OLD}))
        (host / "due.json").write_text("[]")
        (host / "wanted").write_text("2")
        (host / "broken").touch()
        _script(host / "sh", f'HOST={host} PATH={self.root}/bin:$PATH exec /bin/sh "$@"')
        _script(
            host / "hecto-admin",
            f"if [ -e {self.root}/schema ]; then cat {self.root}/schema >&2; exit 1; fi\n"
            """echo '{"changed": false, "floor": null}'""",
        )

    def _copy_the_project(self) -> None:
        role = self.root / "roles" / "hecto"
        shutil.copytree(ROOT / "roles" / "hecto", role)
        for file in [*role.glob("tasks/*.yml"), role / "vars" / "main.yml"]:
            text = file.read_text().replace("/opt/hecto", "$HOST/opt/hecto")
            file.write_text(text.replace("/usr/local/sbin/hecto-admin", "$HOST/hecto-admin"))
            if NEEDS_SYSTEMD in text:
                file.write_text(
                    yaml.safe_dump([task for task in yaml.safe_load(file.read_text()) if NEEDS_SYSTEMD not in task])
                )
        for name, tasks in NEEDS_A_HOST.items():
            (role / "tasks" / name).write_text(yaml.safe_dump(tasks))
        (self.root / "playbooks").mkdir()
        look = {
            "name": "What look.yml gathers",
            "hosts": "all",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.set_fact": {"distribution_release": "trixie", "cacheable": True}}],
        }
        (self.root / "playbooks" / "look.yml").write_text(yaml.safe_dump([look]))
        for name in PLAYBOOKS:
            shutil.copy(ROOT / "playbooks" / name, self.root / "playbooks")


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
