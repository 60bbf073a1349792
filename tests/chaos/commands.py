"""Every command that a run gives to the site and its host, in one place."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from control.host import ssh_command
from control.playbook import POLITELY
from control.progress import Failure, say
from control.site import ROOT, Site
from control.site import Host as Machine
from control.tools import environment, tool

FLEET = "/usr/local/sbin/hecto-fleet"
# The user that owns the database; it comes in by the socket, without a password.
PSQL = "runuser -u postgres -- psql -X -q -A -t -v ON_ERROR_STOP=1 -d hecto"
READY_SECONDS = 90.0
COMMAND_SECONDS = 600.0
# A host that lost its power says nothing any more: its connection is given up after some seconds.
GIVE_UP = ("ServerAliveInterval=3", "ServerAliveCountMax=3")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    words: str
    code: int
    output: str
    errors: str
    seconds: float

    def json(self) -> Any:
        """Its output, where that is JSON; raises AssertionError with what it said instead."""
        try:
            return json.loads(self.output)
        except ValueError:
            raise AssertionError(f"{self.words} gave no JSON: {self.output[-500:]}{self.errors[-500:]}") from None

    def require(self) -> None:
        """Raises Failure unless it went well."""
        if self.code != 0:
            raise Failure(f"{self.words} failed with {self.code}", tail=(self.errors or self.output)[-3000:])


class Host:
    """A host by ssh, the first by default, over one connection: a fault then costs the machine a few milliseconds."""

    def __init__(self, site: Site, machine: Machine | None = None) -> None:
        self.site = site
        self.machine = machine or site.hosts[0]
        # As the inventories name them.
        self.name = f"host-{site.hosts.index(self.machine) + 1}" if site.is_cluster else "the host"
        # A path of a socket may have 107 characters at most.
        self._directory = Path(tempfile.mkdtemp(prefix="hecto-"))

    def close(self) -> None:
        """End the connection."""
        subprocess.run(self._ssh("-O", "exit"), capture_output=True, check=False)
        shutil.rmtree(self._directory, ignore_errors=True)

    def run(
        self, script: str, *, stdin: str | None = None, check: bool = True, seconds: float = COMMAND_SECONDS
    ) -> Done:
        """Run a shell script as root; raises subprocess.TimeoutExpired."""
        begun = time.monotonic()
        done = subprocess.run(
            [*self._ssh(), script],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        found = Done(script, done.returncode, done.stdout, done.stderr, round(time.monotonic() - begun, 2))
        if check and done.returncode != 0:
            raise AssertionError(f"on {self.name}, '{script}' ended with {done.returncode}: {done.stderr[-1000:]}")
        return found

    def spawn(self, script: str) -> subprocess.Popen[str]:
        """Begin a shell script as root and come back at once."""
        return subprocess.Popen(
            [*self._ssh(), script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def query(self, sql: str) -> list[str]:
        """The rows of a statement, as psql prints them."""
        return self.run(PSQL, stdin=sql).output.splitlines()

    def status(self) -> dict[str, Any]:
        """What hecto-fleet says of every instance."""
        found: dict[str, Any] = self.run(f"{FLEET} status --json", check=False).json()
        return found

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> float:
        """Wait until every instance takes traffic; returns how long that took."""
        begun = time.monotonic()
        while not (now := self.status())["ready"]:
            if time.monotonic() > begun + seconds:
                late = [f"{i['name']} {i['state']} {i['problem']}" for i in now["instances"] if i["state"] != "ready"]
                raise AssertionError(f"after {seconds:.0f} s not ready: {'; '.join(late)}")
            time.sleep(1)
        return round(time.monotonic() - begun, 1)

    def numbers(self) -> list[int]:
        """The numbers of the instances that should run."""
        return [instance["number"] for instance in self.status()["instances"] if instance["wanted"]]

    def processes(self) -> dict[int, int]:
        """The main process of each instance: another one means that it was started anew."""
        return {i["number"]: i["pid"] for i in self.status()["instances"] if i["wanted"]}

    def booted(self) -> str:
        """When systemd began here: another text after each boot."""
        return self.run("systemctl show --property=UserspaceTimestamp").output

    def rolled(self, since: float) -> tuple[float, float]:
        """When the rolls after a moment began and ended, by the host's history: first batch's begin, last one's end.

        Its times are whole seconds, so this is up to two seconds longer than it was, and never shorter.
        """
        said = self.run(f"{FLEET} history --json --lines 200").output.splitlines()
        lines = [line for line in map(json.loads, said) if line["command"] == "roll"]
        ends = [(datetime.fromisoformat(line["time"]).timestamp(), line["seconds"]) for line in lines]
        ends = [(end, seconds) for end, seconds in ends if end >= since]
        assert ends, f"nothing was rolled; the last lines of the history are {said[-3:]}"
        return min(end - seconds for end, seconds in ends), max(end for end, _ in ends) + 1

    def releases(self) -> dict[int, str]:
        """The release that each instance says it runs."""
        return {i["number"]: i["release"] for i in self.status()["instances"] if i["wanted"]}

    def _ssh(self, *options: str) -> list[str]:
        plain = ssh_command(self.site, of=self.machine)
        shared = [f"ControlPath={self._directory}/ssh", "ControlMaster=auto", "ControlPersist=120", *GIVE_UP]
        return [plain[0], *(word for option in shared for word in ("-o", option)), *options, *plain[1:]]


class Hecto:
    """./hecto as a person uses it, on one site."""

    def __init__(self, site: Site, log: Path) -> None:
        self._site = site
        self._log = log

    def up(self, instances: int) -> Done:
        """Make the site and bring it to the present sources."""
        several = ["--cluster"] if self._site.is_cluster else []
        return self._run([ROOT / "hecto", "up", *several, "--instances", str(instances)])

    def deploy(self, release: Sequence[str] = ()) -> Done:
        """A rolling deploy of this checkout, or of what another command builds: the role lets a site name one."""
        if not release:
            return self._run([ROOT / "hecto", "deploy"])
        wanted = json.dumps({"hecto_release_command": list(release)})
        return self.playbook("rolling-deploy.yml", "-e", wanted)

    def playbook(self, name: str, *arguments: str, inventory: Path | None = None) -> Done:
        """One of the project's playbooks, as an operator runs it, with the site's inventory or another one."""
        hosts = inventory or self._site.inventory
        return self._run([*POLITELY, tool("ansible-playbook"), "-i", hosts, ROOT / "playbooks" / name, *arguments])

    def rollback(self) -> Done:
        """Back to the last good release before the present one."""
        return self._run([ROOT / "hecto", "rollback"])

    def restart(self) -> Done:
        """A rolling restart."""
        return self._run([ROOT / "hecto", "restart"])

    def scale(self, instances: int) -> Done:
        """More or fewer instances."""
        return self._run([ROOT / "hecto", "scale", str(instances)])

    def destroy(self) -> Done:
        """Remove the site."""
        return self._run([ROOT / "hecto", "destroy", "--yes"])

    def _run(self, words: Sequence[str | Path]) -> Done:
        begun = time.monotonic()
        done = subprocess.run(
            words,
            env={**os.environ, **environment(), "HECTO_NAME": self._site.name, "ANSIBLE_NOCOLOR": "1"},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS * 2,
        )
        found = Done(
            shlex.join(os.path.relpath(word, ROOT) if isinstance(word, Path) else word for word in words),
            done.returncode,
            done.stdout,
            done.stderr,
            round(time.monotonic() - begun, 2),
        )
        # What removes the site takes the log with it.
        if self._log.parent.exists():
            with self._log.open("a") as log:
                log.write(f"$ {found.words}\n{found.output}{found.errors}-> {found.code} in {found.seconds} s\n\n")
        return found


def finish(main: Callable[[], int]) -> NoReturn:
    """Run a program of its own, and say what ended it."""
    try:
        sys.exit(main())
    except (Failure, AssertionError) as failure:
        say(failure.render() if isinstance(failure, Failure) else f"hecto: {failure}")
        sys.exit(1)
